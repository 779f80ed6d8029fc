"""How far the early forest is right about images that it has not learned from, while few images are marked.

A network that has seen three images learns them by heart: it gets worse where the forest, if the looks of pixels tell
the classes apart from image to image, does not. Each marked image (frame of a stack) is therefore left out once, in
turn. Where a single one is marked, parts of its marks are. With a few marks, and areas not told, the forest stays
however right it is, for the network fills what lies beyond them with whatever it likes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.blocks import Block, Place, areas_told, by_class
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.memory import key_of

__all__ = ["UnseenImages"]

Unit: TypeAlias = tuple[str, tuple[int, ...]]  # image and frame
Part: TypeAlias = tuple[Unit, int, int]  # a quarter of its marks or -1 for all, and how many it has: 1, 2, 4, 8 …

_MOST = 12  # marked images up to which it is kept; with more it is looked at only to be compared with the network
_MANY = 8  # images of which a network does not know all by heart
_TURNS = 4  # images or parts that are left out in turn, at most
_RIGHT = (0.9, 1.0)  # share of the pixels from which the forest is kept, and from which it is kept as far as it may be
_KEPT = 0.8  # share of the prediction that it keeps then, with so few images:
_FEW = 4  # the share falls with more
_KEPT_TAUGHT = 0.5  # in place of `_KEPT` where there are so few marks that the network learns from it
_FEW_ALONE, _FEW_MARKS = 8, 16  # marks with which it keeps it however right it is: in a single image, in several ones


class UnseenImages:
    """Judges the forest one image or part at a time, so that no step is held up for long.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._parts: list[Part] = []
        self._found: list[dict[int, float]] = []  # share of right pixels by class, of each part that had its turn
        self._before = 0.0  # the share until all have had it

    def look(self, blocks: Sequence[Block], forest: PixelForest, *, counts: bool = True) -> None:
        """Leave the next part out and see; where others are marked begin anew, with a forest that knows them all.

        Parameters
        ----------
        blocks : sequence of Block
        forest : PixelForest
        counts : bool
            Whether the forest still has a share; if not, many images are not looked at.
        """
        marked = [block for block in blocks if block.marked_at]
        parts = _parts(marked, counts=counts)
        if parts != self._parts:
            self._before, self._parts, self._found = self.share, parts, []
        if not parts or self._complete:
            return
        turns = np.random.default_rng([self._seed, len(parts)]).permutation(len(parts))
        unit, quarter, _ = parts[turns[len(self._found)]]
        found = {key_of(block.place): _quarter(block, quarter) for block in marked if quarter >= 0}
        if not self._found and not forest.knows(blocks):
            forest.fit(blocks, np.random.default_rng(self._seed))

        def left_out(place: Place, at: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.isin(at, found.get(key_of(place), ())) if found else np.full(len(at), _unit(place) == unit)

        self._found.append(forest.right_without(left_out))

    @property
    def share(self) -> float:
        """Share of the prediction that the forest should keep at least; until every part had its turn, as before."""
        if not self._complete:
            return self._before if self._parts else 0.0
        return max(self._as_far_as_right(), _KEPT_TAUGHT * self.few)

    @property
    def few(self) -> float:
        """How few marks there are: 1 with a few in up to four images, less with more; 0 where areas are told."""
        if not self._parts:
            return 0.0
        _, quarter, marks = self._parts[0]
        if quarter >= 0:
            return _falling(marks, _FEW_ALONE)
        return _falling(marks, _FEW_MARKS) * self._few_images

    @property
    def right_from_many(self) -> float | None:
        """Mean over the classes of the share of right pixels in images left out.

        None until every part had its turn, with fewer than two classes, and with up to eight images: those a network
        knows by heart, and what it is right about in them is not to be compared.
        """
        return self._right if len(self._parts) > _MANY else None

    @property
    def _right(self) -> float | None:
        classes = {class_id for found in self._found for class_id in found}
        if not self._complete or len(classes) < 2:
            return None
        return float(np.mean([np.mean([found[c] for found in self._found if c in found]) for c in classes]))

    @property
    def _few_images(self) -> float:
        return _falling(len(self._parts), _FEW) if len(self._parts) <= _MOST else 0.0

    def _as_far_as_right(self) -> float:
        if self._right is None:
            return 0.0
        low, high = _RIGHT
        kept = _KEPT + (_KEPT_TAUGHT - _KEPT) * self.few
        return kept * float(np.clip((self._right - low) / (high - low), 0, 1)) * self._few_images

    @property
    def _complete(self) -> bool:
        return len(self._found) == min(_TURNS, len(self._parts)) > 0

    def save(self) -> dict[str, Any]:
        """Give what was found, as JSON."""
        found = [[[c, share] for c, share in each.items()] for each in self._found]
        return {"parts": self._parts, "found": found, "before": self._before}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take back what `save` gave; what was not looked at to the end begins anew."""
        self._parts = [((image, tuple(frame)), *part) for (image, frame), *part in saved.get("parts", [])]
        self._found = [{int(c): float(share) for c, share in each} for each in saved["found"]] if self._parts else []
        self._before = saved.get("before", 0.0)
        if not self._complete:
            self._parts, self._found = [], []


def _unit(place: Place) -> Unit:
    return place.image, place.frame


def _parts(marked: Sequence[Block], *, counts: bool) -> list[Part]:
    """List what is left out in turn: images, or quarters of a single one's marks; of many images none in vain."""
    units = sorted({_unit(block.place) for block in marked})
    judged = len({c for block in marked for c in block.held_at}) > 1  # by marks that are held out
    if not units or (len(units) > _MOST and (judged or not counts)):
        return []
    told = any(block.exact for block in marked) or areas_told(marked)
    marks = 0 if told else sum(len(block.knowledge.seed_class) - 1 for block in marked)
    rounded = 1 << marks.bit_length() >> 1  # it begins anew with twice as many
    if len(units) > 1:
        return [(unit, -1, rounded) for unit in units]
    return [(units[0], quarter, rounded) for quarter in range(_TURNS)]


def _falling(number: int, few: int) -> float:
    """Share of what is kept, by a number of images or marks that may be few; 0 where there are none."""
    return min(1.0, few / number) if number else 0.0


def _quarter(block: Block, quarter: int) -> NDArray[np.int64]:
    """Flat indices of the pixels in a quarter of the marks of each class: whole marks, as far as there are four."""
    certain, found = block.knowledge.certain, []
    for class_id, at in by_class(np.where(block.knowledge.painted, certain, 0)).items():
        marks, _ = ndimage.label(certain == class_id)
        found.append(np.array_split(at[np.lexsort((at, marks.ravel()[at]))], _TURNS)[quarter])
    return np.concatenate(found) if found else np.zeros(0, np.int64)
