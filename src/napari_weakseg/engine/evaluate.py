"""Held-out marks: which ones judge the network, and how well it does on them."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region
from napari_weakseg.engine.blocks import Block

__all__ = ["hold_out", "quality"]

_SHARE = 8  # one mark in this many is held out
_FEWEST = 16  # with fewer marks of a class none is spared
_EXACT_SHARE = 4  # the last part of an exact block in this many is held out ...
_FEWEST_EXACT = 3  # ... of one exact block in this many


def hold_out(block: Block, index: int, marks_of_class: Sequence[int]) -> None:
    """Set marks of a block aside.

    Of rough blocks, about one blob in eight of each class that has at least 16 in the project, and the painted
    background of every eighth block where there are 16 with any. Of every third exact block, the last quarter along X.
    Which ones depends on the place of the block and the blob alone, so that a mark
    stays held out whatever is painted elsewhere.

    Parameters
    ----------
    block : Block
    index : int
        Of the block; must depend on its place alone.
    marks_of_class : sequence of int
        Blobs of each class id in the project, for the background the blocks with paint; entry 0 is not used.
    """
    block.held_out[:] = False
    if block.exact:
        if index % _FEWEST_EXACT == _FEWEST_EXACT - 1:
            width = block.shape[-1]
            block.held_out[..., width - width // _EXACT_SHARE :] = block.knowledge.complete[
                ..., width - width // _EXACT_SHARE :
            ]
    else:
        if len(block.knowledge.seed_class) > 1:
            counts = np.asarray(marks_of_class)[block.knowledge.seed_class]
            spared = (_drawn(block.knowledge.seeds, index) % _SHARE == 0) & (counts >= _FEWEST)
            spared[0] = False
            block.held_out[:] = spared[block.knowledge.seeds]
        if index % _SHARE == _SHARE - 1 and marks_of_class[BACKGROUND] >= _FEWEST:
            block.held_out |= block.knowledge.painted & (block.knowledge.certain == BACKGROUND)
    block.refresh()


def _drawn(seeds: NDArray[np.int32], index: int) -> NDArray[np.uint64]:
    """Random number of each blob, by the place of its first pixel; entry 0 is not used."""
    where = np.flatnonzero(seeds)
    first = np.zeros(int(seeds.max()) + 1, np.uint64)
    first[seeds.ravel()[where[::-1]]] = where[::-1]  # the last assignment stays: the first pixel
    mixed = (first + np.uint64(977 * (index + 1))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(40)


def quality(
    blocks: Sequence[Block],
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    n_classes: int,
    *,
    window_px: int = 256,
) -> tuple[float | None, int]:
    """Mean over classes of the Dice on held-out pixels.

    Parameters
    ----------
    blocks : sequence of Block
        Those with held-out pixels are predicted.
    predict : callable
        float32 (C, *S) → probabilities (K, *S).
    n_classes : int
    window_px : int
        Side of the window that is looked at in each block, around the middle held-out pixel, so that a look costs the
        same whatever the size of the images.

    Returns
    -------
    score : float or None
        None where nothing is held out.
    n : int
        Held-out pixels.

    Notes
    -----
    On rough blocks only blobs and strokes are held out, not the border of objects, so the score says how often marks
    are met, not how good borders are; with exact images in the project it says both.
    """
    hits, predicted, marked = (np.zeros(n_classes + 1, np.int64) for _ in range(3))
    for block in blocks:
        if not block.held_out.any():
            continue
        where = np.argwhere(block.held_out)
        at = window_around(where[len(where) // 2], block.shape, window_px)
        held_out = block.held_out[at]
        truth = block.knowledge.certain[at][held_out]
        guess = predict(block.pixels[(slice(None), *at)]).argmax(0)[held_out] + 1
        guess, truth = guess[truth > 0], truth[truth > 0]
        hits += np.bincount(truth[guess == truth], minlength=n_classes + 1)
        predicted += np.bincount(guess, minlength=n_classes + 1)
        marked += np.bincount(truth, minlength=n_classes + 1)
    seen = marked > 0
    if not seen.any():
        return None, 0
    dice = 2 * hits[seen] / (predicted[seen] + marked[seen])
    return float(dice.mean()), int(marked.sum())


def window_around(at: Iterable[int], shape: Sequence[int], side: int) -> Region:
    """Window of an image, with a pixel in its middle as far as the borders allow."""
    starts = [min(max(0, int(m) - side // 2), max(0, size - side)) for m, size in zip(at, shape, strict=True)]
    return tuple(slice(a, min(a + side, size)) for a, size in zip(starts, shape, strict=True))
