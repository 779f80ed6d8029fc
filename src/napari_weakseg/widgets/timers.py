"""Timers that go off once."""

from collections.abc import Callable
from contextlib import suppress

from qtpy.QtCore import QObject, QTimer

__all__ = ["single_shot", "stop_timer"]


def single_shot(parent: QObject, milliseconds: int, call: Callable[[], None]) -> QTimer:
    """Make a timer that calls something once after it was started."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(call)
    return timer


def stop_timer(timer: QTimer) -> None:
    """Stop a timer, unless Qt has done away with it already (the window is gone)."""
    with suppress(RuntimeError):
        timer.stop()
