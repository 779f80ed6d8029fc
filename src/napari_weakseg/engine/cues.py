"""Cues for how well the masks of a round fit where no exact image tells.

All have one signature, so that they can be measured against each other and exchanged: a `Cue` maps what is
known of a round to one number per object, higher = a better border. `stopping.verdict` and
`stopping.best_rounds` read them. Our constructions throughout.

NumPy on one block, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; V views, K classes, n objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.growth_step import Flags, Floats, Ids
from napari_weakseg.engine.stopping import object_iou

__all__ = [
    "CUES",
    "Cue",
    "RoundView",
    "border_contrast",
    "border_edge",
    "reference_agreement",
    "view_agreement",
]


@dataclass(frozen=True, slots=True)
class RoundView:
    """What a cue may look at after a round.

    Parameters
    ----------
    ids : int32 array, (*S)
        Masks after the round.
    seed_class : uint8 array, (n + 1,)
    image : float32 array, (C, *S)
        Normalised grey values.
    edges : float32 array, (*S)
        From `stopping.edge_strength`; the same in every round.
    views : float32 array, (V, K, *S), optional
        Teacher's probabilities for each view, turned back.
    reference : int32 array, (*S), optional
        From `stopping.watershed_objects`; the same in every round.
    sampling : tuple of float, optional
        Distance between neighbouring pixels per axis, in units of the finest.
    band_px : float
        Width of the strips on both sides of the border, in units of the finest axis.
    """

    ids: Ids
    seed_class: NDArray[np.uint8]
    image: Floats
    edges: Floats
    views: Floats | None = None
    reference: Ids | None = None
    sampling: tuple[float, ...] | None = None
    band_px: float = 2.0


Cue = Callable[[RoundView], NDArray[np.float64]]
"""One number per object, (n,); nan where the cue has nothing to say."""


def border_edge(seen: RoundView) -> NDArray[np.float64]:
    """Mean gradient magnitude along the free border; peaks where mask and object end together.

    Where two objects touch, the border is left out.
    """
    ids = seen.ids
    outside = ndimage.binary_dilation(ids == 0)
    return _mean_per_object(seen.edges, ids, (ids > 0) & outside, len(seen.seed_class))


def border_contrast(seen: RoundView) -> NDArray[np.float64]:
    """Difference of grey values just inside and just outside, in units of their spread."""
    inner, outer, near = _strips(seen)
    n, total = len(seen.seed_class), np.zeros(len(seen.seed_class) - 1)
    for channel in seen.image:
        inside, outside = (_mean_per_object(channel, near, strip, n) for strip in (inner, outer))
        spread = [
            _mean_per_object(channel**2, near, strip, n) - mean**2
            for strip, mean in ((inner, inside), (outer, outside))
        ]
        total += (inside - outside) ** 2 / np.maximum(spread[0] + spread[1], 1e-4)
    return np.sqrt(total)


def view_agreement(seen: RoundView) -> NDArray[np.float64]:
    """How far the views agree with the mask on both sides of its border, 0 … 1."""
    if seen.views is None:
        return np.full(len(seen.seed_class) - 1, np.nan)
    inner, outer, near = _strips(seen)
    channel = np.maximum(seen.seed_class[near].astype(np.intp) - 1, 0)[None, None]
    votes = (np.take_along_axis(seen.views, channel, 1)[:, 0] >= 0.5).mean(0)
    agreed = np.where(inner, votes, 1 - votes)
    return _mean_per_object(agreed, near, inner | outer, len(seen.seed_class))


def reference_agreement(seen: RoundView) -> NDArray[np.float64]:
    """Intersection over union with a reference object of the same blob."""
    n = len(seen.seed_class)
    if seen.reference is None:
        return np.full(n - 1, np.nan)
    return object_iou(seen.ids, seen.reference, n)


CUES: Mapping[str, Cue] = {
    "edge": border_edge,
    "contrast": border_contrast,
    "views": view_agreement,
    "reference": reference_agreement,
}


def _strips(seen: RoundView) -> tuple[Flags, Flags, Ids]:
    """Strip inside and strip outside every border, and the object each pixel is nearest to."""
    ids, sampling = seen.ids, seen.sampling
    away, index = ndimage.distance_transform_edt(ids == 0, sampling=sampling, return_indices=True)
    near: Ids = ids[tuple(index)]
    depth = ndimage.distance_transform_edt(ids > 0, sampling=sampling)
    inner = (depth > 0) & (depth <= seen.band_px)
    return inner, (away > 0) & (away <= seen.band_px), near


def _mean_per_object(values: NDArray[np.floating], ids: Ids, where: Flags, n: int) -> NDArray[np.float64]:
    """Mean of the values over each object's pixels in a region, (n - 1,); nan without any."""
    chosen = ids[where]
    total = np.bincount(chosen, values[where], minlength=n)[1:]
    count = np.bincount(chosen, minlength=n)[1:]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
