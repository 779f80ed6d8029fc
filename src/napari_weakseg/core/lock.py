"""One window at a time: a lock file that names the process holding a project."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from napari_weakseg.core.errors import ProjectLocked
from napari_weakseg.core.storage import storage_errors

LOCK_NAME = "project.lock"


class ProjectLock:
    """Lock file of a project folder, taken at construction.

    A lock whose process is gone (crashed, killed) is taken over. The file holds the process id, its start
    time where the system tells it (ids are used again), and the host.

    Raises
    ------
    ProjectLocked
        If a living process, or a process on another computer, holds the project.
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": _start_time(os.getpid())}
        for _ in range(3):
            if self._taken():
                return
            holder = _read(self.path)
            if holder is not None and _alive(holder):
                raise _locked(self.path, holder)
            with storage_errors(self.path, doing="replaced"):
                self.path.unlink(missing_ok=True)
        raise _locked(self.path, _read(self.path) or {})

    def release(self) -> None:
        """Give the project free; only by the process that took it (a forked child must not)."""
        if self._owner["pid"] == os.getpid() and _read(self.path) == self._owner:
            self.path.unlink(missing_ok=True)

    def _taken(self) -> bool:
        """Make the file with its contents in one step, unless there is one."""
        part = self.path.with_name(f".{LOCK_NAME}.{os.getpid()}.{time.monotonic_ns()}.part")
        with storage_errors(self.path):
            part.write_text(json.dumps(self._owner), "utf-8")
            try:
                os.link(part, self.path)
            except FileExistsError:
                return False
            except OSError:  # a disk without hard links: exclusive creation comes next to it
                return self._created()
            finally:
                part.unlink(missing_ok=True)
        return True

    def _created(self) -> bool:
        try:
            with self.path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(self._owner))
        except FileExistsError:
            return False
        return True


def _read(path: Path) -> dict[str, Any] | None:
    """Contents of a lock file; None where it is gone or was cut off by a crash."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the holder may still be at work; yes where it cannot be known."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        return "host" in holder
    if not _exists(pid):
        return False
    started = holder.get("started")
    return started is None or started == _start_time(pid)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill would end the process there
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_time(pid: int) -> str | None:
    """Start time of a process where /proc tells it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _locked(path: Path, holder: dict[str, Any]) -> ProjectLocked:
    pid, host = holder.get("pid"), holder.get("host")
    if host == socket.gethostname():
        who = "in this program" if pid == os.getpid() else f"in another window or program (process {pid})"
        return ProjectLocked(
            f"The project “{path.parent}” is already open {who}.", "Go on there, or close it there first."
        )
    return ProjectLocked(
        f"The project “{path.parent}” is open on another computer ({host}).",
        f"Close it there. If nobody uses it any more, delete the file “{path}” and open it again.",
    )
