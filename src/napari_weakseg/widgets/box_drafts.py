"""Boxes of a volume in the making: what is still to be said of a rectangle, until it is a box."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_weakseg.widgets import messages
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


class BoxDrafts(QObject):
    """Tells how a box is finished, and finishes it.

    Parameters
    ----------
    bench : Workbench
    notices : NoticeBox
        Where it tells.
    """

    def __init__(self, bench: Workbench, notices: NoticeBox, parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._notices = bench, notices
        bench.drafts_changed.connect(self._show)
        bench.current_changed.connect(self._show)
        bench.drafts_left.connect(self._on_left)

    def keys(self) -> "Mapping[Layer, Mapping[str, Callable[[Any], Any]]]":
        """Keys of the layer of boxes: E, which is napari's ellipse there, and the eraser of the brush elsewhere."""
        canvas = self._bench.current
        if canvas is None or canvas.boxes is None or canvas.spatial_ndim == 2:
            return {}
        return {canvas.boxes.layer: {"E": lambda _: self.end_here()}}

    def end_here(self) -> None:
        """Let the box that is being drawn, or those that are selected, end at the plane on screen."""
        canvas = self._bench.current
        if canvas is not None:
            self._bench.flush()
            messages.guarded(canvas.end_box)
            self._bench.flush()

    def _give_up(self) -> None:
        canvas = self._bench.current
        if canvas is not None and canvas.boxes is not None:
            canvas.boxes.give_up()
            self._bench.flush()

    def _show(self) -> None:
        drafts = self._bench.current.drafts if self._bench.current is not None else ()
        if drafts:
            many = f"{len(drafts)} rectangles are no boxes yet. Of the last one: " if len(drafts) > 1 else ""
            self._notices.post(
                _NOTICE, many + _WORDS[drafts[-1]], {"It ends here": self.end_here, "Delete it": self._give_up}
            )
        else:
            self._notices.clear(_NOTICE)

    def _on_left(self, name: str, n: int) -> None:
        which = "One rectangle" if n == 1 else f"{n} rectangles"
        messages.info(
            f"{which} on “{name}” had no first and last plane yet, so nothing of it is in the project. "
            "Boxes that were finished are."
        )
