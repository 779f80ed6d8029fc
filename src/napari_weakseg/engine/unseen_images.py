"""How far the early forest is right about images that it has not learned from, while few images are marked.

A network that has seen three images learns them by heart: it gets worse where the forest, if the looks of pixels tell
the classes apart from image to image, does not. Each marked image is therefore left out once, in turn.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_weakseg.engine.blocks import Block, by_class
from napari_weakseg.engine.forest import PixelForest

__all__ = ["UnseenImages"]

_FEWEST, _MOST = 2, 12  # marked images between which it is looked at
_TURNS = 4  # images that are left out in turn, at most
_PIXELS = 500  # of a class in an image that it is judged on
_RIGHT = (0.9, 1.0)  # share of the pixels from which the forest is kept, and from which it is kept as far as it may be
_KEPT = 0.8  # share of the prediction that it keeps then, with so few images:
_FEW = 4  # the share falls as more are marked


class UnseenImages:
    """Judges the forest one image at a time, so that no step is held up for long.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._images: list[str] = []
        self._found: list[dict[int, float]] = []  # share of right pixels by class, of each image that had its turn
        self._before = 0.0  # the share until all have had it

    def look(self, blocks: Sequence[Block], make: Callable[[], PixelForest]) -> None:
        """Leave the next image out, learn from the others, and see; start again where other images are marked.

        `make` gives a forest that has learned nothing.
        """
        marked = [block for block in blocks if block.marked_at]
        images = sorted({block.place.image for block in marked})
        if images != self._images:
            self._before, self._images, self._found = self.share, images, []
        if not _FEWEST <= len(images) <= _MOST or self._complete:
            return
        turn = len(self._found)
        left_out = np.random.default_rng([self._seed, len(images)]).permutation(images)[turn]
        rng = np.random.default_rng([self._seed, turn])
        forest = make()
        forest.fit([block for block in marked if block.place.image != left_out], rng)
        right: dict[int, list[float]] = {}
        for block in marked if forest.ready else ():
            if block.place.image != left_out:
                continue
            for class_id, at in by_class(block.knowledge.certain).items():
                at = rng.choice(at, min(len(at), _PIXELS), replace=False)
                said = forest.predict_at(block.pixels, at).argmax(0) + 1
                right.setdefault(class_id, []).append(float((said == class_id).mean()))
        self._found.append({class_id: float(np.mean(shares)) for class_id, shares in right.items()})

    @property
    def share(self) -> float:
        """Share of the prediction that the forest should keep at least; until every image had its turn, as before."""
        if not self._complete:
            return self._before if _FEWEST <= len(self._images) <= _MOST else 0.0
        classes = {class_id for found in self._found for class_id in found}
        if len(classes) < 2:
            return 0.0
        right = np.mean([np.mean([found[c] for found in self._found if c in found]) for c in classes])
        low, high = _RIGHT
        return _KEPT * float(np.clip((right - low) / (high - low), 0, 1)) * min(1.0, _FEW / len(self._images))

    @property
    def _complete(self) -> bool:
        return len(self._found) == min(_TURNS, len(self._images)) > 0

    def save(self) -> dict[str, Any]:
        """Give what was found, as JSON."""
        found = [[[c, share] for c, share in each.items()] for each in self._found]
        return {"images": self._images, "found": found, "before": self._before}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take back what `save` gave."""
        self._images, self._before = list(saved["images"]), saved.get("before", 0.0)
        self._found = [{int(c): float(share) for c, share in each} for each in saved["found"]]
