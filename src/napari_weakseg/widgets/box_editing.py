"""Keys and words for the layer of boxes: where a box of a volume ends, and what was changed last."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from app_model.types import KeyCode, KeyMod
from qtpy.QtCore import QObject

from napari_weakseg.widgets import messages
from napari_weakseg.widgets.keys import Actions
from napari_weakseg.widgets.side_boxes import NoticeBox
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari.layers import Layer

_NOTICE = "draft"
_WORDS = {  # ends that are missing → what to do
    2: "Two steps make a box of the filled rectangle: go to the first plane of the object and press E, then go to its "
    "last plane and press E.",
    1: "One end of the box is noted. Go to the other end of the object and press E.",
}
_UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ  # as in napari's Labels layers
_REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ


class BoxEditing(QObject):
    """Ends boxes of a volume, tells what is still to be said of them, and takes changes back.

    Parameters
    ----------
    bench : Workbench
    notices : NoticeBox
        Where it tells.
    """

    def __init__(self, bench: Workbench, notices: NoticeBox, parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._notices = bench, notices
        bench.strokes.drafts_changed.connect(self._show)
        bench.current_changed.connect(self._show)
        bench.drafts_left.connect(self._on_left)
        bench.viewer.layers.selection.events.active.connect(self._show)

    def keys(self) -> "Mapping[Layer, Actions]":
        """Keys of the layer of boxes alone: the brush has an undo of its own, and E is its eraser."""
        canvas = self._bench.current
        if canvas is None or canvas.boxes is None:
            return {}
        actions: dict[Any, Callable[[Any], Any]] = {
            _UNDO: lambda _: self.turn(back=True),
            _REDO: lambda _: self.turn(back=False),
        }
        if canvas.spatial_ndim == 3:
            actions["E"] = lambda _: self.end_here()
        return {canvas.boxes.layer: actions}

    def end_here(self) -> None:
        """Let the box that is being drawn, or those that are selected, end at the plane on screen."""
        canvas = self._bench.current
        if canvas is not None:
            self._bench.strokes.flush()
            messages.guarded(canvas.end_box)
            self._bench.strokes.flush()

    def turn(self, *, back: bool) -> None:
        """Take the last change of the boxes back, or do it again."""
        canvas = self._bench.current
        if canvas is not None:
            self._bench.strokes.flush()
            if not canvas.turn_boxes(back=back):
                self._bench.viewer.status = f"No change of boxes to {'take back' if back else 'do again'}."
            self._bench.strokes.flush()

    def close(self) -> None:
        """Let go of the viewer."""
        self._bench.viewer.layers.selection.events.active.disconnect(self._show)

    def _give_up(self) -> None:
        canvas = self._bench.current
        if canvas is not None and canvas.boxes is not None:
            canvas.boxes.give_up()
            self._bench.strokes.flush()

    def _show(self, event: object = None) -> None:
        canvas = self._bench.current
        if canvas is None or not canvas.drafts:
            self._notices.clear(_NOTICE)
            return
        n = len(canvas.drafts)
        words = f"{n} rectangles are no boxes yet. Of the last one: " if n > 1 else ""
        words += _WORDS[canvas.drafts[-1]]
        if not canvas.drawing_boxes:
            words += " R goes back to the boxes."
        self._notices.post(_NOTICE, words, {"It ends here": self.end_here, "Delete it": self._give_up})

    def _on_left(self, name: str, n: int) -> None:
        which = "One rectangle" if n == 1 else f"{n} rectangles"
        messages.info(
            f"{which} on “{name}” had no first and last plane yet, so nothing of it is in the project. "
            "Boxes that were finished are."
        )
