"""How far inside its object a pixel lies: what the network is taught of objects, to tell touching ones apart.

Networks learn distances to the border from complete masks [1]_. From which objects they may be learned where not all is
known is ours (exact ones, and blobs that have grown), as is their scale: half of the depth of each object.

NumPy and SciPy, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``.

References
----------
.. [1] P. Naylor et al., "Segmentation of nuclei in histopathology images by deep regression of the distance map", IEEE
   TMI 38(2), 2019.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.growth import GrowthState
from napari_weakseg.engine.growth_step import Flags, Ids
from napari_weakseg.engine.targets import IGNORE

__all__ = ["MOST_INWARD", "inwardness_target", "whole_objects"]

MOST_INWARD = 200
"""Value of the target well inside an object; it is 0 where there is none."""

_WELL_INSIDE = 0.5  # share of the greatest depth from which on a pixel is: how a thing is shaped there tells nothing


def inwardness_target(ids: Ids, known: Flags, *, sampling: Sequence[float] | None = None) -> NDArray[np.uint8]:
    """How far inside its object a pixel lies: the distance to the border over half of the greatest one, at most 1.

    In shares of `MOST_INWARD`.

    Parameters
    ----------
    ids : int32 array, (*S)
        Whole objects, 0 = none. What an object touches is its border; the end of the image is none.
    known : bool array, (*S)
        Where there is known to be no object if there is none.
    sampling : sequence of float, optional
        Distance of neighbouring pixels along each axis.

    Returns
    -------
    uint8 array, (*S)
        `IGNORE` where nothing is known.
    """
    target = np.where(known, 0, IGNORE).astype(np.uint8)
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is None:
            continue
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in place)
        mine = ids[around] == i
        depth = np.ones(mine.shape) if mine.all() else ndimage.distance_transform_edt(mine, sampling=sampling)
        inside = np.minimum(1, depth[mine] / (_WELL_INSIDE * depth.max()))
        target[around][mine] = np.round(MOST_INWARD * inside)
    return target


def whole_objects(
    knowledge: Knowledge, growth: GrowthState | None, claim: NDArray[np.uint8], held_out: Flags
) -> tuple[Ids, Flags]:
    """Objects that are known as a whole or have grown, and where there is no object.

    Parameters
    ----------
    knowledge : Knowledge
    growth : GrowthState or None
    claim : uint8 array, (*S)
        Claimed class ids, 0 = none.
    held_out : bool array, (*S)
        Marks that nothing is learned from, nor from what has grown from them.

    Returns
    -------
    ids : int32 array, (*S)
        0 = none.
    known : bool array, (*S)
        Nowhere if there is no such object: from background alone nothing can be learned about objects.
    """
    seeds, exact = knowledge.seeds, knowledge.complete
    pixels = np.bincount(seeds.ravel())
    whole = np.bincount(seeds[exact], minlength=len(pixels)) == pixels
    whole[seeds[held_out]] = False
    ids = np.where(whole[seeds], seeds, 0).astype(np.int32)
    bare = (exact | knowledge.painted) & (knowledge.certain == BACKGROUND)
    if growth is not None and growth.rounds.any():
        taken = growth.rounds > 0
        taken[growth.seeds[held_out]] = False
        grown = np.where(taken[growth.ids] & ~exact, growth.ids, 0)
        ids = np.where(grown > 0, len(pixels) + grown, ids).astype(np.int32)
        bare |= (claim == BACKGROUND) & (ids == 0)
    return ids, (ids > 0) | bare if ids.any() else np.zeros(ids.shape, bool)
