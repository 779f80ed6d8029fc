"""One window at a time: a lock file that is held open, and names the process holding a project."""

import errno
import json
import os
import secrets
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from napari_weakseg.core.errors import ProjectLocked
from napari_weakseg.core.storage import storage_errors

LOCK_NAME = "project.lock"
_TRIES = 10
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what systems say of a file that is locked already
_FAR = 2**30  # the byte that Windows locks: what is locked there cannot be read


class ProjectLock:
    """Lock file of a project folder, taken at construction.

    The system holds the lock as long as this process lives: what a crashed or killed one leaves behind is free. Not
    every network disk tells other computers of such locks, so a file that names another one counts as well.

    Raises
    ------
    ProjectLocked
        If another window, program or computer holds the project.
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._owner = {"pid": os.getpid(), "host": socket.gethostname(), "token": secrets.token_hex(8)}
        for _ in range(_TRIES):
            self._file = self._taken()
            if self.holds():
                return
            self._file.close()  # whoever had it removed the file between opening and locking
        raise _in_use(self.path, {})

    def holds(self) -> bool:
        """Whether the file is there and ours: not released, not in a folder that was moved, not another's by now."""
        if self._file.closed:
            return False
        try:
            return _parsed(self.path.read_bytes()) == self._owner
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # some network disks let nobody read what is locked
            return True

    def release(self) -> None:
        """Give the project free; only by the process that took it (a forked child must not)."""
        mine = self._owner["pid"] == os.getpid() and self.holds()
        if sys.platform == "win32":  # what is open cannot be removed there; elsewhere it goes while it is still ours
            self._file.close()
        if mine:
            with suppress(OSError):
                self.path.unlink()
        self._file.close()

    def _taken(self) -> IO[bytes]:
        """Open the file, lock it and write into it who has it."""
        with storage_errors(self.path), ExitStack() as opened:
            try:
                file, new = self.path.open("x+b", buffering=0), True
            except FileExistsError:
                file, new = self.path.open("a+b", buffering=0), False
            opened.callback(file.close)
            locked, holder = _lock(file, otherwise=new), _read(file)
            if not locked or holder.get("host", self._owner["host"]) != self._owner["host"]:
                raise _in_use(self.path, holder)
            file.seek(0)
            file.truncate()
            file.write(json.dumps(self._owner).encode())
            opened.pop_all()
            return file


def _lock(file: IO[bytes], *, otherwise: bool) -> bool:
    """Lock an open file, unless it is locked already; `otherwise` on a disk that knows no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else otherwise
    return True


def _read(file: IO[bytes]) -> dict[str, Any]:
    try:
        file.seek(0)
        return _parsed(file.read())
    except OSError:
        return {}


def _parsed(data: bytes) -> dict[str, Any]:
    """Contents of a lock file; nothing where a crash cut them off."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _in_use(path: Path, holder: dict[str, Any]) -> ProjectLocked:
    pid, host = holder.get("pid"), holder.get("host", socket.gethostname())
    if host != socket.gethostname():
        who = f"on another computer ({host})"
    elif pid == os.getpid():
        who = "in this program"
    else:
        who = "in another window or program" + f" (process {pid})" * (pid is not None)
    return ProjectLocked(
        f"The project “{path.parent}” is already open {who}.",
        "Go on there, or close it there first. "
        f"If nobody uses it any more, delete the file “{path}”, then open it again.",
    )
