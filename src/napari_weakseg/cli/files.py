"""Files of the command line: which images are meant, and probabilities."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from napari_weakseg.cli.shell import warn
from napari_weakseg.core.errors import ImageError, ProjectError
from napari_weakseg.core.guests import add_guest, remove_guest
from napari_weakseg.core.label_files import check_replaceable, is_result, write_image
from napari_weakseg.core.names import SUFFIXES, distinct, result_name, stem_of
from napari_weakseg.core.project import Project
from napari_weakseg.engine.exporting import TIFF_PX
from napari_weakseg.session import Session

_OF_RESULTS = ("_classes", "_objects", "_probabilities", "_annotation", "_grown")  # endings of their names


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Images among the paths, as `_listed`; results of ours are left out."""
    found = _listed(paths)
    beside = {file.with_name(stem_of(file) + ending) for file in found for ending in _OF_RESULTS}
    results = {file for file in found if file.with_name(stem_of(file)) in beside or is_result(file)}
    if results:
        warn(f"Left out, because they are results: {', '.join(sorted(file.name for file in results))}.")
    return [file for file in found if file not in results]


def _listed(paths: Iterable[Path]) -> list[Path]:
    """Paths, with the images inside of a folder in its place, in order of name.

    Raises
    ------
    ImageError
        If a path does not exist or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ImageError(f"“{path}” does not exist.", "Check the name and the folder.")
        inside = _inside(path) if path.is_dir() and path.suffix.lower() != ".zarr" else [path]
        if not inside:
            raise ImageError(f"There is no image in “{path}”.", f"Images end in {', '.join(sorted(SUFFIXES))}.")
        found += inside
    return found


def _inside(folder: Path) -> list[Path]:
    """Images in a folder, without the hidden ones that macOS puts beside them."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    return sorted(file for file in files if not file.name.startswith("."))


def masks_of(project: Project, masks: Path) -> dict[str, Path]:
    """Masks by the image whose name, or whose file's name, they have, or its export's; it is told which have none.

    Raises
    ------
    ImageError
        If there is none.
    """
    names = {stem_of(image.path): name for name, image in project.images.items()}
    names |= {name: name for name in project.images}
    found: dict[str, Path] = {}
    strange: list[str] = []
    for file in _listed([masks]):
        name = names.get(stem_of(file)) or names.get(stem_of(file).removesuffix("_annotation"))
        if name is None or name in found:
            strange.append(file.name)
        else:
            found[name] = file
    if not found:
        raise ImageError(
            f"No mask in “{masks}” has the name of an image of the project.",
            "Name the masks like the images, or give --image.",
        )
    if strange:
        warn(f"Left out, because they are no image's name, or one's a second time: {', '.join(strange)}.")
    return found


def results_of(folder: Path, name: str) -> list[Path]:
    """All files that predicting an image may write, but for tables, which go with their label image."""
    endings = ("_classes.tif", "_objects.tif", "_probabilities.tif", ".ome.zarr")
    return [folder / f"{name}{ending}" for ending in endings]


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


def prediction_jobs(project: Project, images: list[str] | None) -> dict[str, Path | None]:
    """List what to predict by name, with the file where it is no image of the project; no two names are alike."""
    if not images:
        if not project.images:
            raise ProjectError("There is no image in this project.", "Add some: napari-weakseg add.")
        return dict.fromkeys(project.images)
    names = {image.path.resolve(): name for name, image in project.images.items()}
    jobs: dict[str, Path | None] = dict.fromkeys(given for given in images if given in project.images)
    for file in image_files(Path(given) for given in images if given not in project.images):
        path = file.resolve()
        if path not in names:
            names[path] = name = distinct(stem_of(file), {*project.images, *jobs})
            jobs[name] = file
            if name != stem_of(file):
                warn(f"The results of “{file}” are called “{name}”: there is another “{stem_of(file)}”.")
        elif names[path] in project.images:
            jobs[names[path]] = None
    return jobs


@contextmanager
def member(project: Project, name: str, file: Path | None) -> Iterator[None]:
    """Have an image in the project for the time being, if it is given by its file."""
    if file is None:
        yield
        return
    add_guest(project, file, name)
    try:
        yield
    finally:
        remove_guest(project, name)
