"""Label images of the command line: read, checked, put into class ids."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.errors import AnnotationError, ImageError
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.names import TIFF
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.readers import open_file
from napari_weakseg.core.regions import whole

Labels = NDArray[np.integer[Any]]


def read_labels(path: Path, image: ProjectImage, ndim: int) -> Labels:
    """Read a label image of the size of `image`, int (*label_shape).

    Raises
    ------
    ImageError, AnnotationError
        If it cannot be read, or has another size, negative numbers or such as are not whole.
    """
    axes = _axes(path, image, ndim)
    try:
        source = ImageSource.open(path, axes, spatial_ndim=ndim)
    except ImageError:
        source = ImageSource.open(path, spatial_ndim=ndim)
    shape = tuple(image.label_shape)
    if tuple(source.label_shape) != shape or source.n_channels != 1:
        size = " × ".join(map(str, source.shape))
        wanted = " × ".join(map(str, shape))
        raise AnnotationError(
            f"“{path.name}” is {size} pixels, but “{image.name}” is {wanted}.",
            "Give a label image of the image's own size, with one number for each pixel.",
        )
    return _whole_numbers(source.read_exactly(whole(shape))[0], path)


def _axes(path: Path, image: ProjectImage, ndim: int) -> str:
    """Axes of a label file: as it names them, where these are the image's in some order, else as the image has them."""
    opened = open_file(path, name=path.name, spatial_ndim=ndim)
    opened.close()
    named = opened.axes or ""
    if path.suffix.lower() in TIFF:  # opening gives axes without a name letters
        with tifffile.TiffFile(path) as tiff:
            named = tiff.series[0].axes
    return named if sorted(named.upper()) == sorted(image.label_axes) else image.label_axes


def _whole_numbers(values: NDArray[Any], path: Path) -> Labels:
    if values.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # no number at all
            found = values.astype(np.int64)
        if not np.array_equal(found, values):
            raise AnnotationError(
                f"“{path.name}” holds numbers that are not whole.", "Save it as a label image (integers)."
            )
        values = found
    if int(values.min()) < 0:
        raise AnnotationError(
            f"“{path.name}” holds the number {int(values.min())}.", "Give 0 to pixels that stand for nothing."
        )
    return values


def check_named(masks: Iterable[Labels], classes: ClassTable, *, name: str) -> None:
    """Refuse masks in which nothing but 0 and 1 occurs: 1 may be a class id, but most likely it is an object.

    Parameters
    ----------
    masks : iterable of int arrays
        That belong together: where one of them holds another number, 1 is a class id in all.
    classes : ClassTable
    name : str
        Of the file or folder, for the message.

    Raises
    ------
    AnnotationError
    """
    seen: set[int] = set()
    for mask in masks:
        if int(mask.max()) > 1:
            return
        seen |= {int(mask.min()), int(mask.max())}
    if seen == {0, 1} and len(classes) > 1:
        raise AnnotationError(
            f"“{name}” holds 0 and 1 only, and 1 is the number of “{classes.names[0]}”.",
            f"Say which class its 1 stands for with --as-class: {', '.join(classes.names)}.",
        )


def as_classes(labels: Labels, classes: ClassTable, *, name: str, as_class: int | None, zero: int) -> Labels:
    """Class ids from a label image.

    Parameters
    ----------
    labels : int (*S)
    classes : ClassTable
    name : str
        Of the file, for messages.
    as_class : int or None
        Class of every pixel that is not 0, whatever its number.
    zero : int
        What 0 stands for: 1 the background, 0 nothing known.

    Raises
    ------
    AnnotationError
        If a number is no class id.
    """
    if as_class is not None:
        labels = np.where(labels != 0, as_class, 0)
    if int(labels.max()) > len(classes):
        raise AnnotationError(
            f"“{name}” holds the number {int(labels.max())}, but the classes have the numbers 1 to {len(classes)}.",
            "If its numbers are objects, not classes, give the class they belong to with --as-class.",
        )
    return np.where(labels == 0, zero, labels)


def beside(before: Labels, said: Labels, classes: ClassTable, *, only: int | None, replace: bool, name: str) -> Labels:
    """Put what a mask of one class says into what is painted.

    Parameters
    ----------
    before, said : int (*S)
        Class ids; where the mask has 0, what is painted stays.
    classes : ClassTable
    only : int or None
        A class that is nowhere else than in the mask: earlier paint of it goes.
    replace : bool
        Other classes may be painted over.
    name : str
        Of the file, for the message.

    Raises
    ------
    AnnotationError
        If other classes are painted there and may not be replaced.
    """
    contradicted = (said > 0) & (before > 0) & (said != before)
    if contradicted.any() and not replace:
        there = ", ".join(f"“{classes.names[c - 1]}”" for c in np.unique(before[contradicted]))
        raise AnnotationError(
            f"{int(contradicted.sum())} pixels of “{name}” are painted as {there} already.",
            "Give --replace to paint over them, or leave them out of the mask. Nothing was changed.",
        )
    return np.where(said > 0, said, np.where(before == only, 0, before) if only is not None else before)


def numbered_beside(before: Labels, new: Labels, stays: NDArray[np.bool_]) -> Labels:
    """Put the objects of a mask beside earlier ones, with higher numbers where theirs are taken.

    Parameters
    ----------
    before, new : int (*S)
        Object ids, 0 = none.
    stays : bool (*S)
        Where earlier objects stay that the mask does not cover.

    Examples
    --------
    >>> numbered_beside(np.array([1, 2, 0, 0]), np.array([0, 1, 2, 0]), np.array([True, True, True, True])).tolist()
    [1, 3, 4, 0]
    """
    kept = np.where(stays & (new == 0), before, 0).astype(np.int64)
    taken = np.isin(new, kept[kept > 0]).any()
    return np.where(new > 0, new.astype(np.int64) + (kept.max() if taken else 0), kept)


def pixels_of(ids: Labels, classes: ClassTable) -> str:
    """Say how many pixels each class has: “background 40, cell 8”."""
    counts = np.bincount(ids.ravel(), minlength=len(classes) + 1)[1:]
    return ", ".join(f"{name} {n}" for name, n in zip(classes.names, counts, strict=True) if n) or "none"
