"""What the early forest says of unmarked pixels, as a claim, while there are a few marks only.

With a few marks a network fills what lies beyond them with whatever it likes, often with objects; the forest tells it
what looks like which mark. A claim has a weight and yields to everything that is known or claimed otherwise, so the
network may come to know better.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.memory import Key, key_of

__all__ = ["Guesses"]

_EVERY = 5  # steps between two pieces that are guessed about
_PIXELS = 250_000  # of a piece, a strip of a block, so that no step is held up for long
_MARGIN_PX = 16  # round a strip that the filters see


class Guesses:
    """Keeps the guesses of all blocks up to date, a strip of a block at a time."""

    def __init__(self) -> None:
        self._made: dict[tuple[Key, int], tuple[int, float]] = {}  # strip → what it was guessed with
        self._turn = 0

    def step(self, step: int, blocks: Sequence[Block], forest: PixelForest | None, weight: float) -> None:
        """Guess about a strip whose guess is older than the forest, in turn; drop all guesses where they count nothing.

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
            return
        if step % _EVERY:
            return
        now = forest.times_learned, weight
        strips = [(b, strip) for b in blocks if b.marked_at and not b.boxes for strip in _strips(b.shape)]
        old = [
            i
            for i, (block, strip) in enumerate(strips)
            if block.guess is None or self._made.get((key_of(block.place), strip.start)) != now
        ]
        if old:
            i = next((i for i in old if i >= self._turn), old[0])
            block, strip = strips[i]
            _guess(block, strip, forest, weight)
            self._made[key_of(block.place), strip.start] = now
            self._turn = i + 1


def _strips(shape: Sequence[int]) -> Iterator[slice]:
    """Cut the first axis into even parts."""
    n = min(shape[0], -(-prod(shape) // _PIXELS))
    return (slice(shape[0] * i // n, shape[0] * (i + 1) // n) for i in range(n))


def _guess(block: Block, strip: slice, forest: PixelForest, weight: float) -> None:
    """Claim the likeliest class of each pixel that is not certain, by how much likelier than chance it is."""
    if block.guess is None or block.guess_weight is None:
        block.guess, block.guess_weight = np.zeros(block.shape, np.uint8), np.zeros(block.shape, np.uint8)
    first = max(0, strip.start - _MARGIN_PX)
    said = forest.predict(block.pixels[:, first : strip.stop + _MARGIN_PX])
    said = said[:, strip.start - first :][:, : strip.stop - strip.start]
    by_chance = 1 / len(said)
    surer = np.clip((said.max(0) - by_chance) / (1 - by_chance), 0, 1)
    block.guess[strip] = np.where(block.knowledge.certain[strip] > 0, 0, said.argmax(0) + 1)
    block.guess_weight[strip] = 255 * weight * surer
