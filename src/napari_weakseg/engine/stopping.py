"""When growth should stop: a guard where exact images exist, cues from image and network where none does.

The guard on held-out exact images is in the spirit of Ke et al. (arXiv:2005.13053), whose own stopping rule
could not be verified; it, and every cue here, is our construction. All cues have one signature, so that they
can be measured against each other: `Cue` maps what is known of a round to one number per object, higher = a
better border.

NumPy on one block, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; V views, n objects.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import random_walker

from napari_weakseg.engine.growth import Evidence, GrowthRules, GrowthState, Ids
from napari_weakseg.engine.growth_step import Flags, Floats
from napari_weakseg.engine.targets import simulate_seeds

__all__ = [
    "CUES",
    "Cue",
    "GuardReport",
    "RoundView",
    "Verdict",
    "best_rounds",
    "border_contrast",
    "border_edge",
    "compose",
    "edge_strength",
    "simulate_growth_guard",
    "verdict",
    "view_agreement",
    "walker_agreement",
    "walker_objects",
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
        From `edge_strength`; the same in every round.
    views : float32 array, (V, K, *S), optional
        Teacher's probabilities for each view, turned back.
    walker : int32 array, (*S), optional
        From `walker_objects`; the same in every round.
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
    walker: Ids | None = None
    sampling: tuple[float, ...] | None = None
    band_px: float = 2.0


Cue = Callable[[RoundView], NDArray[np.float64]]
"""One number per object, (n,); nan where the cue has nothing to say."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do next: go on, keep the masks, or return to those of `round`."""

    action: Literal["continue", "stop", "go back"]
    round: int


@dataclass(frozen=True, slots=True)
class GuardReport:
    """Growth on exact images from simulated blobs; entry t is after round t, the first is the blobs.

    Parameters
    ----------
    precision : tuple of float
        Share of the grown pixels that belong to their own object.
    iou : tuple of float
        Mean intersection over union of the objects.
    """

    precision: tuple[float, ...]
    iou: tuple[float, ...]

    def safe_rounds(self, min_precision: float = 0.9) -> int:
        """Rounds that may be taken before the guard trips."""
        for t, value in enumerate(self.precision):
            if value < min_precision:
                return max(0, t - 1)
        return len(self.precision) - 1


def edge_strength(image: Floats, *, sampling: Sequence[float] | None = None, sigma: float = 1.0) -> Floats:
    """Gradient magnitude of the smoothed image over all channels, (*S)."""
    step = np.ones(image.ndim - 1) if sampling is None else np.asarray(sampling, float)
    widths = [sigma / d for d in step]
    squared = np.zeros(image.shape[1:], np.float32)
    for channel in image:
        for axis, d in enumerate(step):
            order = [int(a == axis) for a in range(channel.ndim)]
            squared += (ndimage.gaussian_filter(channel, widths, order=order) / np.float32(d)) ** 2
    return np.sqrt(squared)


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


def walker_agreement(seen: RoundView) -> NDArray[np.float64]:
    """Intersection over union with the object that a random walker finds from the same blob."""
    n = len(seen.seed_class)
    if seen.walker is None:
        return np.full(n - 1, np.nan)
    return _iou(seen.ids, seen.walker, n)


CUES: Mapping[str, Cue] = {
    "edge": border_edge,
    "contrast": border_contrast,
    "views": view_agreement,
    "walker": walker_agreement,
}


def walker_objects(image: Floats, seeds: Ids, background: Flags, *, beta: float = 130.0) -> Ids:
    """Objects by a random walker [1]_ from the blobs, without any network.

    Two labels, object and background; touching objects are then split by the nearest blob. It costs about a
    second for a plane of 512 x 512, once per image.

    Parameters
    ----------
    image : float32 array, (C, *S)
    seeds : int32 array, (*S)
    background : bool array, (*S)
        Painted or far from all blobs.
    beta : float
        Penalty of grey-value steps.

    Returns
    -------
    int32 array, (*S)

    References
    ----------
    .. [1] L. Grady, "Random walks for image segmentation", IEEE TPAMI 2006.
    """
    markers = np.where(seeds > 0, 1, np.where(background, 2, 0)).astype(np.int32)
    if not ((markers == 1).any() and (markers == 2).any() and (markers == 0).any()):
        return seeds
    data = np.clip(np.moveaxis(image, 0, -1), 0, 1)
    inside = random_walker(data, markers, beta=beta, mode="cg_j", channel_axis=-1, tol=1e-3) == 1
    index = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    nearest: Ids = seeds[tuple(index)]
    return np.where(inside, nearest, 0).astype(np.int32)


