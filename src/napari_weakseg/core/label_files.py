"""Label images as TIFF files that other programs read; nothing that is not a result of ours is written over."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.names import TIFF
from napari_weakseg.core.prediction_store import file_of, is_store
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.storage import storage_errors

__all__ = ["check_replaceable", "check_result_of", "is_result", "without_background", "write_image"]

_ORIGIN = 269  # the TIFF tag “DocumentName”: the image file that a result is of
_SOFTWARE = "napari-weakseg"  # stands in every TIFF of ours, and no longer in one that another program saved


def without_background(labels: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Class ids with the background as 0, as other programs read them."""
    return np.where(labels == BACKGROUND, 0, labels).astype(np.uint8)


def is_result(path: Path) -> bool:
    """Whether a file or folder is a result as we wrote it; what a person has saved anew is not."""
    if path.suffix.lower() not in TIFF or not path.is_file():
        return is_store(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages.first.software == _SOFTWARE
    except Exception:  # decoders raise all sorts of things on damaged files
        return False


def check_replaceable(files: Iterable[Path], images: Iterable[ProjectImage], *, asked: bool = False) -> None:
    """Make sure that results may be written, before any is.

    Parameters
    ----------
    files : iterable of Path
        To be written; a table goes with the TIFF of its name.
    images : iterable of ProjectImage
        All of the project: their files are never written over.
    asked : bool
        A person has said that files of other programs may go, too; never a folder that is not a result of ours.

    Raises
    ------
    ProjectError
        Naming what is in the way.
    """
    ours = {image.path.resolve() for image in images}
    for file in files:
        if file.resolve() in ours:
            raise ProjectError(
                f"“{file}” is an image of the project, and is not written over.",
                "Choose another folder for the results.",
            )
        told_by = file.with_suffix(".tif") if file.suffix == ".csv" else file
        if file.exists() and not is_result(told_by) and (file.is_dir() or not asked):
            raise ProjectError(
                f"“{file}” is in the way: it was not written by napari-weakseg, or was changed since.",
                f"Choose another folder for the results, or move that {'folder' if file.is_dir() else 'file'} away.",
            )


def check_result_of(files: Iterable[Path], image: Path) -> None:
    """Make sure that results which are there are of the same image file, before they are replaced.

    Raises
    ------
    ProjectError
        Naming the first that is not, and the file that it is of.
    """
    for file in files:
        if is_result(file) and (other := _origin(file)) != _told(image):
            raise ProjectError(
                f"“{file}” is the result of {f'“{other}”' if other else 'an image that it does not tell'}.",
                f"Choose another folder for the results of “{image}”, or move the earlier ones away.",
            )


def _origin(result: Path) -> str:
    """Image file that a result is of; empty where it does not tell."""
    if is_store(result):
        return file_of(result)
    with tifffile.TiffFile(result) as tiff:
        tag = tiff.pages.first.tags.get(_ORIGIN)
        return "" if tag is None else str(tag.value)


def _told(image: Path) -> str:
    """Path of an image as it stands in its results; not all that a disk calls a file is text."""
    return str(image.resolve()).encode(errors="replace").decode()


def write_image(path: Path, values: NDArray[Any], axes: str, image: ProjectImage) -> Path:
    """Write a TIFF with its axes, and the pixel size where it is known (as OME-TIFF); see `check_replaceable`.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    sizes = image.pixel_size or {}
    metadata: dict[str, Any] = {"axes": axes}
    for axis, (size, unit) in sizes.items():
        if axis in "XYZ" and axis in axes:
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    part = path.with_name(f".{path.name}.part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            part,
            values,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            ome=len(metadata) > 1,
            software=_SOFTWARE,
            extratags=[(_ORIGIN, "s", 0, _told(image.path).encode(), True)],
        )
        part.replace(path)
    return path
