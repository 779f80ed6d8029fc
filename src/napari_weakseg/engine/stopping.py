"""Where and when growth should stop: at the image's edges, and by a guard on exact images.

The guard on held-out exact images is in the spirit of Ke et al. (arXiv:2005.13053), whose own stopping rule
could not be verified; it and everything here is our construction. Where every object is marked, the surest
stop is the territory that the image's edges leave to each blob (`watershed_objects`).

NumPy on one block, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; n objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_weakseg.engine.growth import Evidence, GrowthRules, GrowthState, Ids
from napari_weakseg.engine.growth_step import Flags, Floats
from napari_weakseg.engine.targets import simulate_seeds

__all__ = [
    "GuardReport",
    "edge_strength",
    "far_background",
    "object_iou",
    "simulate_growth_guard",
    "watershed_objects",
]

_NARROWEST_PX = 0.5  # that a Gaussian may be; the derivative of a narrower one is next to nothing at any pixel


@dataclass(frozen=True, slots=True)
class GuardReport:
    """Growth on exact images from simulated blobs; entry t is after round t, the first is the blobs.

    Parameters
    ----------
    precision : tuple of float
        Share of the grown pixels that belong to their own object; pixels that touch it from outside do not count, for
        people draw borders no finer, and on small objects they are many.
    iou : tuple of float
        Mean intersection over union of the objects.
    """

    precision: tuple[float, ...]
    iou: tuple[float, ...]

    def safe_rounds(self, min_precision: float = 0.9) -> int:
        """Count the rounds that may be taken before the guard trips."""
        for t, value in enumerate(self.precision):
            if value < min_precision:
                return max(0, t - 1)
        return len(self.precision) - 1


def edge_strength(image: Floats, *, sampling: Sequence[float] | None = None, sigma: float = 1.0) -> Floats:
    """How much the smoothed image changes from pixel to pixel over all channels, (*S).

    Parameters
    ----------
    image : float32 array, (C, *S)
    sampling : sequence of float, optional
        Along coarse axes less is smoothed, in pixels; but a border between two thick planes is as sharp as any.
    sigma : float

    Returns
    -------
    float32 array, (*S)
    """
    step = np.ones(image.ndim - 1) if sampling is None else np.asarray(sampling, float)
    widths = np.maximum(sigma / step, _NARROWEST_PX)
    squared = np.zeros(image.shape[1:], np.float32)
    for channel in image:
        for axis in range(channel.ndim):
            order = [int(a == axis) for a in range(channel.ndim)]
            squared += ndimage.gaussian_filter(channel, widths, order=order) ** 2
    return np.sqrt(squared)


def watershed_objects(edges: Floats, seeds: Ids, background: Flags) -> Ids:
    """Objects by a watershed of the image's edges between the blobs and the background, without any network.

    A marker-controlled watershed [1]_. On fluorescence nuclei it reaches nearly every border that the image
    shows, so it serves as a start before the network knows anything, as a limit to growth
    (`Evidence.territory`), and as a reference to judge a round by.

    Parameters
    ----------
    edges : float32 array, (*S)
        From `edge_strength`.
    seeds : int32 array, (*S)
    background : bool array, (*S)
        Painted or far from all blobs; without any, there is nothing to end the objects and the blobs are
        returned.

    Returns
    -------
    int32 array, (*S)
        Ids as in `seeds`.

    References
    ----------
    .. [1] F. Meyer, S. Beucher, "Morphological segmentation", JVCIR 1990.
    """
    background = background & (seeds == 0)
    if not background.any():
        return seeds
    outside = int(seeds.max()) + 1
    basins = watershed(edges, np.where(background, outside, seeds))
    return np.where(basins == outside, 0, basins).astype(np.int32)


def far_background(objects: Ids, background: Flags, *, sampling: Sequence[float] | None = None) -> Flags:
    """Find the background that lies more than half as far from all objects as any does; nothing where there is none."""
    away = ndimage.distance_transform_edt(objects == 0, sampling=sampling) * background
    far: Flags = away > away.max() / 2
    return far


def simulate_growth_guard(
    exact: Ids,
    exact_class: NDArray[np.uint8],
    evidence: Evidence,
    rules: GrowthRules,
    *,
    rounds: int,
    rng: np.random.Generator,
    fraction: float = 0.25,
    sampling: Sequence[float] | None = None,
    edges: Floats | None = None,
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
    sampling : sequence of float, optional
    edges : float32 array, (*S), optional
        From `edge_strength`; with them no object leaves the territory that they leave to its blob.

    Returns
    -------
    GuardReport
    """
    every = np.iinfo(np.uint32).max
    seeds = simulate_seeds(exact, fraction, rng=rng, sampling=sampling)
    territory = None
    if edges is not None:
        territory = watershed_objects(edges, seeds, far_background(exact, exact == 0, sampling=sampling))
    evidence = replace(evidence, allowed=np.full(exact.shape, every, np.uint32), boxes={}, territory=territory)
    state = GrowthState.start(seeds, exact_class)
    precision, iou = [], []
    for t in range(rounds + 1):
        if t:
            state = state.advanced(evidence, rules)
        grown = (state.ids > 0) & ~_beside(state.ids, exact)
        precision.append(float((state.ids == exact)[grown].mean()) if grown.any() else 1.0)
        present = np.bincount(exact.ravel(), minlength=len(exact_class))[1:] > 0
        iou.append(float(object_iou(state.ids, exact, len(exact_class))[present].mean()) if present.any() else 1.0)
    return GuardReport(tuple(precision), tuple(iou))


def _beside(ids: Ids, exact: Ids) -> Flags:
    """Find the pixels outside of all exact objects that share a face with the object of the same id."""
    found = np.zeros(ids.shape, bool)
    for axis in range(ids.ndim):
        others = (slice(None),) * axis
        near, far = (*others, slice(1, None)), (*others, slice(-1))
        found[near] |= ids[near] == exact[far]
        found[far] |= ids[far] == exact[near]
    beside: Flags = found & (ids > 0) & (exact == 0)
    return beside


def object_iou(one: Ids, two: Ids, n: int) -> NDArray[np.float64]:
    """Intersection over union of objects with the same id, (n - 1,)."""
    common = np.bincount(one[one == two], minlength=n)[1:]
    total = np.bincount(one.ravel(), minlength=n)[1:] + np.bincount(two.ravel(), minlength=n)[1:] - common
    ratio: NDArray[np.float64] = common / np.maximum(total, 1)
    return ratio
