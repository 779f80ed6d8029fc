"""Taking images into a project: their record, and a copy of arrays."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import zarr

from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.readers import Opened
from napari_weakseg.core.record import ImageRecord, fingerprint, relative
from napari_weakseg.core.regions import chunk_region, grid_keys, whole
from napari_weakseg.core.storage import storage_errors

_CHUNK_PX = 512


def image_record(source: ImageSource, folder: str, project: Path) -> ImageRecord:
    """Record of an image whose pixels are on disk."""
    assert source.path is not None
    with storage_errors(source.path, doing="read"):
        size_bytes, checksum = fingerprint(source.path)
    return ImageRecord(
        name=source.name,
        folder=folder,
        path=relative(source.path, project),
        owned=source.path.resolve().is_relative_to(project.resolve() / "images"),
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
    """Copy the pixels of an array into a zarr folder, chunk by chunk; the folder appears when it is complete."""
    part = path.with_name(f".{path.name}.part")
    pixels = source._opened.pixels
    shape = source.shape
    spatial = {source.axes.index("Y"), source.axes.index("X")}
    chunks = tuple(min(_CHUNK_PX, n) if axis in spatial else 1 for axis, n in enumerate(shape))
    dtype = {"b": np.dtype(np.uint8)}.get(source.dtype.kind, source.dtype.newbyteorder("="))
    with storage_errors(path):
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        target = zarr.create_array(part, shape=shape, chunks=chunks, dtype=dtype, fill_value=0)
        for key in grid_keys(whole(shape), chunks):
            region = chunk_region(key, chunks, shape)
            target[region] = np.asarray(pixels[region]).astype(dtype, copy=False)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)
    axes = source.axes.replace("C", "S") if source.is_rgb else source.axes
    stored = ImageSource(Opened(zarr.open_array(path, mode="r")), axes, name=source.name, path=path)
    stored.pixel_size = source.pixel_size
    return stored


def unused(name: str, taken: Collection[str]) -> str:
    """`name`, with a number behind it where it is taken.

    Examples
    --------
    >>> unused("field", {"field", "field-2"})
    'field-3'
    """
    if name not in taken and name.casefold() not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken or f"{name}-{number}".casefold() in taken:
        number += 1
    return f"{name}-{number}"
