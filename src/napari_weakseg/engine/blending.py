"""How much the early forest is to say beside the network, judged on marks that neither has learned from."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_share", "held_out_pixel", "held_out_pixels", "tells_classes"]

_SHARES = np.linspace(0, 1, 11)
_GAIN = 0.05  # relative fall of the loss for which the forest is kept
_PIXELS = 1000  # of a window that are compared
_LEAST = 1e-4
_BEYOND_CHANCE = 0.1  # of the way from guessing to being always right


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
    right = said.argmax(0) + 1 == labels
    chance = 1 / len(classes)
    recall = np.mean([right[labels == c].mean() for c in classes])
    return bool(recall > chance + _BEYOND_CHANCE * (1 - chance))
