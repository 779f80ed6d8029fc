"""A prediction on disk, written piece by piece and gone on with where it was stopped: for images beyond memory."""

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import region_of
from napari_weakseg.core.storage import read_json, storage_errors, write_atomically, write_json

if TYPE_CHECKING:
    import zarr

__all__ = ["PredictionStore"]

_CHUNK_PX = {2: 512, 3: 64}
_STATE, _DONE = "weakseg.json", "done.txt"
_UNITS = {"µm": "micrometer", "nm": "nanometer", "mm": "millimeter"}


class PredictionStore:
    """Class ids of all frames of an image, uint8, as OME-Zarr 0.5 with one level; 0 = not predicted yet.

    Parameters
    ----------
    path : Path
        Folder, made where there is none.
    image : ProjectImage
    ndim : {2, 3}
        How many of its axes are spatial.
    made_by : str
        What the prediction depends on beside the image. Pieces by anything else are thrown away.

    Raises
    ------
    ProjectError
        If there is something else at `path`.
    StorageError
        If the disk refuses.

    Notes
    -----
    A piece counts as done after its pixels are on disk, so what a killed process left half-written is written again.
    """

    def __init__(self, path: Path, image: ProjectImage, ndim: int, made_by: str) -> None:
        self.path, self.shape = path, tuple(image.label_shape)
        self._ndim = ndim
        state = {"image": image.name, "shape": list(self.shape), "made_by": made_by}
        with storage_errors(path):
            found = read_json(path / _STATE) if (path / _STATE).exists() else {}
            taken = path.is_file() or (path.exists() and any(path.iterdir()))
            if taken and found.get("image") != image.name:  # nothing that is not ours is written over
                raise ProjectError(
                    f"“{path}” is in the way: it is not a prediction of “{image.name}”.",
                    "Choose another folder, or move that one away.",
                )
            if found != state:
                self._begin(image, state)
        self._array = self._open()
        self._done: defaultdict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
        self._written = 0
        self._read_done()

    def done(self, frame: Sequence[int]) -> set[tuple[int, ...]]:
        """First pixels of the pieces of a frame that are there, along the spatial axes."""
        return self._done[tuple(frame)]

    def write(self, frame: Sequence[int], start: Sequence[int], labels: NDArray[np.uint8]) -> None:
        """Write a piece of a frame, uint8 (*S), that begins at `start`."""
        place = (*frame, *start)
        stop = [a + n for a, n in zip(place, (1,) * len(frame) + labels.shape, strict=True)]
        with storage_errors(self.path):
            self._array[region_of(place, stop)] = labels.reshape((1,) * len(frame) + labels.shape)
            with (self.path / _DONE).open("a", encoding="ascii") as file:
                file.write(" ".join(map(str, (*place, labels.size))) + "\n")
        self._done[tuple(frame)].add(tuple(start))
        self._written += labels.size

    def _begin(self, image: ProjectImage, state: dict[str, Any]) -> None:
        """Make an empty store; one that a kill leaves half-made is known as ours, and made anew."""
        import zarr

        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / _STATE, state | {"made_by": None})
        (self.path / _DONE).unlink(missing_ok=True)
        group = zarr.open_group(self.path, mode="a", zarr_format=3)
        chunk = (1,) * (len(self.shape) - self._ndim) + tuple(
            min(_CHUNK_PX[self._ndim], size) for size in self.shape[-self._ndim :]
        )
        names = [axis.lower() for axis in image.label_axes]
        group.create_array(
            "0", shape=self.shape, chunks=chunk, dtype=np.uint8, fill_value=0, dimension_names=names, overwrite=True
        )
        group.attrs["ome"] = {"version": "0.5", "multiscales": [_multiscale(image, names)]}
        write_json(self.path / _STATE, state)

    def _open(self) -> "zarr.Array[Any]":
        import zarr

        with storage_errors(self.path, doing="read"):
            return zarr.open_array(self.path / "0", mode="r+")

    def _read_done(self) -> None:
        """Read which pieces are there; a last line that a kill cut off is taken away."""
        file = self.path / _DONE
        text = file.read_text(encoding="ascii") if file.exists() else ""
        whole, _, cut_off = text.rpartition("\n")
        if cut_off:
            write_atomically(file, f"{whole}\n".encode() if whole else b"")
        for line in whole.splitlines():
            *place, pixels = map(int, line.split())
            self._done[tuple(place[: -self._ndim])].add(tuple(place[-self._ndim :]))
            self._written += pixels

    @property
    def share(self) -> float:
        """How much of the image is there, 0 to 1."""
        return self._written / max(1, prod(self.shape))


def _multiscale(image: ProjectImage, names: Sequence[str]) -> dict[str, Any]:
    sizes = {} if image.missing else image.source.pixel_size or {}
    axes: list[dict[str, str]] = []
    scale = []
    for name in names:
        size, unit = sizes.get(name.upper(), (1.0, ""))
        known = {"unit": _UNITS.get(unit, unit)} if unit else {}
        axes.append({"name": name, "type": "time" if name == "t" else "space", **known})
        scale.append(size)
    transform = {"type": "scale", "scale": scale}
    return {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [transform]}], "name": image.name}
