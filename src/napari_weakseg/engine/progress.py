"""Training in plain words: how much is learned from, and whether it still helps to wait."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import ndimage

from napari_weakseg.core.annotations import Annotations
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region

#: Reports needed before anything is said about the trend.
TREND_MIN = 8
#: Reports looked back on: half a minute at two a second.
TREND_WINDOW = 60
#: Relative change between the two halves of the window that counts as an improvement.
TREND_GAIN = 0.01
_LABEL_LIMIT_PX = 2**26


def trend(values: Sequence[float], *, rising: bool) -> str:
    """Tell from the latest reports whether it still gets better.

    Parameters
    ----------
    values : sequence of float
        Held-out quality (`rising`) or loss, oldest first. NaN is skipped.

    Returns
    -------
    str
        ``"just started"``, ``"still improving"`` or ``"levelling off"``.

    Notes
    -----
    The newer half of the window must be better than the older one by 1 % and by more than one standard error
    of their difference, so that noise does not pass for progress.

    Examples
    --------
    >>> trend([0.5, 0.6], rising=True)
    'just started'
    >>> trend([1 / (i + 1) for i in range(20)], rising=False)
    'still improving'
    >>> trend([0.9] * 20, rising=True)
    'levelling off'
    """
    recent = np.array([v for v in values if math.isfinite(v)][-TREND_WINDOW:], float)
    if len(recent) < TREND_MIN:
        return "just started"
    older, newer = np.array_split(recent, 2)
    gain = (newer.mean() - older.mean()) * (1 if rising else -1)
    noise = math.sqrt(older.var(ddof=1) / len(older) + newer.var(ddof=1) / len(newer))
    better = gain > noise and gain > TREND_GAIN * abs(older.mean())
    return "still improving" if better else "levelling off"


class History:
    """The latest reports, as far back as the trend looks."""

    def __init__(self) -> None:
        self._quality: deque[float] = deque(maxlen=TREND_WINDOW)
        self._loss: deque[float] = deque(maxlen=TREND_WINDOW)

    def add(self, loss: float, quality: float | None) -> None:
        """Take in a report."""
        self._loss.append(loss)
        if quality is not None:
            self._quality.append(quality)

    @property
    def trend(self) -> str:
        """The trend of the held-out quality, or of the loss where nothing is held out."""
        if len(self._quality) >= TREND_MIN:
            return trend(self._quality, rising=True)
        return trend(self._loss, rising=False)


@dataclass(frozen=True, slots=True)
class MarkCount:
    """What there is to learn from: blobs of objects, boxes, and the images with any mark."""

    blobs: int = 0
    boxes: int = 0
    images: int = 0

    @property
    def marks(self) -> int:
        """Blobs and boxes together."""
        return self.blobs + self.boxes


def sentence(count: MarkCount, seconds: float, trend: str) -> str:
    """Say it all in one line.

    Examples
    --------
    >>> sentence(MarkCount(14, 0, 3), 38.2, "still improving")
    'Learning from 14 blobs in 3 images · 38 s · still improving'
    >>> sentence(MarkCount(1, 2, 1), 75, "levelling off")
    'Learning from 1 blob and 2 boxes in 1 image · 1 min 15 s · levelling off'
    """
    kinds = [_counted(n, word) for n, word in ((count.blobs, "blob"), (count.boxes, "box")) if n]
    source = f"{' and '.join(kinds) or 'your marks'} in {_counted(count.images, 'image')}"
    return f"Learning from {source} · {duration(seconds)} · {trend}"


def duration(seconds: float) -> str:
    """Give a time as ``38 s`` or ``1 min 15 s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _counted(number: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("x") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


class _Marked(Protocol):
    @property
    def annotations(self) -> Annotations: ...


class MarkCounter:
    """Counts the marks of a project, anew only where an image has changed.

    Parameters
    ----------
    images : callable
        Gives the images by name.
    ndim : int
        Number of spatial axes.
    """

    def __init__(self, images: Callable[[], Mapping[str, _Marked]], ndim: int) -> None:
        self._images = images
        self._ndim = ndim
        self._counts: dict[str, MarkCount] = {}

    def changed(self, image: str) -> None:
        """Forget the count of an image."""
        self._counts.pop(image, None)

    def __call__(self) -> MarkCount:
        """Count what there is now."""
        images = self._images()
        self._counts = {name: self._counts.get(name) or self._count(image) for name, image in images.items()}
        counts = self._counts.values()
        return MarkCount(sum(c.blobs for c in counts), sum(c.boxes for c in counts), sum(c.images for c in counts))

    def _count(self, image: _Marked) -> MarkCount:
        annotations = image.annotations
        regions = annotations.painted_region()
        blobs = sum(_blobs(annotations, block) for block in _joined(regions, self._ndim))
        boxes = len(annotations.boxes)
        return MarkCount(blobs, boxes, int(bool(regions or boxes or annotations.tags or annotations.frame_tags)))


def _joined(regions: Sequence[Region], ndim: int) -> list[Region]:
    """Bounding box of the regions of each frame; the regions themselves where that would be large."""
    frames: dict[tuple[int, ...], list[Region]] = {}
    for region in regions:
        for frame in itertools.product(*(range(s.start, s.stop) for s in region[:-ndim])):
            part = tuple(slice(i, i + 1) for i in frame) + region[-ndim:]
            frames.setdefault(frame, []).append(part)
    joined: list[Region] = []
    for parts in frames.values():
        axes = list(zip(*parts, strict=True))
        box = tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in axes)
        small = math.prod(s.stop - s.start for s in box) <= _LABEL_LIMIT_PX
        joined += [box] if small else parts
    return joined


def _blobs(annotations: Annotations, region: Region) -> int:
    """Objects painted in a region: ids where given, else connected blobs; the background is none."""
    labels, objects = annotations.labels[region], annotations.objects[region]
    ids = objects[(objects > 0) & (labels > BACKGROUND)]
    total = len(np.unique(ids))
    for class_id in np.unique(labels[(labels > BACKGROUND) & (objects == 0)]):
        total += ndimage.label((labels == class_id) & (objects == 0))[1]
    return total
