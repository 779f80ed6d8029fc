"""What people mark on the canvases is handed on to the project, a moment after each change."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_weakseg.core.errors import StorageError
from napari_weakseg.core.regions import Region
from napari_weakseg.widgets.canvas import ImageCanvas
from napari_weakseg.widgets.timers import single_shot, stop_timer

if TYPE_CHECKING:
    from napari_weakseg.core.project_image import ProjectImage

__all__ = ["Strokes"]

_FLUSH_MS = 120  # a stroke is handed on this long after the last change
_SWEEP_MS = 10


class Strokes(QObject):
    """Hands on paint and boxes.

    Parameters
    ----------
    canvases : mapping of str to ImageCanvas
        Those of the workbench, by the names of their images.
    guard : callable
        Runs a function and tells the person what went wrong; returns whether it went well.

    Attributes
    ----------
    images : dict of str to ProjectImage
        Where the marks of each canvas go, whatever project is open when they are handed on.
    """

    marks_changed = Signal(str)  # an image's annotation changed; it is on disk
    stray_changed = Signal()  # something is, or is no longer, painted with a label that is no class
    drafts_changed = Signal()  # in a volume a box was begun, finished or given up
    unsaved = Signal(str)  # the disk refused; what it said

    def __init__(
        self,
        canvases: Mapping[str, ImageCanvas],
        guard: Callable[[Callable[[], None]], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._canvases, self._guard = canvases, guard
        self.images: dict[str, ProjectImage] = {}
        self._timer = single_shot(self, _FLUSH_MS, self.flush)

    def close(self) -> None:
        """Hand nothing on any more."""
        stop_timer(self._timer)

    def writer(self, name: str) -> Callable[[NDArray[np.uint8], tuple[int, ...]], None]:
        """Give what stores a painted block of an image."""

        def write(block: NDArray[np.uint8], start: tuple[int, ...]) -> None:
            image = self.images[name]
            self._change(image, lambda: image.paint(block, start=start))

        return write

    def _change(self, image: "ProjectImage", change: Callable[[], None]) -> None:
        """Change an image; what the disk refuses to write is in memory, and the project tries again."""
        before = image.revision
        try:
            change()
        except StorageError as error:
            if image.revision == before:  # the project did not take it: what is there already could not be read
                raise
            self.unsaved.emit(str(error))

    def touched(self) -> None:
        """Hand on soon, for something changed."""
        if not self._timer.isActive():
            self._timer.start(_FLUSH_MS)

    def flush(self) -> None:
        """Hand on what is painted on screen; what may have changed elsewhere follows piece by piece."""
        pending = False
        for canvas in list(self._canvases.values()):
            if self._hand_on(canvas, canvas.shown):
                pending |= canvas.bridge.pending or (canvas.boxes is not None and canvas.boxes.drawing)
        if pending:
            self._timer.start(_SWEEP_MS)

    def _hand_on(self, canvas: ImageCanvas, shown: Region | None) -> bool:
        """Store what changed on one canvas, then say so; returns whether that went well."""
        changed: list[bool] = []
        stray, drafts = canvas.bridge.stray, canvas.drafts
        well = self._guard(lambda: changed.append(canvas.bridge.flush(shown)))
        well &= self._guard(lambda: changed.append(self._hand_on_boxes(canvas)))
        if canvas.bridge.stray != stray:
            self.stray_changed.emit()
        if canvas.drafts != drafts:
            self.drafts_changed.emit()
        if any(changed):
            self.marks_changed.emit(canvas.name)
        return well

    def _hand_on_boxes(self, canvas: ImageCanvas) -> bool:
        """Store the boxes that were drawn and forget those that were deleted; returns whether there were any."""
        new, gone = canvas.boxes.changes() if canvas.boxes is not None else ([], [])
        if canvas.boxes is None or not (new or gone):
            return False
        image = self.images[canvas.name]
        self._change(image, lambda: image.change_boxes(new, gone))
        canvas.boxes.handed_on()
        return True

    def flush_all(self) -> None:
        """Hand on everything at once."""
        for canvas in list(self._canvases.values()):
            self._hand_on(canvas, None)
