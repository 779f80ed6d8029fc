"""Which part of its box an object fills: learned from exact objects, claimed in boxes that no blob of theirs lies in.

A ring fills the rim of its box, a cell the middle. The mean shape of a class, stretched to each box, tells where its
object probably is and where not. Our construction; Reiß et al. (CVPR 2021) take from boxes only that every line across
meets the object, which says little while the network knows nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region, intersection, region_of, shape_of, shifted, start_of, stop_of, whole
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.growth_step import Floats
from napari_weakseg.engine.targets import boxes_of_seeds

__all__ = ["BoxShapes"]

_SIDE = 12  # places of a mean shape along each axis
_SMALLEST_PX = 4  # side of an object that tells a shape
_UNSEEN = 3.0  # how many exact objects the guess of an ellipse counts for
_INSIDE, _OUTSIDE = 0.9, 0.1  # of the ellipse
_RADIUS = 0.8  # of the ellipse, in half sides of the box
_SURE = 0.65  # probability from which something is claimed
_RIGHT = 0.65  # share of what would be claimed in the boxes of exact objects, below which nothing is of their class
_JUDGED = 4  # exact blocks that this is found out on


class BoxShapes:
    """Mean shapes of the objects of each class in their boxes.

    Parameters
    ----------
    ndim : int
    """

    def __init__(self, ndim: int) -> None:
        self._ndim = ndim
        self._shapes: dict[int, Floats] = {}

    @staticmethod
    def concerns(block: Block) -> bool:
        """Whether a block has boxes to claim by."""
        return bool(block.boxes) and not block.exact

    def learn(self, blocks: Iterable[Block]) -> None:
        """Take the shapes from the exact objects of some blocks that lie whole in them and are not held out.

        Of a class whose exact objects show that claims by its shape, or by the guess of an ellipse, are often wrong,
        boxes claim nothing: a net of membranes fills no part of its box.
        """
        blocks = [block for block in blocks if block.exact]
        guess = _ellipse((_SIDE,) * self._ndim)
        sums: dict[int, Floats] = {}
        counts: dict[int, int] = {}
        for block in blocks:
            seeds, seed_class = block.knowledge.seeds, block.knowledge.seed_class
            held_out = set(np.unique(seeds[block.held_out]))
            for seed, place in enumerate(ndimage.find_objects(seeds), 1):
                if place is None or seed in held_out or not _inside(place, seeds.shape):
                    continue
                class_id = int(seed_class[seed])
                shape = _resized((seeds[place] == seed).astype(np.float32), (_SIDE,) * self._ndim)
                sums[class_id] = sums.get(class_id, _UNSEEN * guess) + shape
                counts[class_id] = counts.get(class_id, 0) + 1
        self._shapes = {c: (total / (_UNSEEN + counts[c])).astype(np.float32) for c, total in sums.items()}
        for class_id in self._often_wrong(blocks[:_JUDGED]):
            self._shapes[class_id] = np.full_like(guess, 0.5)

    def _often_wrong(self, blocks: Iterable[Block]) -> list[int]:
        """Class ids of which too little of what their boxes would claim is right on exact blocks."""
        right, asked = Counter[int](), Counter[int]()
        for block in blocks:
            seeds, truth = block.knowledge.seeds, np.where(block.held_out, 0, block.knowledge.certain)
            places = [(seed, place) for seed, place in enumerate(ndimage.find_objects(seeds), 1) if place is not None]
            boxes = [(int(block.knowledge.seed_class[i]), start_of(place), stop_of(place)) for i, place in places]
            claimed, _ = _surest(self.probabilities(block.shape, boxes))
            for (class_id, *_), (_, place) in zip(boxes, places, strict=True):
                about = np.isin(claimed[place], (class_id, BACKGROUND)) & (truth[place] > 0)
                asked[class_id] += int(about.sum())
                right[class_id] += int((claimed[place] == truth[place])[about].sum())
        return [class_id for class_id, n in asked.items() if right[class_id] < _RIGHT * n]

    def probabilities(self, shape: Sequence[int], boxes: Sequence[tuple[int, Sequence[int], Sequence[int]]]) -> Floats:
        """Tell what is where by the boxes alone.

        Parameters
        ----------
        shape : sequence of int
            (*S)
        boxes : sequence of (class id, start, stop)
            Half-open; may reach beyond the block.

        Returns
        -------
        float32 array, (K, *S)
            K is the largest class id; the background is what no box holds. In a box within a box of another class, the
            smaller one counts first.
        """
        result = np.zeros((max((c for c, *_ in boxes), default=BACKGROUND), *shape), np.float32)
        result[BACKGROUND - 1] = 1
        for class_id, start, stop in sorted(boxes, key=lambda box: -float(np.prod(np.subtract(box[2], box[1])))):
            box = region_of(start, stop)
            at = intersection(box, whole(shape))
            if at is None:
                continue
            mean = self._shapes.get(class_id)
            filled = _ellipse(shape_of(box)) if mean is None else _resized(mean, shape_of(box))
            mine = filled[shifted(at, start)]
            result[(slice(None), *at)] *= 1 - mine
            result[class_id - 1][at] += mine
        return result

    def claim(self, block: Block) -> None:
        """Claim what the boxes of a block show; nothing in those with a blob, which grows by itself.

        What has grown stays claimed, and so does all outside the boxes where something grows.
        """
        boxes = [] if block.exact else _without_blob(block)
        if not boxes:
            return
        said = self.probabilities(block.shape, boxes)
        (claimed, best), boxed = _surest(said), said[BACKGROUND - 1] < 1  # no shape is 0 anywhere in its box
        held = boxed & (claimed > 0) & ~block.knowledge.painted
        claim, weight = block.claim, block.claim_weight
        if block.growth is None:
            claim, weight = np.zeros_like(claim), np.zeros_like(weight)
        held &= claim <= BACKGROUND
        block.claim = np.where(held, claimed, claim)
        block.claim_weight = np.where(held, 255 * (2 * best - 1), weight).astype(np.uint8)
        block.refresh()


def _surest(said: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Give the likeliest class id of each pixel, 0 where none is likely enough to be claimed, and its probability."""
    best = said.max(0)
    return np.where(best >= _SURE, said.argmax(0) + 1, 0).astype(np.uint8), best


def _without_blob(block: Block) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """Boxes in which no blob of their class lies whole."""
    seed_class = block.knowledge.seed_class
    held = boxes_of_seeds(block.knowledge.seeds, seed_class, block.boxes) if block.boxes else {}
    taken = {(int(seed_class[seed]), *corners) for seed, corners in held.items()}
    return [box for box in block.boxes if box not in taken]


def _inside(place: Region, shape: Sequence[int]) -> bool:
    """Whether an object lies away from the border, and is large enough."""
    return all(
        s.start > 0 and s.stop < n and s.stop - s.start >= _SMALLEST_PX for s, n in zip(place, shape, strict=True)
    )


def _ellipse(shape: Sequence[int]) -> Floats:
    """Probability of the inside of an ellipse in the middle."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = sum((((2 * x + 1) / n - 1) / _RADIUS) ** 2 for x, n in zip(axes, shape, strict=True))
    return np.where(away <= 1, _INSIDE, _OUTSIDE).astype(np.float32)


def _resized(values: Floats, shape: Sequence[int]) -> Floats:
    """Interpolate linearly between the middles of pixels."""
    resized: Floats = resize(values, shape, order=1, mode="edge", anti_aliasing=False)
    return resized
