"""Messages in napari's own notifications, with the technical text behind a button."""

import logging
from collections.abc import Callable

from napari_weakseg.core.errors import WeaksegError

_log = logging.getLogger(__name__)


def info(text: str) -> None:
    """Say something in passing."""
    from napari.utils.notifications import show_info

    show_info(text)


def warn(problem: str, remedy: str = "", details: str = "") -> None:
    """Say what went wrong and what to do; `details` opens with a button."""
    from napari.utils.notifications import Notification, notification_manager

    text = f"{problem} {remedy}".strip()
    actions = (("Details", lambda _: _show_details(text, details)),) if details else ()
    notification_manager.dispatch(Notification(text, "warning", actions))
    if details:
        _log.info("%s\n%s", text, details)


def guarded(call: Callable[[], object]) -> bool:
    """Run `call`; an error a person can act on becomes a message. Returns whether it went well."""
    try:
        call()
    except WeaksegError as error:
        warn(error.problem, error.remedy, error.details)
        return False
    except OSError as error:
        warn(
            f"The disk did not do what was asked ({error.strerror or error}).",
            "Check that the folder is there and that there is room; what you painted stays in the window.",
            repr(error),
        )
        return False
    return True


def _show_details(text: str, details: str) -> None:
    from qtpy.QtWidgets import QMessageBox

    box = QMessageBox()
    box.setText(text)
    box.setDetailedText(details)
    box.exec()
