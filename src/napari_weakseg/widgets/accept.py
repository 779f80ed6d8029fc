"""Which pixels of a grown region or a prediction to take over into the annotation: pure functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 1

Coordinates = tuple[NDArray[np.intp], ...]


def object_at(shown: NDArray[np.uint8], position: Sequence[int]) -> NDArray[np.bool_] | None:
    """Find the object at a position: the connected pixels of its class.

    Parameters
    ----------
    shown : uint8 (*S)
        Class ids of one frame, 0 nothing, 1 background.
    position : sequence of int
        A pixel of the frame.

    Returns
    -------
    bool (*S) or None
        None outside the frame and where there is no object.
    """
    from skimage.segmentation import flood

    point = tuple(int(i) for i in position)
    if any(not 0 <= i < n for i, n in zip(point, shown.shape, strict=True)) or shown[point] <= BACKGROUND:
        return None
    found: NDArray[np.bool_] = flood(shown, point, connectivity=1)
    return found


def everything(shown: NDArray[np.uint8], class_id: int | None = None) -> NDArray[np.bool_]:
    """All objects of one class, or of every class."""
    return shown > BACKGROUND if class_id is None else shown == class_id


def unpainted(wanted: NDArray[np.bool_], annotation: NDArray[np.uint8]) -> Coordinates:
    """Coordinates of the wanted pixels that no person painted; what was painted always stays.

    Examples
    --------
    >>> unpainted(np.array([True, True, False]), np.array([0, 1, 0], np.uint8))
    (array([0]),)
    """
    return np.nonzero(wanted & (annotation == 0))
