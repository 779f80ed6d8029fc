"""Files that are either the old or the new one, whatever happens in between."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_weakseg.core.errors import ProjectError, StorageError

_FREE = "Free some space and carry on: what you painted is kept in memory until then."
_FORBIDDEN = "Ask for write permission, or copy the project to a folder of your own."
_REASONS = {
    errno.ENOSPC: ("the disk is full", _FREE),
    errno.EDQUOT: ("your disk quota is used up", _FREE),
    errno.EACCES: ("you may not write there", _FORBIDDEN),
    errno.EPERM: ("you may not write there", _FORBIDDEN),
    errno.EROFS: (
        "that disk is read-only",
        "Copy the project to a disk that can be written and open it there.",
    ),
}


def storage_error(error: OSError, path: Path, *, doing: str = "saved") -> StorageError:
    """`StorageError` that says in plain words why `path` could not be written or read."""
    why, remedy = _REASONS.get(
        error.errno or 0,
        (f"the disk reported “{error.strerror or error}”", "Check that it is connected, then try again."),
    )
    return StorageError(f"“{path}” could not be {doing}: {why}.", remedy, repr(error))


@contextmanager
def storage_errors(path: Path, *, doing: str = "saved") -> Iterator[None]:
    """Turn every OSError of the block into a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, doing=doing) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk, then rename it into place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _keep(path: Path, copy: Path) -> None:
    """Keep what is in a file now under another name; it costs nothing where the disk knows hard links."""
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(path)
    except OSError:
        write_atomically(copy, path.read_bytes())
    else:
        part.replace(copy)


def write_json(path: Path, value: object, *, backup: bool = False) -> None:
    """Write JSON atomically; with `backup`, the version before is kept as ``<name>.bak``.

    Raises
    ------
    StorageError
        If the disk refuses; the old file is untouched then.
    """
    data = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    with storage_errors(path):
        if backup and path.exists():
            _keep(path, path.with_name(f"{path.name}.bak"))
        write_atomically(path, data)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ProjectError
        If the file is cut off or is not a JSON object.
    StorageError
        If it cannot be read at all.
    """
    with storage_errors(path, doing="read"):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, f"expected a JSON object, found {type(value).__name__}")
    return value


def read_json_or_backup(path: Path, *, repair: bool) -> tuple[dict[str, Any], str]:
    """Read a JSON object, or its backup where the file is damaged or gone; with `repair`, that takes its place then.

    Returns
    -------
    value : dict
    note : str
        One sentence where the backup had to be used, else empty.
    """
    try:
        return read_json(path), ""
    except (ProjectError, StorageError) as error:
        backup = path.with_name(path.name + ".bak")
        try:
            value = read_json(backup)
        except (ProjectError, StorageError):
            raise error from None
        if repair:
            with storage_errors(path):
                if path.exists():
                    path.replace(path.with_name(f"damaged-{path.name}"))
                write_atomically(path, backup.read_bytes())
        return value, f"“{path.name}” was damaged, so its last good copy “{backup.name}” was used."


def _damaged(path: Path, details: str) -> ProjectError:
    return ProjectError(
        f"“{path}” is damaged or cut off.",
        f"Restore it from a backup of the folder “{path.parent}”; what was painted is untouched.",
        details,
    )
