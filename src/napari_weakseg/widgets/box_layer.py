"""The boxes of a project's image, kept equal to the shapes of a layer. No Qt."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.widgets.box_shapes import CHOOSING, BoxShapes, ShapesCopy
from napari_weakseg.widgets.overlay import Placement

_CLICK_PX = 4.0  # of the screen; what is smaller was clicked, not drawn
_UNDO = 50  # changes that can be taken back


class BoxLayer(BoxShapes):
    """Finds out which boxes were drawn, changed and deleted.

    Boxes that reach through several frames cannot be shown as one shape; they are neither shown nor touched. Shapes of
    a class that the project does not have wait until it has.

    Parameters
    ----------
    boxes : sequence of Box
        What the project holds.
    name, image, place, **settings
        As in `BoxShapes`.

    Attributes
    ----------
    counts : int64 (256,)
        Boxes of each class id, as handed on.
    drafts : tuple of int
        How many ends (first and last plane) are still to be said of each draft, as `changes` has found them.
    """

    def __init__(self, name: str, image: str, place: Placement, boxes: Sequence[Box], **settings: Any) -> None:
        super().__init__(name, image, place, boxes, **settings)
        self._known = self._now = Counter(filter(self._outlines.fits, boxes))
        self._stale, self._n_seen = False, self._known.total()
        self.counts, self.drafts = _by_class(self._known), tuple[int, ...]()
        self._past, self._future = deque[ShapesCopy](maxlen=_UNDO), deque[ShapesCopy](maxlen=_UNDO)
        self._state: tuple[Counter[Box], tuple[int, ...]] | None = (self._known, ())
        self._present = self._shapes()

    def changes(self) -> tuple[list[Box], list[Box]]:
        """Boxes that are new and boxes that are gone since `handed_on`; none while the mouse is at work."""
        if not self._stale or self.drawing:
            return [], []
        self._forget_clicks()
        self._now = Counter(self._boxes())
        missing = np.isnan(self._reach()).sum(1)
        self.drafts = tuple(missing[missing > 0].tolist())
        new, gone = list((self._now - self._known).elements()), list((self._known - self._now).elements())
        self._stale = bool(new or gone)
        self._note()
        if new or self.drafts:
            self._paint()
        return new, gone

    def handed_on(self) -> None:
        """Take note that the last changes are in the project."""
        self._known, self._stale = self._now, False
        self.counts = _by_class(self._known)

    # ---------------------------------------------------------------------- back and forth

    def undo(self) -> bool:
        """Take the last change of boxes and drafts back; returns whether there was one."""
        return self._turn(self._past, self._future)

    def redo(self) -> bool:
        """Do what was taken back last again; returns whether there was anything."""
        return self._turn(self._future, self._past)

    def _turn(self, back: deque[ShapesCopy], forth: deque[ShapesCopy]) -> bool:
        if self.drawing or not back:
            return False
        forth.append(self._present)
        self._put(back.pop())
        self._paint()
        self._state, self._n_seen = None, len(self.layer.data)
        self._touch()
        return True

    def _note(self) -> None:
        """Remember the shapes as they are; and how they were, if that was anything else and not turned back to."""
        state = self._now, self.drafts
        if self._state not in (None, state):
            self._past.append(self._present)
            self._future.clear()
        self._state, self._present = state, self._shapes()

    def _forget_clicks(self) -> None:
        """Remove a rectangle that a mere click has left."""
        n, pixel = len(self.layer.data), float(self.layer.scale_factor) / abs(float(self.layer.scale[-1]))
        drawn, self._n_seen = n > self._n_seen and self.layer.mode not in CHOOSING, n
        if drawn and (np.ptp(np.asarray(self.layer.data[n - 1], float), axis=0) < _CLICK_PX * pixel).all():
            self._remove(n - 1)
            self._n_seen = n - 1

    def _touch(self, event: object = None) -> None:
        self._stale = True
        super()._touch(event)


def _by_class(boxes: Counter[Box]) -> NDArray[np.int64]:
    counts = np.zeros(256, np.int64)
    for box, n in boxes.items():
        counts[box.class_id] += n
    return counts
