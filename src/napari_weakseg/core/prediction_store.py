"""A prediction on disk, written piece by piece and gone on with where it was stopped: for images beyond memory.

An OME-Zarr 0.5 folder: class ids are the image itself, how sure they are lies in ``certainty``, how far inside its
object each pixel lies in ``inwardness``, and the ids of objects, where they were asked for, in ``labels/objects``.
"""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, region_of, shape_of, start_of, stop_of
from napari_weakseg.core.storage import read_json, storage_errors, write_atomically, write_json
from napari_weakseg.core.units import ome_unit

if TYPE_CHECKING:
    import zarr

__all__ = ["PredictionStore", "file_of", "is_store"]

_CHUNK_PX = {2: 512, 3: 64}
_STATE, _DONE = "weakseg.json", "done.txt"
_LABELS, _CERTAINTY, _INWARDNESS, _OBJECTS = "0", "certainty/0", "inwardness/0", "labels/objects/0"
_LAYOUT = 3


def is_store(path: Path) -> bool:
    """Whether a folder is a prediction on disk."""
    return (path / _STATE).exists()


def file_of(path: Path) -> str:
    """Image file that a prediction on disk is of."""
    return str(read_json(path / _STATE)["file"][0])


class PredictionStore:
    """Class ids of all frames of an image, 0 = not predicted yet; how sure they are, and the inwardness, in percent.

    All uint8.

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
        self._image = image
        with storage_errors(path):
            self._state = {
                "image": image.name,
                "file": _identity(image.path),
                "shape": list(self.shape),
                "made_by": made_by,
                "layout": _LAYOUT,
            }
            found = read_json(path / _STATE) if is_store(path) else {}
            taken = path.is_file() or (path.exists() and any(path.iterdir()))
            if taken and found.get("image") != image.name:  # nothing that is not ours is written over
                raise ProjectError(
                    f"“{path}” is in the way: it is not a prediction of “{image.name}”.",
                    "Choose another folder, or move that one away.",
                )
            if {key: value for key, value in found.items() if key != "objects"} != self._state:
                self._begin()
        self._labels, self._certainty, self._inwardness = map(self._open, (_LABELS, _CERTAINTY, _INWARDNESS))
        self._done: defaultdict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
        self._written = 0
        self._read_done()

    def done(self, frame: Sequence[int]) -> set[tuple[int, ...]]:
        """First pixels of the pieces of a frame that are there, along the spatial axes."""
        return self._done[tuple(frame)]

    def write(
        self,
        frame: Sequence[int],
        start: Sequence[int],
        labels: NDArray[np.uint8],
        certainty: NDArray[np.uint8],
        inwardness: NDArray[np.uint8],
    ) -> None:
        """Write a piece of a frame that begins at `start`: class ids, certainty and inwardness in percent, (*S)."""
        self._put(self._inwardness, frame, start, inwardness)
        self._put(self._certainty, frame, start, certainty)
        self._put(self._labels, frame, start, labels)
        with storage_errors(self.path), (self.path / _DONE).open("a", encoding="ascii") as file:
            file.write(" ".join(map(str, (*frame, *start, labels.size))) + "\n")
        self._done[tuple(frame)].add(tuple(start))
        self._written += labels.size

    def read(
        self, frame: Sequence[int], region: Region
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Read class ids, certainty and inwardness in percent in a region of a frame, uint8 (*S)."""
        labels, certainty, inwardness = (
            self._get(array, frame, region) for array in (self._labels, self._certainty, self._inwardness)
        )
        return labels, certainty, inwardness

    def all_labels(self) -> NDArray[np.uint8]:
        """Read all class ids, (*label_shape)."""
        with storage_errors(self.path, doing="read"):
            return np.asarray(self._labels[...])

    # -- objects ---------------------------------------------------------------------------------------------

    def begin_objects(self) -> None:
        """Make room for ids of objects, all 0; those that are there go."""
        with storage_errors(self.path):
            write_json(self.path / _STATE, self._state | {"objects": "not complete"})
            self._drop_objects()
            self._make(_OBJECTS, np.int32, extra={"image-label": {"source": {"image": "../../"}}})
            self._group("labels").attrs["ome"] = {"version": "0.5", "labels": ["objects"]}
        self._objects = self._open(_OBJECTS)

    def write_objects(self, frame: Sequence[int], start: Sequence[int], ids: NDArray[np.int32]) -> None:
        """Write ids, int32 (*S), of a piece of a frame that begins at `start`."""
        self._put(self._objects, frame, start, ids)

    def read_objects(self, frame: Sequence[int], region: Region) -> NDArray[np.int32]:
        """Read ids in a region of a frame, int32 (*S)."""
        return self._get(self._objects, frame, region)

    def all_objects(self) -> NDArray[np.int32]:
        """Read all ids, (*label_shape)."""
        with storage_errors(self.path, doing="read"):
            return np.asarray(self._objects[...])

    def end_objects(self) -> None:
        """Note that all objects are there."""
        write_json(self.path / _STATE, self._state | {"objects": "complete"})

    # -- on disk ---------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Make an empty store; one that a kill leaves half-made is known as ours, and made anew."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / _STATE, self._state | {"made_by": None})
        (self.path / _DONE).unlink(missing_ok=True)
        self._drop_objects()
        self._make(_LABELS, np.uint8)
        self._make(_CERTAINTY, np.uint8)
        self._make(_INWARDNESS, np.uint8)
        write_json(self.path / _STATE, self._state)

    def _drop_objects(self) -> None:
        if (self.path / "labels").exists():
            shutil.rmtree(self.path / "labels")

    def _make(self, name: str, dtype: type[np.generic], *, extra: Mapping[str, Any] | None = None) -> None:
        """Make an empty array and the OME-Zarr image around it."""
        group = self._group(name.rpartition("/")[0])
        chunk = (1,) * (len(self.shape) - self._ndim) + tuple(
            min(_CHUNK_PX[self._ndim], size) for size in self.shape[-self._ndim :]
        )
        names = [axis.lower() for axis in self._image.label_axes]
        group.create_array(
            "0", shape=self.shape, chunks=chunk, dtype=dtype, fill_value=0, dimension_names=names, overwrite=True
        )
        group.attrs["ome"] = {"version": "0.5", "multiscales": [_multiscale(self._image, names)], **(extra or {})}

    def _group(self, name: str) -> "zarr.Group":
        import zarr

        return zarr.open_group(self.path / name, mode="a", zarr_format=3)

    def _open(self, name: str) -> "zarr.Array[Any]":
        import zarr

        with storage_errors(self.path, doing="read"):
            return zarr.open_array(self.path / name, mode="r+")

    def _put(self, array: "zarr.Array[Any]", frame: Sequence[int], start: Sequence[int], values: NDArray[Any]) -> None:
        place = (*frame, *start)
        stop = [a + n for a, n in zip(place, (1,) * len(frame) + values.shape, strict=True)]
        with storage_errors(self.path):
            array[region_of(place, stop)] = values.reshape((1,) * len(frame) + values.shape)

    def _get(self, array: "zarr.Array[Any]", frame: Sequence[int], region: Region) -> NDArray[Any]:
        with storage_errors(self.path, doing="read"):
            place = region_of((*frame, *start_of(region)), (*(i + 1 for i in frame), *stop_of(region)))
            return np.asarray(array[place]).reshape(shape_of(region))

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
    sizes = image.pixel_size or {}
    axes: list[dict[str, str]] = []
    scale = []
    for name in names:
        size, unit = sizes.get(name.upper(), (1.0, ""))
        known = {"unit": ome_unit(unit)} if unit else {}
        axes.append({"name": name, "type": "time" if name == "t" else "space", **known})
        scale.append(size)
    transform = {"type": "scale", "scale": scale}
    return {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [transform]}], "name": image.name}


def _identity(file: Path) -> list[str | int]:
    """Tell one image file from another of the same name, and from itself after a change."""
    if not file.exists():  # whoever reads it will say so
        return [str(file)]
    found = file.stat()
    return [str(file.resolve()), found.st_size, found.st_mtime_ns]
