"""Taking images into a project: their record, and a copy of arrays."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.names import distinct
from napari_weakseg.core.readers import Opened
from napari_weakseg.core.record import ImageRecord, ProjectRecord, fingerprint, relative
from napari_weakseg.core.regions import chunk_region, grid_keys, whole
from napari_weakseg.core.storage import storage_errors

_CHUNK_PX = 512
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def check_fits(source: ImageSource, project: ProjectRecord) -> None:
    """Refuse flat images in a project of volumes, and other channel counts.

    Raises
    ------
    ImageError
    """
    if project.ndim == 3 and "Z" not in source.label_axes:
        raise ImageError(
            f"“{source.name}” has the axes {source.axes}, but this project is for volumes and needs Z.",
            'Name the axes, for example axes="ZYX", or make a project with ndim=2.',
        )
    for other in project.images:
        if other.n_channels != source.n_channels:
            raise ImageError(
                f"“{source.name}” has {_channels(source.n_channels)}, but “{other.name}” has "
                f"{_channels(other.n_channels)}; all images of a project need the same.",
                "Convert them to the same channels, or check the axes.",
            )


def _channels(number: int) -> str:
    return f"{number} channel{'s' * (number != 1)}"


def folder_name(name: str, taken: Collection[str]) -> str:
    """Name of a folder that every system accepts.

    Examples
    --------
    >>> folder_name("Feld 1: Kern/Zelle", ())
    'feld_1_kern_zelle'
    """
    plain = re.sub(r"[^a-z0-9.-]+", "_", name.lower()).strip("._")[:60]
    return distinct(plain if plain and plain not in _RESERVED else f"image_{plain}".rstrip("_"), taken)


def image_record(source: ImageSource, folder: str, project: Path, *, owned: bool) -> ImageRecord:
    """Record of an image whose pixels are on disk, `owned` where `store_array` wrote them."""
    assert source.path is not None
    with storage_errors(source.path, doing="read"):
        size_bytes, checksum = fingerprint(source.path)
    return ImageRecord(
        name=source.name,
        folder=folder,
        path=relative(source.path, project),
        owned=owned,
        axes=source.axes.replace("C", "S") if source.is_rgb else source.axes,
        shape=source.shape,
        n_channels=source.n_channels,
        label_axes=source.label_axes,
        label_shape=source.label_shape,
        pixel_size=dict(source.pixel_size) if source.pixel_size else None,
        size_bytes=size_bytes,
        checksum=checksum,
    )


def store_array(source: ImageSource, path: Path) -> ImageSource:
    """Copy an array into a zarr folder, chunk by chunk; the folder appears when it is complete."""
    import zarr

    part = path.with_name(f".{path.name}.part")
    pixels = source._opened.pixels
    shape = source.shape
    spatial = {source.axes.index("Y"), source.axes.index("X")}
    chunks = tuple(min(_CHUNK_PX, n) if axis in spatial else 1 for axis, n in enumerate(shape))
    dtype = {"b": np.dtype(np.uint8)}.get(source.dtype.kind, source.dtype.newbyteorder("="))
    with storage_errors(path):
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            target = zarr.create_array(part, shape=shape, chunks=chunks, dtype=dtype, fill_value=0)
            for key in grid_keys(whole(shape), chunks):
                region = chunk_region(key, chunks, shape)
                target[region] = np.asarray(pixels[region]).astype(dtype, copy=False)
            part.replace(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    axes = source.axes.replace("C", "S") if source.is_rgb else source.axes
    stored = ImageSource(Opened(zarr.open_array(path, mode="r")), axes, name=source.name, path=path)
    stored.pixel_size = source.pixel_size
    return stored
