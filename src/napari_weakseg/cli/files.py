"""Files of the command line: which images are meant, and probabilities."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from napari_weakseg.core.errors import ImageError, ProjectError
from napari_weakseg.core.label_files import check_replaceable, write_image
from napari_weakseg.core.names import result_name
from napari_weakseg.core.project import Project
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
