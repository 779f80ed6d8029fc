"""What takes long is done in a thread of its own, one thing at a time, while the window goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from qtpy.QtCore import QObject, QTimer, Signal

__all__ = ["Aside"]

_T = TypeVar("_T")
_ASKED_EVERY_MS = 100


class Aside(QObject):
    """Does one thing at a time.

    Parameters
    ----------
    guard : callable
        Runs a function and tells the person what went wrong.

    Attributes
    ----------
    doing : str
        What is being done, in words; "" when it is done.
    exclusive : bool
        Nobody may mark anything until it is done.
    """

    changed = Signal(str)  # `doing`

    def __init__(self, guard: Callable[[Callable[[], None]], bool], parent: QObject) -> None:
        super().__init__(parent)
        self._guard = guard
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "weakseg-aside")
        self.doing, self.exclusive = "", False

    def do(self, text: str, call: Callable[[], _T], then: Callable[[_T], None], *, exclusive: bool = False) -> None:
        """Call something in the thread, then go on in the window with what it gave; what went wrong is told."""
        self.exclusive = exclusive
        self._say(text)
        self._wait_for(self._thread.submit(call), then)

    def wanted(self) -> bool:
        """Whether what is done is still of use; asked by what is being done."""
        return not self._closed

    def close(self) -> None:
        """Wait for what is being done, and go on with nothing."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _say(self, text: str) -> None:
        self.doing = text
        self.changed.emit(text)

    def _wait_for(self, result: "Future[_T]", then: Callable[[_T], None]) -> None:
        if self._closed:
            return
        if not result.done():
            QTimer.singleShot(_ASKED_EVERY_MS, lambda: self._wait_for(result, then))
            return
        self.exclusive = False
        self._say("")
        self._guard(lambda: then(result.result()))
