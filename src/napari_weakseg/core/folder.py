"""The folder of a project: whether it may be written now, and what was noticed in it."""

import time
import weakref
from pathlib import Path

from napari_weakseg.core.errors import ProjectError, StorageError
from napari_weakseg.core.lock import ProjectLock
from napari_weakseg.core.names import distinct
from napari_weakseg.core.storage import storage_errors


class ProjectFolder:
    """A project folder as everything that lies in it sees it.

    Attributes
    ----------
    path : Path
    notes : list of str
        What was noticed since the project was opened.
    held : str
        What is going on, in words, while which marks may not change; empty at other times.
    """

    def __init__(self, path: Path, lock: ProjectLock | None) -> None:
        self.path = path
        self.notes: list[str] = []
        self.held = ""
        self._lock = lock
        self._release = weakref.finalize(self, lock.release if lock is not None else int)

    @property
    def closed(self) -> bool:
        """Whether the project was closed."""
        return not self._release.alive

    @property
    def writable(self) -> bool:
        """Whether anything here may be written: the project is open, and not for reading only."""
        return self._lock is not None and not self.closed

    def check_writable(self) -> None:
        """Refuse a change of a project that is closed or was opened for reading only.

        Raises
        ------
        ProjectError
        """
        if self.closed:
            raise ProjectError(f"The project “{self.path}” was closed.", "Open it again to change something.")
        if self._lock is None:
            raise ProjectError(
                f"“{self.path}” was opened for reading only.", "Open it without `read_only` to change something."
            )

    def check_changeable(self) -> None:
        """Refuse a change of the marks, as `check_writable` and while something is made of all of them.

        Raises
        ------
        ProjectError
        """
        self.check_writable()
        if self.held:
            raise ProjectError(
                f"Nothing can be marked in “{self.path.name}” while {self.held}.", "Wait until it is done, then go on."
            )

    def check_there(self) -> None:
        """Refuse to write where the project was, but is no longer; asked before anything is written.

        Raises
        ------
        ProjectError
            As `check_writable`.
        StorageError
        """
        self.check_writable()
        assert self._lock is not None
        if not self._lock.holds():
            raise StorageError(
                f"The project is not in “{self.path}” any more, or “{self._lock.path.name}” in it is another's.",
                "If the folder was moved or renamed, put it back: what you painted is kept in memory until then.",
            )

    def note(self, note: str) -> None:
        """Take down what was noticed, once; nothing if it is empty."""
        if note and note not in self.notes:
            self.notes.append(note)

    def discard(self, path: Path) -> None:
        """Move a file or folder into ``trash``, under a name that is not taken there."""
        if not path.exists():
            return
        trash = self.path / "trash"
        with storage_errors(trash):
            trash.mkdir(exist_ok=True)
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{path.name}"
            path.rename(trash / distinct(name, (item.name for item in trash.iterdir())))

    def close(self) -> None:
        """Give the folder free."""
        self._release()
