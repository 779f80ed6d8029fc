"""Planes of a stack that are seen with those beside them (2.5-D).

A network in 2-D sees no more of a volume than one in 3-D needs several times the work for; planes above and below as
further channels lie between the two.
"""

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.regions import Region

__all__ = ["nearest", "seen"]

_PLANES = "Z"


def seen(source: ImageSource, region: Region, neighbours: int) -> NDArray[np.float32]:
    """Read a part of a plane, normalised, and the same part of the planes above and below it.

    Parameters
    ----------
    source : ImageSource
    region : Region
        Over the label axes; where there are neighbours, of one plane along Z.
    neighbours : int
        Planes on either side. Beyond the first and the last plane these are seen again, and so is an image without Z.

    Returns
    -------
    float32 array, ((2 * neighbours + 1) * C, *region_shape)
        The plane itself comes first, then the nearest below and above it.
    """
    axis = source.label_axes.find(_PLANES)
    if not neighbours:
        return source.normalised(region)
    if axis < 0:
        return np.concatenate([source.normalised(region)] * (2 * neighbours + 1))
    near = nearest(region[axis].start, source.label_shape[axis], neighbours)
    around = slice(min(near), max(near) + 1)
    planes = source.normalised((*region[:axis], around, *region[axis + 1 :]))
    return np.concatenate([planes.take([z - around.start], axis + 1) for z in near])


def nearest(z: int, count: int, neighbours: int) -> list[int]:
    """List a plane and those on either side of it, by their numbers, as `seen` gives them."""
    beside = (z + sign * away for away in range(1, neighbours + 1) for sign in (-1, 1))
    return [z, *(min(max(i, 0), count - 1) for i in beside)]
