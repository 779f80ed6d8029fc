"""What the early forest says of unmarked pixels, as a claim, while there are a few marks only.

With a few marks a network fills what lies beyond them with whatever it likes, often with objects; the forest tells it
what looks like which mark. A claim has a weight and yields to everything that is known or claimed otherwise, so the
network may come to know better.
"""

from collections.abc import Sequence

import numpy as np

from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.memory import Key, key_of

__all__ = ["Guesses"]

_EVERY = 5  # steps between two blocks that are guessed about


class Guesses:
    """Keeps the guesses of all blocks up to date, a block at a time, so that no step is held up for long."""

    def __init__(self) -> None:
        self._made: dict[Key, tuple[int, float]] = {}

    def step(self, step: int, blocks: Sequence[Block], forest: PixelForest | None, weight: float) -> None:
        """Guess about a block whose guess is older than the forest; drop all guesses where these count nothing.

        Parameters
        ----------
        step : int
        blocks : sequence of Block
        forest : PixelForest or None
            That has learned something.
        weight : float
            Of a guess that is certain, 0 to 1.
        """
        if forest is None or not weight:
            for block in blocks:
                block.guess = block.guess_weight = None
            self._made.clear()
        elif step % _EVERY == 0:
            now = forest.times_learned, weight
            for block in blocks:
                if block.marked_at and not block.boxes and self._made.get(key_of(block.place)) != now:
                    _guess(block, forest, weight)
                    self._made[key_of(block.place)] = now
                    return


def _guess(block: Block, forest: PixelForest, weight: float) -> None:
    """Claim the likeliest class of each pixel that is not certain, by how much likelier than chance it is."""
    said = forest.predict(block.pixels)
    by_chance = 1 / len(said)
    surer = np.clip((said.max(0) - by_chance) / (1 - by_chance), 0, 1)
    block.guess = np.where(block.knowledge.certain > 0, 0, said.argmax(0) + 1).astype(np.uint8)
    block.guess_weight = (255 * weight * surer).astype(np.uint8)
