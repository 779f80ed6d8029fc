"""What the auxiliary heads and the claims are taught, made from masks and blobs on the host.

NumPy and SciPy on one image or block, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``. `sampling` is
the distance between neighbouring pixels per axis, in units of the finest axis. The tasks follow Ke et al.
(arXiv:2005.13053); every formula here is our construction.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.growth_step import Flags, Floats, Ids

__all__ = [
    "ENOUGH_BLOBS",
    "IGNORE",
    "approximation_fraction",
    "approximation_target",
    "background_claim",
    "blob_thickness",
    "boxes_of_seeds",
    "estimate_reach",
    "largest_radius",
    "shrink_objects",
    "simulate_seeds",
]

ENOUGH_BLOBS = 3
"""Blobs of a class that tell how large its blobs are."""

IGNORE = 255
"""Value of a label target that is left out of the losses of the auxiliary heads."""


def approximation_target(
    ids: Ids, classes: NDArray[np.uint8], *, ring_px: Sequence[float] | None = None
) -> NDArray[np.uint8]:
    """Class of the current approximation at every pixel, 0 outside, `IGNORE` in a ring around it.

    Parameters
    ----------
    ids : int32 array, (*S)
        Masks of the current round, or shrunken objects.
    classes : uint8 array, (n + 1,)
        Class id of each object; entry 0 is 0.
    ring_px : sequence of float, optional
        Width of the ignored ring per axis, so that the head does not learn the growth front as an edge. None
        at round 0 and on exact masks.

    Returns
    -------
    uint8 array, (*S)
    """
    target: NDArray[np.uint8] = classes[ids]
    if ring_px is not None and (ids > 0).any():
        distance = ndimage.distance_transform_edt(ids == 0, sampling=[1 / r for r in ring_px])
        target[(distance > 0) & (distance <= 1 + 1e-6)] = IGNORE
    return target


def approximation_fraction(grown_areas: Sequence[float], true_areas: Sequence[float]) -> float:
    """Share of an exact object to keep as its approximation, to match the partial masks.

    Median area of the partial masks over the median true area, within [0.05, 1]; 1 if either is unknown.
    """
    if not len(grown_areas) or not len(true_areas):
        return 1.0
    return float(np.clip(np.median(grown_areas) / max(float(np.median(true_areas)), 1.0), 0.05, 1.0))


def shrink_objects(ids: Ids, fraction: float, *, sampling: Sequence[float] | None = None) -> Ids:
    """Keep the innermost pixels of each object.

    Parameters
    ----------
    ids : int32 array, (*S)
        Exact objects.
    fraction : float
        Share of each object's pixels to keep, those farthest from its border first; at least one pixel stays.
    sampling : sequence of float, optional

    Returns
    -------
    int32 array, (*S)
    """
    kept = np.zeros_like(ids)
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is None:
            continue
        mine = ids[place] == i
        depth = ndimage.distance_transform_edt(np.pad(mine, 1), sampling=sampling)
        depth = depth[(slice(1, -1),) * ids.ndim]
        n = max(1, round(fraction * int(mine.sum())))
        inner = np.argpartition(-depth.ravel(), n - 1)[:n]
        chosen = np.zeros(mine.size, bool)
        chosen[inner] = True
        kept[place][chosen.reshape(mine.shape)] = i
    return kept


def background_claim(
    probabilities: Floats,
    ids: Ids,
    *,
    background: int = 1,
    threshold: float = 0.9,
    gap_px: float = 1.0,
    sampling: Sequence[float] | None = None,
    where: Flags | None = None,
) -> Flags:
    """Pixels taken for background because the network is sure and no object is near.

    Only sound where every object carries a mark, and a claim even there.

    Parameters
    ----------
    probabilities : float32 array, (K, *S)
    ids : int32 array, (*S)
        Masks of the current round.
    background : int
        Class id of the background.
    threshold : float
        Least probability of the background.
    gap_px : float
        Pixels within this distance of a mask are left out.
    sampling : sequence of float, optional
    where : bool array, (*S), optional
        Region in which all objects are marked; everywhere if not given.

    Returns
    -------
    bool array, (*S)
    """
    claim: Flags = probabilities[background - 1] >= threshold
    if (ids > 0).any():
        claim &= ndimage.distance_transform_edt(ids == 0, sampling=sampling) > gap_px
    return claim if where is None else claim & where


def largest_radius(
    ids: Ids, classes: NDArray[np.uint8], *, sampling: Sequence[float] | None = None
) -> dict[int, float]:
    """Half the longest side of the largest object of each class, in units of `sampling`."""
    step = np.ones(ids.ndim) if sampling is None else np.asarray(sampling, float)
    radius: dict[int, float] = {}
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is not None:
            half = max((s.stop - s.start) * d for s, d in zip(place, step, strict=True)) / 2
            radius[int(classes[i])] = max(radius.get(int(classes[i]), 0.0), half)
    return radius


def blob_thickness(ids: Ids, classes: NDArray[np.uint8]) -> dict[int, list[tuple[float, float]]]:
    """Diameter of the largest disc that fits into each blob, and how slender the blob is, by class id.

    Parameters
    ----------
    ids : int32 array, (*S)
    classes : uint8 array, (n + 1,)

    Returns
    -------
    dict of int to list of (float, float)
        Pixels, and the area in squares of so many pixels: 0.8 for a disc, much more for a stroke. Of a blob in a volume
        its largest Y-X plane counts.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is not None:
            mine = ids[place] == i
            planes = mine.reshape(-1, *mine.shape[-2:])
            largest = planes[planes.sum((1, 2)).argmax()]
            thickness = 2 * float(ndimage.distance_transform_edt(np.pad(largest, 1)).max())
            found.setdefault(int(classes[i]), []).append((thickness, float(largest.sum()) / thickness**2))
    return found


