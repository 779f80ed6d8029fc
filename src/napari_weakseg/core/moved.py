"""Finds image files of a project again that were moved to another folder, or came with it to another computer."""

import os
from collections.abc import Callable
from pathlib import Path

from napari_weakseg.core.project import Project

__all__ = ["find_moved"]


def find_moved(project: Project, folder: str | Path, *, wanted: Callable[[], bool] = lambda: True) -> list[str]:
    """Look in a folder, and in all inside it, for the missing images of a project, and let it read them there.

    A file is taken for the one that is missing if it has its name and its contents (of a zarr folder, its metadata).
    Where several are so, the one whose path has most in common with the old one is taken, counted from its end. No file
    becomes two images.

    Parameters
    ----------
    project : Project
    folder : path
    wanted : callable
        Asked now and then whether to go on.

    Returns
    -------
    list of str
        Names of the images that were found.

    Raises
    ------
    StorageError
        If the project cannot be written.
    """
    missing = {name: project.images[name].path for name in project.missing}
    sought = {path.name for path in missing.values()}
    there: dict[str, list[Path]] = {}
    for inside, folders, files in os.walk(folder):
        if not wanted():
            return []
        for name in sought.intersection([*folders, *files]):  # a zarr image is a folder
            there.setdefault(name, []).append(Path(inside, name))
        folders[:] = [name for name in folders if name not in sought and not name.startswith(".")]
    found, taken = [], {image.path.resolve() for image in project.images.values() if not image.missing}
    for image, old in missing.items():
        for path in sorted(there.get(old.name, []), key=lambda path: -_in_common(path, old)):
            if path.resolve() not in taken and project.images[image].is_made_of(path):
                project.relink(image, path)
                taken.add(path.resolve())
                found.append(image)
                break
    return found


def _in_common(one: Path, other: Path) -> int:
    """Count the parts of two paths that are alike, from their ends."""
    n = 0
    for a, b in zip(reversed(one.parts), reversed(other.parts), strict=False):
        if a != b:
            break
        n += 1
    return n
