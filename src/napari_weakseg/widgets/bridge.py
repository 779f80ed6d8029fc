"""From the brush to the project: finds what changed in a label layer and hands it on as blocks. No Qt."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region
from napari_weakseg.widgets.overlay import Placement, bounding_box

if TYPE_CHECKING:
    from napari.layers import Labels

#: Write a block of labels (0 = not annotated) at its start along the label axes.
Write = Callable[[NDArray[np.uint8], tuple[int, ...]], None]

_SWEEP_PIXELS = 4_000_000  # compared in one go: a few milliseconds


class LayerBridge:
    """Keeps a project's annotation equal to a napari Labels layer.

    A stroke, a fill and `data_setitem` emit ``paint``; undo, redo and `refresh` only ``set_data``. Both mean
    "something may have changed": the plane on screen is compared with its last copy, then the other planes,
    piece by piece, because an undo may belong to a plane that is no longer shown.

    Parameters
    ----------
    layer : Labels
    place : Placement
        How the layer's data maps to the label axes.
    write : callable
        Stores a block; may raise, and the block is then tried again at the next :meth:`flush`.
    known : uint8 (*label_shape)
        What the project holds at this moment; kept as the copy to compare with.
    painted : sequence of Region
        Where that is not 0, so that a large image need not be read for it.
    n_classes : int
        Ids above it are held back; change the attribute and call :meth:`touch` when the class table changes.
    on_touched : callable
        Called when something may have changed; a window starts its timer here and calls :meth:`flush`.

    Attributes
    ----------
    counts : int64 (256,)
        Painted pixels of each class id, as handed on.
    stray : set of int
        Class ids found in the layer that the project does not have; their pixels wait until the class exists.
    """

    def __init__(
        self,
        layer: "Labels",
        place: Placement,
        write: Write,
        *,
        known: NDArray[np.uint8],
        painted: Sequence[Region],
        n_classes: int,
        on_touched: Callable[[], None],
    ) -> None:
        self.layer = layer
        self.n_classes = n_classes
        self.stray: set[int] = set()
        self._found: set[int] = set()  # the same, by the comparison that is under way
        self._place = place
        self._write = write
        self._known = known
        self.counts = np.zeros(256, np.int64)
        for region in painted:
            self.counts += _count(known[region])
        self._on_touched = on_touched
        self._sweep: Iterator[Region] | None = None
        self._touched = False
        layer.events.paint.connect(self.touch)
        layer.events.set_data.connect(self.touch)

    @property
    def pending(self) -> bool:
        """Whether planes that are not on screen are still to be compared."""
        return self._touched or self._sweep is not None

    @property
    def known(self) -> NDArray[np.uint8]:
        """What has been handed on, uint8 (*label_shape)."""
        return self._known

    def touch(self, event: object = None) -> None:
        """Note that something may have changed."""
        self._touched = True
        self._on_touched()

    def flush(self, shown: Region | None = None) -> bool:
        """Compare the part on screen, or go on with the rest; call again while `pending`.

        Parameters
        ----------
        shown : Region, optional
            Part of the label axes on screen; everything at once where left out.

        Returns
        -------
        bool
            Whether anything was written.
        """
        if shown is None:
            self._touched, self._sweep, self._found = False, None, set()
            changed = [self._compare(region) for region in self._pieces()]  # all of them, not up to the first
            self.stray = self._found
            return any(changed)
        if self._touched:
            self._touched = False
            self._sweep, self._found = self._pieces(), set()
            return self._compare(shown)
        if self._sweep is not None:
            region = next(self._sweep, None)
            if region is None:
                self._sweep, self.stray = None, self._found
            else:
                return self._compare(region)
        return False

    def close(self) -> None:
        """Hand on what is left and let go of the layer."""
        try:
            self.flush()
        finally:
            self.layer.events.paint.disconnect(self.touch)
            self.layer.events.set_data.disconnect(self.touch)

    def _pieces(self) -> Iterator[Region]:
        """Cut the whole array into slabs along its first axis (or rows of a plane) of bounded size."""
        shape = self._known.shape
        size = max(1, math.prod(shape[1:]))
        step = max(1, _SWEEP_PIXELS // size)
        rest = tuple(slice(0, n) for n in shape[1:])
        for start in range(0, shape[0], step):
            yield (slice(start, min(start + step, shape[0])), *rest)

    def _compare(self, region: Region) -> bool:
        now = _block(self._place.labels(np.asarray(self.layer.data)), region)
        before = self._known[region]
        changed = now != before
        if not changed.any():
            return False
        strays = changed & (now > self.n_classes)
        if strays.any():
            self._found |= {int(i) for i in np.unique(now[strays])}
            changed &= ~strays
        box = bounding_box(changed)
        if box is None:
            return False
        block = np.where(changed[box], now[box], before[box])
        start = tuple(r.start + b.start for r, b in zip(region, box, strict=True))
        self._write(block, start)
        self.counts += _count(block) - _count(before[box])
        before[box] = block
        return True


def _block(data: NDArray[Any], region: Sequence[slice]) -> NDArray[Any]:
    return data[tuple(region)]


def _count(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.bincount(labels.ravel(), minlength=256)
    counts[0] = 0
    return counts
