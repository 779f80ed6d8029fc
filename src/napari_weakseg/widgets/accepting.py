"""Taking over what the machine found: by key, by clicking, a whole class, everything grown."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_weakseg.widgets import messages
from napari_weakseg.widgets.train_box import AcceptBox

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_weakseg.widgets.canvas import ImageCanvas

_NO_OBJECT = "There is no grown or predicted object to take over here, or all of it is painted already."


class Accepting(QObject):
    """Carries out what the accept box and its keys ask for.

    Parameters
    ----------
    viewer : ViewerModel
    box : AcceptBox
    current : callable
        The canvas worked on, or None.
    """

    def __init__(
        self,
        viewer: "ViewerModel",
        box: AcceptBox,
        current: "Callable[[], ImageCanvas | None]",
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._box, self._current = viewer, box, current
        self._annotation: Labels | None = None  # the layer that clicks put objects into
        box.clicking_changed.connect(self._on_clicking)
        box.class_wanted.connect(self.accept_class)
        box.grown_wanted.connect(self.accept_grown)

    def accept_object(self) -> None:
        """Take over the object under the mouse."""
        position = self._viewer.cursor.position
        self._accept(lambda canvas: canvas.accept_object(position), _NO_OBJECT)

    def accept_class(self) -> None:
        """Take over everything predicted of the class that is painted with."""
        self._accept(
            lambda canvas: canvas.accept_class(int(canvas.annotation.selected_label)),
            "Nothing new of the class you paint with is predicted on this screen.",
        )

    def accept_grown(self) -> None:
        """Take over everything that has grown."""
        self._accept(lambda canvas: canvas.accept_grown(), "Nothing has grown here beyond what is painted.")

    def stop_clicking(self) -> None:
        """Paint again when the mouse is pressed."""
        self._box.set_clicking(False)

    def close(self) -> None:
        """Let go of the viewer."""
        self._let_go()

    def _on_clicking(self, on: bool) -> None:
        self._let_go()
        canvas = self._current()
        if on and canvas is not None and canvas.annotation in self._viewer.layers:
            canvas.select()
            self._annotation = canvas.annotation
            self._annotation.mode = "pan_zoom"
            self._viewer.mouse_drag_callbacks.append(self._on_press)
            self._annotation.events.mode.connect(self._on_tool)
            self._viewer.layers.selection.events.active.connect(self._on_tool)

    def _let_go(self) -> None:
        """Leave clicks to napari; the brush is in hand again unless another tool was picked."""
        annotation, self._annotation = self._annotation, None
        if annotation is None:
            return
        self._viewer.mouse_drag_callbacks.remove(self._on_press)
        annotation.events.mode.disconnect(self._on_tool)
        self._viewer.layers.selection.events.active.disconnect(self._on_tool)
        if annotation.mode == "pan_zoom":
            annotation.mode = "paint"

    def _on_tool(self, event: object = None) -> None:
        """Stop when a tool of napari, or another layer, was picked: clicks are meant for it."""
        annotation = self._annotation
        if annotation is None or annotation.mode != "pan_zoom" or self._viewer.layers.selection.active != annotation:
            self.stop_clicking()

    def _on_press(self, viewer: "ViewerModel", event: Any) -> Any:
        """Accept on a click, not on a drag, which moves the picture."""
        moved = False
        yield
        while event.type == "mouse_move":
            moved = True
            yield
        if not moved:
            self.accept_object()

    def _accept(self, accept: "Callable[[ImageCanvas], int]", nothing: str) -> None:
        """Take something over and say how many pixels, or that there is nothing."""
        canvas, counts = self._current(), list[int]()
        if canvas is None or not messages.guarded(lambda: counts.append(accept(canvas))):
            return
        count = sum(counts)
        if count:
            self._viewer.status = f"{count} pixels taken over; Ctrl+Z undoes it."
        else:
            messages.info(nothing)
