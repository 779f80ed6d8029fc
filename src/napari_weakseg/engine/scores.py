"""How well a prediction agrees with masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Agreement for one class, over the pixels that are judged.

    Attributes
    ----------
    dice, iou : float or None
        0 to 1; None where the class is neither in the masks nor in the prediction.
    mask_pixels, predicted_pixels : int
    """

    dice: float | None
    iou: float | None
    mask_pixels: int
    predicted_pixels: int


def score(
    labels: NDArray[np.integer[Any]], masks: NDArray[np.integer[Any]], names: Sequence[str]
) -> dict[str, ClassScore]:
    """Compare class ids pixel by pixel.

    Parameters
    ----------
    labels, masks : int (*S)
        Predicted and true class ids; 0 in `masks` is not judged.
    names : sequence of str
        Class names, the first has id 1.

    Examples
    --------
    >>> score(np.array([1, 2, 2, 2]), np.array([1, 1, 2, 0]), ["background", "cell"])["cell"].iou
    0.5
    """
    judged = masks > 0
    size = len(names) + 1
    pairs = masks[judged].astype(np.int64) * size + labels[judged].astype(np.int64)
    table = np.bincount(pairs, minlength=size * size).reshape(size, size)
    scores = {}
    for class_id, name in enumerate(names, start=1):
        both = int(table[class_id, class_id])
        true, found = int(table[class_id].sum()), int(table[:, class_id].sum())
        either = true + found - both
        dice, iou = (2 * both / (true + found), both / either) if either else (None, None)
        scores[name] = ClassScore(dice, iou, true, found)
    return scores