def verdict(history: Sequence[NDArray[np.float64]], *, tolerance: float = 0.02) -> Verdict:
    """Judge the last round by the middle object.

    Parameters
    ----------
    history : sequence of array, (n,)
        A cue's numbers per round, the first for the blobs.
    tolerance : float
        Relative change that counts as none.

    Returns
    -------
    Verdict
        "go back" to the best round once the cue has fallen from it, "stop" where it no longer rises, else
        "continue" (also where the cue says nothing).
    """
    scores = [float(np.nanmedian(s)) if np.isfinite(s).any() else np.nan for s in history]
    last = len(scores) - 1
    if last < 1 or not np.isfinite(scores).all():
        return Verdict("continue", last)
    best, slack = int(np.argmax(scores)), tolerance * abs(max(scores))
    if scores[last] < scores[best] - slack:
        return Verdict("go back", best)
    return Verdict("stop" if scores[last] < scores[last - 1] + slack else "continue", last)


def best_rounds(history: Sequence[NDArray[np.float64]]) -> NDArray[np.intp]:
    """Round with the best cue for each object, (n,); the last one where the cue says nothing."""
    table = np.stack(history)
    best = np.where(np.isfinite(table), table, -np.inf).argmax(0)
    return np.where(np.isfinite(table).any(0), best, len(table) - 1)


def compose(masks: Sequence[Ids], rounds: NDArray[np.intp]) -> Ids:
    """Put together each object's mask of its own round; where two meet, the earlier round keeps the pixel.

    Parameters
    ----------
    masks : sequence of int32 array, (*S)
        One per round; the first holds the blobs, which no other object covers.
    rounds : array, (n,)

    Returns
    -------
    int32 array, (*S)
    """
    out = masks[0].copy()
    for t in range(1, len(masks)):
        chosen = np.r_[False, rounds == t][masks[t]] & (out == 0)
        out[chosen] = masks[t][chosen]
    return out


def simulate_growth_guard(
    exact: Ids,
    exact_class: NDArray[np.uint8],
    evidence: Evidence,
    rules: GrowthRules,
    *,
    rounds: int,
    rng: np.random.Generator,
    fraction: float = 0.25,
) -> GuardReport:
    """Grow simulated blobs on an exact image that the network has not learned from.

    Parameters
    ----------
    exact : int32 array, (*S)
        True objects.
    exact_class : uint8 array, (n + 1,)
    evidence : Evidence
        Its allowed sets must not contain the exact mask; they are opened here, so that only the network
        speaks.
    rules : GrowthRules
    rounds : int
        Rounds to take.
    rng : numpy.random.Generator
        Draws the blobs.
    fraction : float
        Share of each object that its blob covers.

    Returns
    -------
    GuardReport
    """
    every = np.iinfo(np.uint32).max
    evidence = replace(evidence, allowed=np.full(exact.shape, every, np.uint32), boxes={})
    seeds = simulate_seeds(exact, fraction, rng=rng)
    state = GrowthState.start(seeds, exact_class)
    precision, iou = [], []
    for t in range(rounds + 1):
        if t:
            state = state.advanced(evidence, rules)
        grown = state.ids > 0
        precision.append(float((state.ids == exact)[grown].mean()) if grown.any() else 1.0)
        present = np.bincount(exact.ravel(), minlength=len(exact_class))[1:] > 0
        iou.append(float(_iou(state.ids, exact, len(exact_class))[present].mean()) if present.any() else 1.0)
    return GuardReport(tuple(precision), tuple(iou))


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


def _iou(one: Ids, two: Ids, n: int) -> NDArray[np.float64]:
    """Intersection over union of objects with the same id, (n - 1,)."""
    common = np.bincount(one[one == two], minlength=n)[1:]
    total = np.bincount(one.ravel(), minlength=n)[1:] + np.bincount(two.ravel(), minlength=n)[1:] - common
    ratio: NDArray[np.float64] = common / np.maximum(total, 1)
    return ratio
