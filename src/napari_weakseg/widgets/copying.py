"""Copies a folder that is written to meanwhile: once as it is, then again what has changed since."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["bytes_in", "copy_changed"]

_PASSING = (".lock", ".part")  # endings of files and folders that are not copied
_CLOCK_S = 3  # some disks tell times to two seconds: what was copied so soon after it was written is copied again


def copy_changed(source: Path, target: Path, *, wanted: Callable[[], bool] = lambda: True) -> bool:
    """Make a folder like another one, locks and what is half-written left out; links are followed.

    Parameters
    ----------
    source, target : Path
        What the target has already, with the same size and time, is not copied again; what the source has no more is
        removed.
    wanted : callable
        Asked before each file whether to go on.

    Returns
    -------
    bool
        Whether it went on to the end.

    Raises
    ------
    OSError
        If something cannot be read or written. A file that vanishes while the folder is copied is left out.
    """
    target.mkdir(parents=True, exist_ok=True)
    inside = _inside(source)
    for path in sorted(inside):
        if not wanted():
            return False
        if (source / path).is_dir():
            (target / path).mkdir(exist_ok=True)
        elif not _same(source / path, target / path):
            _copy(source / path, target / path)
    for path in sorted(target.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.relative_to(target) not in inside:
            path.rmdir() if path.is_dir() else path.unlink()
    return True


def bytes_in(folder: Path) -> int:
    """Sum of the sizes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it has vanished since
            total += path.stat().st_size if path.is_file() else 0
    return total


def _inside(source: Path) -> set[Path]:
    """Files and folders that are copied, relative to the source."""
    found: set[Path] = set()
    for folder, folders, files in os.walk(source, followlinks=True, onerror=_tell):
        folders[:] = [name for name in folders if not name.endswith(_PASSING)]
        files = [name for name in files if not name.endswith(_PASSING)]
        found.update(Path(folder, name).relative_to(source) for name in (*folders, *files))
    return found


def _tell(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a folder that has vanished since
        raise error


def _same(source: Path, target: Path) -> bool:
    try:
        there, here = target.stat(), source.stat()
    except FileNotFoundError:
        return False
    long_ago = there.st_ctime - here.st_mtime > _CLOCK_S
    return long_ago and (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        if source.exists():
            raise
        target.unlink(missing_ok=True)
