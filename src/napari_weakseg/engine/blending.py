"""How much the early forest is to say beside the network, judged on marks that neither has learned from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_share", "held_out_pixel", "held_out_pixels"]

_SHARES = np.linspace(0, 1, 11)
_GAIN = 0.05  # relative fall of the loss for which the forest is kept
_PIXELS = 1000  # of a window that are compared
_LEAST = 1e-4


def held_out_pixels(
    held_out: NDArray[np.bool_], certain: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw flat indices of held-out pixels whose class is certain."""
    at = np.flatnonzero(held_out & (certain > 0))
    return rng.choice(at, min(len(at), _PIXELS), replace=False) if len(at) else at


def held_out_pixel(
    held_out: NDArray[np.bool_], certain: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Draw the place of a held-out pixel of a class that is drawn first, so that rare ones come up as often as others.

    None where the class of no held-out pixel is certain.
    """
    classes = np.where(held_out, certain, 0)
    found = np.unique(classes[classes > 0])
    return rng.choice(np.argwhere(classes == rng.choice(found))) if len(found) else None


def best_share(
    forest: Sequence[NDArray[np.float32]], network: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.uint8]]
) -> float | None:
    """Share of the forest in the sum of both at which held-out pixels are told best.

    By the mean over the classes of the negative log-probability; stacking of two predictors by held-out data goes back
    to Wolpert (1992).

    Parameters
    ----------
    forest, network : sequence of float32 array, (K, n)
        Probabilities at held-out pixels, block by block.
    labels : sequence of uint8 array, (n,)
        Their class ids.

    Returns
    -------
    float or None
        0 where the forest hardly helps. None where fewer than two classes are held out: pixels of one class cannot show
        which of the two confuses it with others.
    """
    true = np.concatenate([np.zeros(0, np.uint8), *labels])
    classes = np.unique(true)
    if len(classes) < 2:
        return None
    a, b = (
        np.concatenate([p[y - 1, np.arange(len(y))] for p, y in zip(of, labels, strict=True)])
        for of in (forest, network)
    )
    losses = []
    for share in _SHARES:
        nll = -np.log(np.maximum(share * a + (1 - share) * b, _LEAST))
        losses.append(np.mean([nll[true == c].mean() for c in classes]))
    best = int(np.argmin(losses))
    return float(_SHARES[best]) if losses[best] < (1 - _GAIN) * losses[0] else 0.0
