"""The window: a dock widget that joins a napari viewer and a session. Never torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_weakseg.widgets.panel import WeaksegPanel

__all__ = ["WeaksegPanel"]


def __getattr__(name: str) -> object:
    if name == "WeaksegPanel":  # Qt is loaded only when a panel is made
        from napari_weakseg.widgets.panel import WeaksegPanel

        return WeaksegPanel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
