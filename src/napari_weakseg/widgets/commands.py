"""Commands of the plugin manifest, for the palette and menus. Each finds the current viewer's panel."""

from typing import TYPE_CHECKING

from napari_weakseg.widgets import messages
from napari_weakseg.widgets.enablement import Action
from napari_weakseg.widgets.panel import WeaksegPanel

if TYPE_CHECKING:
    import napari

_PLUGIN, _PANEL = "napari-weakseg", "Learn from rough annotation"


def train() -> None:
    """Start learning, or go on after a pause."""
    panel = _panel()
    if panel is not None:
        for action in (Action.RESUME, Action.TRAIN):
            panel.controller.do(action)


def pause() -> None:
    """Hold learning."""
    panel = _panel()
    if panel is not None:
        panel.controller.do(Action.PAUSE)


def stop() -> None:
    """End learning and keep what was learned."""
    panel = _panel()
    if panel is not None:
        panel.controller.do(Action.STOP)


def accept() -> None:
    """Take over the object under the mouse."""
    panel = _panel()
    if panel is not None:
        panel.controller.accepting.accept_object()


def accept_grown() -> None:
    """Take over everything that has grown."""
    panel = _panel()
    if panel is not None:
        panel.controller.accepting.accept_grown()


def find_objects() -> None:
    """Give every object on screen a number."""
    panel = _panel()
    if panel is not None:
        panel.controller.find_objects()


def save_results() -> None:
    """Ask for a folder and save the results of the image at hand there."""
    panel = _panel()
    if panel is not None:
        panel.controller.save_results()


def next_image() -> None:
    """Go to the next slice or image without marks."""
    panel = _panel()
    if panel is not None:
        panel.controller.projects.go_next()


def open_project() -> None:
    """Ask for a project folder and open it."""
    panel = _panel()
    if panel is not None:
        panel.controller.open_project()


def _panel() -> WeaksegPanel | None:
    """Panel of the current viewer, opened if need be."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        messages.info("Open a napari window first.")
        return None
    return find_panel(viewer) or _opened(viewer)


def find_panel(viewer: "napari.viewer.Viewer") -> WeaksegPanel | None:
    """Panel that is docked in a viewer, or None."""
    docked = viewer.window.dock_widgets.values()
    return next((widget for widget in docked if isinstance(widget, WeaksegPanel)), None)


def _opened(viewer: "napari.viewer.Viewer") -> WeaksegPanel | None:
    viewer.window.add_plugin_dock_widget(_PLUGIN, _PANEL)
    return find_panel(viewer)
