"""Held-out marks: which ones judge the network, and how well it does on them."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region
from napari_weakseg.engine.blocks import Block

__all__ = ["hold_out", "hold_out_new", "quality"]

_SHARE = 8  # one mark in this many is held out
_SPARING = 4  # background, of which there is little, is held out in one block in so many
_FEWEST = 16  # with fewer marks of a class none is spared
_EXACT_SHARE = 4  # the last part of an exact block in this many is held out ...
_FEWEST_EXACT = 3  # ... of one exact block in this many
_PART_PX, _FEWEST_PARTS = 16, 4  # painted background is held out by parts of this side, where it has so many of them


def hold_out(block: Block, index: int, marks_of_class: Sequence[int]) -> None:
    """Set marks of a block aside.

    Of rough blocks, about one blob in eight of each class that has at least 16 in the project, and where there is one,
    in every fourth block an eighth of the painted background: more of it costs quality, for there is little. Of every
    third exact block, the last quarter along X. Which ones depends on the place of the block and the mark alone, so
    that a blob stays held out whatever is painted elsewhere.

    Parameters
    ----------
    block : Block
    index : int
        Of the block; must depend on its place alone.
    marks_of_class : sequence of int
        Blobs of each class id in the project; entry 0 is not used.
    """
    spared = _spared(block, index, marks_of_class)
    if not np.array_equal(spared, block.held_out):
        block.held_out[:] = spared
        block.refresh()


def hold_out_new(block: Block, index: int, marks_of_class: Sequence[int], painted_before: NDArray[np.bool_]) -> None:
    """Set marks aside, as `hold_out`, of those that were painted since: nothing has been learned from them yet.

    Parameters
    ----------
    block : Block
    index, marks_of_class
        As for `hold_out`.
    painted_before : bool array, (*S)
    """
    if block.exact:
        return
    seeds = block.knowledge.seeds
    old = np.zeros(len(block.knowledge.seed_class), bool)
    old[seeds[painted_before]] = True
    old[0] = False
    new = _spared(block, index, marks_of_class) & ~block.held_out & ~painted_before & ~old[seeds]
    if new.any():
        block.held_out |= new
        block.refresh()


def _spared(block: Block, index: int, marks_of_class: Sequence[int]) -> NDArray[np.bool_]:
    """Find the marks to be set aside if all were new, (*S)."""
    known = block.knowledge
    spared = np.zeros(block.shape, bool)
    if block.exact:
        if index % _FEWEST_EXACT == _FEWEST_EXACT - 1:
            last = slice(block.shape[-1] - block.shape[-1] // _EXACT_SHARE, None)
            spared[..., last] = known.complete[..., last]
        return spared
    if len(known.seed_class) > 1:
        counts = np.asarray(marks_of_class)[known.seed_class]
        drawn = (_drawn(known.seeds, index) % _SHARE == 0) & (counts >= _FEWEST)
        drawn[0] = False
        spared = drawn[known.seeds]
    if spared.any() and index % _SPARING == 0:
        spared |= _part_of(known.painted & (known.certain == BACKGROUND), index)
    return spared


def _part_of(painted: NDArray[np.bool_], index: int) -> NDArray[np.bool_]:
    """About an eighth of what is painted, in square parts, one at least; nothing of what lies in a few parts only."""
    number = np.zeros((1,) * painted.ndim, np.int32)
    for axis, size in enumerate(painted.shape):
        along = np.arange(size, dtype=np.int32) // _PART_PX
        number = number * (along[-1] + 1) + along.reshape([-1 if i == axis else 1 for i in range(painted.ndim)])
    parts = np.unique(number[painted])
    spared = parts[np.argsort(_mixed(parts, index))][: max(1, len(parts) // _SHARE)]
    return painted & np.isin(number, spared) if len(parts) >= _FEWEST_PARTS else np.zeros_like(painted)


def _drawn(seeds: NDArray[np.int32], index: int) -> NDArray[np.uint64]:
    """Random number of each blob, by the place of its first pixel; entry 0 is not used."""
    where = np.flatnonzero(seeds)
    first = np.zeros(int(seeds.max()) + 1, np.uint64)
    first[seeds.ravel()[where[::-1]]] = where[::-1]  # the last assignment stays: the first pixel
    return _mixed(first, index)


def _mixed(places: NDArray[np.integer], index: int) -> NDArray[np.uint64]:
    """Random number of each place in a block."""
    mixed = (places.astype(np.uint64) + np.uint64(977 * (index + 1))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(40)


def quality(
    blocks: Sequence[Block],
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    n_classes: int,
    *,
    window_px: int = 256,
) -> tuple[float | None, int]:
    """Mean over classes of the Dice on held-out pixels, two classes at least.

    Parameters
    ----------
    blocks : sequence of Block
        Those with held-out pixels are predicted.
    predict : callable
        float32 (C, *S) → probabilities (K, *S).
    n_classes : int
    window_px : int
        Side of the windows that are looked at, each around the middle held-out pixel of a class, so that a look costs
        the same whatever the size of the images.

    Returns
    -------
    score : float or None
        None where fewer than two classes are held out: a network that says the other everywhere would be right.
    n : int
        Held-out pixels.

    Notes
    -----
    On rough blocks only blobs and strokes are held out, not the border of objects, so the score says how often marks
    are met, not how good borders are; with exact images in the project it says both.
    """
    looks = _looks(blocks, window_px)
    truths = [np.where(block.held_out[at], block.knowledge.certain[at], 0) for block, at in looks]
    if len(np.unique([c for truth in truths for c in np.unique(truth[truth > 0])])) < 2:
        return None, 0
    hits, predicted, marked = (np.zeros(n_classes + 1, np.int64) for _ in range(3))
    for (block, at), truth in zip(looks, truths, strict=True):
        guess = predict(block.pixels[(slice(None), *at)]).argmax(0)[truth > 0] + 1
        truth = truth[truth > 0]
        hits += np.bincount(truth[guess == truth], minlength=n_classes + 1)
        predicted += np.bincount(guess, minlength=n_classes + 1)
        marked += np.bincount(truth, minlength=n_classes + 1)
    seen = marked > 0
    dice = 2 * hits[seen] / (predicted[seen] + marked[seen])
    return float(dice.mean()), int(marked.sum())


def _looks(blocks: Sequence[Block], window_px: int) -> list[tuple[Block, Region]]:
    """Windows to judge in, one in each block or one for each class in a single block: the classes take turns."""
    judges = [block for block in blocks if block.held_at]
    looks: dict[tuple[int, ...], tuple[Block, Region]] = {}
    for i in range(max(len(judges), 2) if judges else 0):
        block = judges[i % len(judges)]
        held = list(block.held_at.values())[i % len(block.held_at)]
        at = window_around(np.unravel_index(held[len(held) // 2], block.shape), block.shape, window_px)
        looks[i % len(judges), *(s.start for s in at)] = block, at
    return list(looks.values())


def window_around(at: Iterable[int], shape: Sequence[int], side: int) -> Region:
    """Window of an image, with a pixel in its middle as far as the borders allow."""
    starts = [min(max(0, int(m) - side // 2), max(0, size - side)) for m, size in zip(at, shape, strict=True)]
    return tuple(slice(a, min(a + side, size)) for a, size in zip(starts, shape, strict=True))