def estimate_reach(
    volumes: Mapping[int, Sequence[float]], ndim: int, *, exact_radius: Mapping[int, float] | None = None
) -> dict[int, float]:
    """Distance from the blobs of a class beyond which no object of it is expected.

    Blobs alone cannot tell how large their objects are, and what is ruled out wrongly is worse than what stays open:
    six times the radius of a large blob (95th percentile over all blobs of the class). With exact objects, twice the
    largest radius, but four times that of a large blob at least. Of two blobs the radius counts 1.5-fold and of one
    three-fold, for they tell less.

    Parameters
    ----------
    volumes : mapping of int to sequence of float
        Of each blob, in pixels along X to the power of `ndim`, by class id, one blob for every object.
    ndim : int
    exact_radius : mapping of int to float, optional
        By class id, from `largest_radius` over the exact images.

    Returns
    -------
    dict of int to float
        Pixels, by class id.
    """
    reach: dict[int, float] = {}
    for class_id, sizes in volumes.items():
        if not sizes:
            continue
        blob = float(np.percentile(_ball_radius(np.asarray(sizes, float), ndim), 95))
        blob *= max(1.0, ENOUGH_BLOBS / len(sizes))
        exact = (exact_radius or {}).get(class_id)
        reach[class_id] = 6 * blob if exact is None else max(2 * exact, 4 * blob)
    return reach


def boxes_of_seeds(
    seeds: Ids,
    seed_class: NDArray[np.uint8],
    boxes: Sequence[tuple[int, Sequence[int], Sequence[int]]],
) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Smallest box of its class around each blob, for `Evidence.boxes`.

    Parameters
    ----------
    seeds : int32 array, (*S)
    seed_class : uint8 array, (n + 1,)
    boxes : sequence of (class id, start, stop)
        Half-open, in pixels of the block; may reach beyond it.

    Returns
    -------
    dict of int to (start, stop)
        Only objects that lie whole in some box of their class.
    """
    found: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    by_size = sorted(boxes, key=lambda box: float(np.prod(np.subtract(box[2], box[1]))))
    of_class, starts, stops = (np.array([box[part] for box in by_size]) for part in range(3))
    for i, place in enumerate(ndimage.find_objects(seeds) if by_size else (), 1):
        if place is None:
            continue
        low, high = ([s.start for s in place], [s.stop for s in place])
        around = (of_class == seed_class[i]) & (starts <= low).all(1) & (stops >= high).all(1)
        if around.any():
            _, start, stop = by_size[int(around.argmax())]
            found[i] = (tuple(start), tuple(stop))
    return found


def simulate_seeds(
    ids: Ids,
    fraction: float,
    *,
    rng: np.random.Generator,
    sampling: Sequence[float] | None = None,
) -> Ids:
    """Draw a blob into each exact object, as a person in a hurry would.

    The blob is the `fraction` of the object nearest to a random point of its inner half, kept in one piece.

    Parameters
    ----------
    ids : int32 array, (*S)
        Exact objects.
    fraction : float
        Share of each object's pixels.
    rng : numpy.random.Generator
    sampling : sequence of float, optional

    Returns
    -------
    int32 array, (*S)
        Same ids.
    """
    inner = shrink_objects(ids, 0.5, sampling=sampling)
    step = np.ones(ids.ndim) if sampling is None else np.asarray(sampling, float)
    seeds = np.zeros_like(ids)
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is None:
            continue
        mine = ids[place] == i
        points, choices = np.argwhere(mine), np.argwhere(inner[place] == i)
        middle = choices[rng.integers(len(choices))]
        order = np.argsort((((points - middle) * step) ** 2).sum(1), kind="stable")
        blob = np.zeros(mine.shape, bool)
        blob[tuple(points[order[: max(1, round(fraction * len(points)))]].T)] = True
        parts, _ = ndimage.label(blob)
        seeds[place][parts == parts[tuple(middle)]] = i
    return seeds


def _ball_radius(volume: NDArray[np.floating], ndim: int) -> NDArray[np.float64]:
    """Radius of the disc or ball of this area or volume."""
    radius: NDArray[np.float64] = np.sqrt(volume / np.pi) if ndim == 2 else np.cbrt(volume * 3 / (4 * np.pi))
    return radius
