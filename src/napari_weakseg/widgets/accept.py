"""Which pixels of a grown region or a prediction to take over into the annotation: pure functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region

BACKGROUND = 1
_FIRST_RADIUS_PX = 128

Coordinates = tuple[NDArray[np.intp], ...]


def object_at(shown: NDArray[np.uint8], position: Sequence[int]) -> tuple[Region, NDArray[np.bool_]] | None:
    """Find the object at a position: the connected pixels of its class.

    Parameters
    ----------
    shown : uint8 (*S)
        Class ids of one frame, 0 nothing, 1 background.
    position : sequence of int
        A pixel of the frame.

    Returns
    -------
    (Region, bool array) or None
        A part of the frame that holds the object, and where it lies there; None outside the frame and where there is
        no object.

    Notes
    -----
    Ever larger windows around the position are searched, until the object touches no side at which there is more of
    the frame: an object of a slide is found as quickly as one of a small image.

    Examples
    --------
    >>> object_at(np.array([[1, 2, 2], [2, 1, 1]], np.uint8), (0, 1))[1].astype(int)
    array([[0, 1, 1],
           [0, 0, 0]])
    """
    from skimage.segmentation import flood

    point = tuple(int(i) for i in position)
    if any(not 0 <= i < n for i, n in zip(point, shown.shape, strict=True)) or shown[point] <= BACKGROUND:
        return None
    radius_px = _FIRST_RADIUS_PX
    while True:
        window = tuple(slice(max(0, i - radius_px), i + radius_px + 1) for i in point)
        inside = tuple(i - part.start for i, part in zip(point, window, strict=True))
        found: NDArray[np.bool_] = flood(shown[window], inside, connectivity=1)
        if not _goes_on(found, window, shown.shape):
            return window, found
        radius_px *= 2


def _goes_on(found: NDArray[np.bool_], window: Region, shape: Sequence[int]) -> bool:
    """Tell whether an object touches a side of its window at which there is more of the frame."""
    for axis, (part, size) in enumerate(zip(window, shape, strict=True)):
        sides = np.moveaxis(found, axis, 0)
        if (part.start > 0 and sides[0].any()) or (part.stop < size and sides[-1].any()):
            return True
    return False


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
