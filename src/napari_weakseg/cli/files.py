"""Label images of the command line: read, put into class ids, written."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import AnnotationError, ImageError, ProjectError
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.label_files import check_replaceable, write_image
from napari_weakseg.core.names import result_name
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.engine.exporting import TIFF_PX
from napari_weakseg.session import Session

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".npy", ".zarr"})

_OF_RESULTS = ("_classes", "_objects", "_probabilities")  # endings of their names


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Images among the paths, those in folders included, in order of name; without results that lie beside an image.

    Raises
    ------
    ImageError
        If a path does not exist or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ImageError(f"“{path}” does not exist.", "Check the name and the folder.")
        if path.is_dir() and path.suffix.lower() != ".zarr":
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            results = {p.stem + ending for p in inside for ending in _OF_RESULTS}
            inside = [p for p in inside if p.stem not in results]
            if not inside:
                endings = ", ".join(sorted(IMAGE_SUFFIXES))
                raise ImageError(f"There is no image in “{path}”.", f"Images end in {endings}.")
            found += inside
        else:
            found.append(path)
    return found


def read_labels(path: Path, image: ProjectImage, ndim: int) -> NDArray[np.integer[Any]]:
    """Read a label image of the size of `image`, int (*label_shape).

    Raises
    ------
    ImageError, AnnotationError
        If it cannot be read, or has another size or no whole numbers.
    """
    axes = image.label_axes if path.suffix.lower() != ".zarr" else None
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
    values = source.read(tuple(slice(0, size) for size in shape))[0]
    whole: NDArray[np.int64] = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise AnnotationError(
            f"“{path.name}” holds numbers that are not whole.", "Save it as a label image (integers)."
        )
    return whole


def as_classes(
    labels: NDArray[np.integer[Any]], n_classes: int, *, name: str, as_class: int | None, zero: int
) -> NDArray[np.integer[Any]]:
    """Class ids from a label image.

    Parameters
    ----------
    labels : int (*S)
    n_classes : int
    name : str
        Of the file, for messages.
    as_class : int or None
        Class of every pixel that is not 0, whatever its number.
    zero : int
        What 0 stands for: 1 the background, 0 nothing known.
    """
    if as_class is not None:
        labels = np.where(labels != 0, as_class, 0)
    largest, smallest = int(labels.max(initial=0)), int(labels.min(initial=0))
    if largest > n_classes or smallest < 0:
        wrong = largest if largest > n_classes else smallest
        raise AnnotationError(
            f"“{name}” holds the number {wrong}, but the classes have the numbers 1 to {n_classes}.",
            "If its numbers are objects, not classes, give the class they belong to with --as-class.",
        )
    return np.where(labels == 0, zero, labels)


def write_probabilities(session: Session, name: str, folder: Path) -> Path:
    """Predict an image and write the probabilities of its classes, one channel each."""
    image = session.project.images[name]
    if prod(image.label_shape) > TIFF_PX:
        raise ImageError(
            f"“{name}” is too large for a file of probabilities.",
            "Use --zarr: it tells how sure each pixel's class is.",
        )
    file = folder / f"{result_name(name, session.project.images)}_probabilities.tif"
    check_replaceable([file], session.project.images.values())
    shares = session.predict(name, probabilities=True)
    return write_image(file, shares, f"C{image.label_axes}", image)


def prediction_jobs(project: Project, images: list[str] | None) -> list[str | Path]:
    """List names of the project's images, and files that are not among them."""
    if not images:
        if not project.images:
            raise ProjectError("There is no image in this project.", "Add some: napari-weakseg add.")
        return list(project.images)
    jobs: list[str | Path] = []
    for given in images:
        jobs += [given] if given in project.images else image_files([Path(given)])
    return jobs


@contextmanager
def member(project: Project, job: str | Path) -> Iterator[str]:
    """Give the name of an image in the project; a file that is not part of it is so for the time being."""
    if isinstance(job, str):
        yield job
        return
    file = job.resolve()
    known = [name for name, image in project.images.items() if image.path.resolve() == file]
    if known:
        yield known[0]
        return
    image = project.add_image(job)
    try:
        yield image.name
    finally:
        project.remove_image(image.name)
