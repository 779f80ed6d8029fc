"""Label images as TIFF files that other programs read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.storage import storage_errors

__all__ = ["without_background", "write_image"]


def without_background(labels: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Class ids with the background as 0, as other programs read them."""
    return np.where(labels == BACKGROUND, 0, labels).astype(np.uint8)


def write_image(path: Path, values: NDArray[Any], axes: str, image: ProjectImage) -> Path:
    """Write a TIFF with its axes, and the pixel size where it is known (as OME-TIFF).

    Raises
    ------
    ProjectError
        If that is the file of the image itself.
    StorageError
        If the disk refuses.
    """
    if path.resolve() == image.path.resolve():
        raise ProjectError(
            f"“{path}” is the image itself, and is not written over.", "Choose another folder for the results."
        )
    sizes: Mapping[str, tuple[float, str]] = {} if image.missing else image.source.pixel_size or {}
    metadata: dict[str, Any] = {"axes": axes}
    for axis, (size, unit) in sizes.items():
        if axis in "XYZ" and axis in axes:
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, values, compression="zlib", metadata=metadata, ome=len(metadata) > 1)
    return path
