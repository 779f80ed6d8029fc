"""How much the early forest is to say beside the network, judged on marks that neither has learned from."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.evaluate import window_around

__all__ = ["best_share", "judging_windows", "mean_right", "tells_classes"]

_SHARES = np.linspace(0, 1, 11)
_GAIN = 0.05  # relative fall of the loss for which the forest is kept
_PIXELS = 1000  # of a window that are compared
_LEAST = 1e-4
_BEYOND_CHANCE = 0.1  # of the way from guessing to being always right


def judging_windows(
    blocks: Sequence[Block], rng: np.random.Generator, *, most: int, side: int, held_out: bool = True
) -> Iterator[tuple[Block, Region, NDArray[np.int64]]]:
    """Windows to compare two predictors in: the classes take turns, and so do the blocks where one is held out.

    Parameters
    ----------
    blocks : sequence of Block
    rng : numpy Generator
    most : int
        Windows.
    side : int
        Of the windows, in pixels.
    held_out : bool
        Whether held-out pixels are looked at, or those that are learned from.

    Yields
    ------
    block : Block
    window : tuple of slice
        Of the block, around such a pixel.
    at : int64 array
        Flat indices of such pixels in the window.
    """
    holding: dict[int, list[tuple[Block, NDArray[np.int64]]]] = {}
    for i in rng.permutation(len(blocks)):
        for class_id, places in (blocks[i].held_at if held_out else blocks[i].marked_at).items():
            holding.setdefault(class_id, []).append((blocks[i], places))
    classes = rng.permutation(sorted(holding))
    for i in range(most if holding else 0):
        class_id, turn = classes[i % len(classes)], i // len(classes)
        block, places = holding[class_id][turn % len(holding[class_id])]
        window = window_around(np.unravel_index(rng.choice(places), block.shape), block.shape, side)
        at = np.flatnonzero((block.held_out[window] == held_out) & (block.knowledge.certain[window] > 0))
        yield block, window, rng.choice(at, min(len(at), _PIXELS), replace=False)


def best_share(forest: NDArray[np.float32], network: NDArray[np.float32], labels: NDArray[np.uint8]) -> float | None:
    """Share of the forest in the sum of both at which held-out pixels are told best.

    By the mean over the classes of the negative log-probability; stacking of two predictors by held-out data goes back
    to Wolpert (1992).

    Parameters
    ----------
    forest, network : float32 array, (K, n)
        Probabilities at held-out pixels.
    labels : uint8 array, (n,)
        Their class ids.

    Returns
    -------
    float or None
        0 where the forest hardly helps. None where fewer than two classes are held out: pixels of one class cannot show
        which of the two confuses it with others.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return None
    a, b = (said[labels - 1, np.arange(len(labels))] for said in (forest, network))
    losses = []
    for share in _SHARES:
        nll = -np.log(np.maximum(share * a + (1 - share) * b, _LEAST))
        losses.append(np.mean([nll[labels == c].mean() for c in classes]))
    best = int(np.argmin(losses))
    return float(_SHARES[best]) if losses[best] < (1 - _GAIN) * losses[0] else 0.0


def tells_classes(said: NDArray[np.float32], labels: NDArray[np.uint8]) -> bool:
    """Tell whether a predictor is right more often than one that guesses, as the mean over the classes.

    One that answers the same everywhere is right about one class and wrong about all others.

    Parameters
    ----------
    said : float32 array, (K, n)
        Probabilities at held-out pixels.
    labels : uint8 array, (n,)
        Their class ids.

    Returns
    -------
    bool
        True where fewer than two classes are held out: nothing speaks against it then.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return True
    chance = 1 / len(classes)
    return mean_right(said, labels) > chance + _BEYOND_CHANCE * (1 - chance)


def mean_right(said: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Mean over the classes of the share of pixels that a predictor is right about.

    Parameters
    ----------
    said : float32 array, (K, n)
        Probabilities.
    labels : uint8 array, (n,)
        Class ids, n not 0.
    """
    right = said.argmax(0) + 1 == labels
    return float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))
