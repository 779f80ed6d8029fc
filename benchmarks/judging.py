"""How a prediction compares with the truth, image by image."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Judge

#: float32 (C, *S) → class ids from 1, uint8 (*S).
Predict = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def dice(found: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int) -> NDArray[np.float64]:
    """Dice of each class but the first, (n_classes - 1,); nan where a class is in neither, 0 where only one has it."""
    scores = np.full(n_classes - 1, np.nan)
    for class_id in range(2, n_classes + 1):
        a, b = found == class_id, truth == class_id
        if a.any() or b.any():
            scores[class_id - 2] = 2 * float((a & b).sum()) / float(a.sum() + b.sum())
    return scores


def judge(predict: Predict, judges: Sequence[Judge], n_classes: int) -> dict[str, Any]:
    """Predict the test images and sum up; images whose truth is background only are left out."""
    shown = [item for item in judges if (item.truth > 1).any()]
    return summed([predict(item.pixels) for item in shown], shown, n_classes)


def summed(found: Sequence[NDArray[np.uint8]], judges: Sequence[Judge], n_classes: int) -> dict[str, Any]:
    """Compare predictions with the truth; an image counts with the mean over its classes.

    Returns
    -------
    dict
        ``median``, ``mean`` and ``p10`` of the Dice over the images, ``dice`` of each image, ``classes``: mean of each
        class; ``miou``: median over the images of the mean intersection over union.
    """
    table = np.stack([dice(labels, item.truth, n_classes) for labels, item in zip(found, judges, strict=True)])
    per_image = np.nanmean(table, axis=1)
    seen = ~np.isnan(table)
    per_class = np.where(seen, table, 0).sum(0) / np.maximum(1, seen.sum(0))
    return {
        "median": round(float(np.median(per_image)), 4),
        "mean": round(float(per_image.mean()), 4),
        "p10": round(float(np.percentile(per_image, 10)), 4),
        "miou": round(float(np.median(np.nanmean(table / (2 - table), axis=1))), 4),
        "classes": [round(float(value), 4) for value in per_class],
        "dice": [round(float(value), 3) for value in per_image],
    }
