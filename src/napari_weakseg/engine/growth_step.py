"""One growth step of each blob towards the border of its object.

Ke et al. [1]_ start from one partial mask per object and let the masks grow, during training and by what the
network has learned, until they reach the border. The update rule here (radius, thresholds, tie-breaks,
stops) is our construction: it fulfils what their abstract promises and is no transcription of their equation.

Plain NumPy and SciPy on one block, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``. Ids are object
ids 1 … n within the block, 0 = no object. Arrays handed in are never written to.

References
----------
.. [1] R. Ke, A. Bugeau, N. Papadakis, M. Kirkland, P. Schuetz, C.-B. Schönlieb, "Multi-task deep learning
   for image segmentation using recursive approximation tasks", IEEE TIP 2021, arXiv:2005.13053.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Evidence", "Flags", "Floats", "GrowthRules", "Ids", "connected", "crop_around", "grow"]

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]
Bounds = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class GrowthRules:
    """How far and how boldly objects grow.

    Parameters
    ----------
    radius_px : tuple of float
        Most that an object grows in one step, per axis of ``*S``; an ellipsoid, so that thick planes may
        take less. Below 1 it grows along that axis in some rounds only, see `in_round`.
    tau : float
        Least probability of the object's class at a new pixel.
    mode : {"monotone", "regrow"}
        "monotone" (as published) only adds. "regrow" (ours) starts each round from the blob again and takes
        one step more than the round before, so that an early leak is undone once the network knows better.
    min_growth : float
        An object that changes by a smaller share of its area in two rounds running stops.
    area_cap : mapping of int to float
        Largest area in pixels by class id; an object that would exceed it keeps its mask and stops.
    rounds : int
        That an object takes at most, up to 255.
    """

    radius_px: tuple[float, ...]
    tau: float = 0.85
    mode: Literal["monotone", "regrow"] = "monotone"
    min_growth: float = 0.01
    area_cap: Mapping[int, float] = field(default_factory=dict)
    rounds: int = 255

    def in_round(self, n: int) -> "GrowthRules":
        """Rules of round n = 1, 2, …: an object that may grow by half a pixel along an axis does every other round."""
        due = [floor(n * r + 0.5) > floor((n - 1) * r + 0.5) for r in self.radius_px]
        return replace(self, radius_px=tuple(max(r, float(now)) for r, now in zip(self.radius_px, due, strict=True)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against growth in one block.

    Parameters
    ----------
    probabilities : float32 array, (K, *S)
        Averaged over views of the teacher; row k - 1 is class id k.
    allowed : uint32 array, (*S)
        Bit k where class id k is possible. Painted background, absent tags and boxes speak through it.
    separation : float32 array, (*S), optional
        Probability of an interface between touching objects; growth stays where it is below one half.
    territory : int32 array, (*S), optional
        Object that each pixel may at most fall to, 0 for none; `stopping.watershed_objects` makes one.
    boxes : mapping of int to (start, stop)
        Half-open box that an object must not leave, by object id.
    """

    probabilities: Floats
    allowed: NDArray[np.uint32]
    separation: Floats | None = None
    territory: Ids | None = None
    boxes: Mapping[int, Bounds] = field(default_factory=dict)

    def open_for(self, class_id: int, tau: float) -> Flags:
        """Where an object of this class may grow to, (*S)."""
        p = self.probabilities[class_id - 1]
        where: Flags = (p >= tau) & (self.probabilities.argmax(0) == class_id - 1)
        where &= (self.allowed & np.uint32(1 << class_id)) != 0
        if self.separation is not None:
            where &= self.separation < 0.5
        return where


def grow(
    ids: Ids,
    seeds: Ids,
    seed_class: NDArray[np.uint8],
    evidence: Evidence,
    rules: GrowthRules,
    *,
    frozen: Flags | None = None,
) -> Ids:
    """Take one growth step; objects only gain pixels.

    Each object proposes the open pixels within the radius that are connected to its blob; a pixel wanted by
    several goes to the highest ``probability - 1e-3 * distance`` (distance in radii, lower id on a tie);
    then what has lost its connection is given up again.

    Parameters
    ----------
    ids : int32 array, (*S)
        Current masks; contains the blobs.
    seeds : int32 array, (*S)
        Blobs painted by a person, same ids.
    seed_class : uint8 array, (n + 1,)
        Class id of each object.
    evidence : Evidence
    rules : GrowthRules
    frozen : bool array, (n + 1,), optional
        Objects that stay as they are.

    Returns
    -------
    int32 array, (*S)
    """
    owner = np.zeros_like(ids)
    best = np.full(ids.shape, -np.inf, np.float32)
    classes = [int(c) for c in np.unique(seed_class[1:])]
    where_open = {c: evidence.open_for(c, rules.tau) & (ids == 0) for c in classes}
    places = ndimage.find_objects(ids)
    contested: set[int] = set()
    for i, place in enumerate(places, 1):
        if place is None or (frozen is not None and frozen[i]):
            continue
        crop = crop_around(place, rules.radius_px, ids.shape)
        proposal = _proposal(i, crop, ids, seeds, where_open[int(seed_class[i])], evidence, rules)
        if proposal is None:
            continue
        wanted, distance = proposal
        score = evidence.probabilities[int(seed_class[i]) - 1][crop] - np.float32(1e-3) * distance
        wins = wanted & (score > best[crop])
        beaten = np.unique(owner[crop][wins])
        contested.update(int(j) for j in beaten if j)
        if (wanted & ~wins).any():
            contested.add(i)
        owner[crop][wins] = i
        best[crop][wins] = score[wins]
    grown = np.where(owner > 0, owner, ids)
    for i in contested:
        crop = crop_around(places[i - 1], rules.radius_px, ids.shape)
        mine = grown[crop] == i
        loose = mine & ~connected(mine, seeds[crop] == i) & (ids[crop] == 0)
        grown[crop][loose] = 0
    return grown


def connected(mask: Flags, seed: Flags) -> Flags:
    """Keep the parts of a mask that touch the seed; neighbours share a face (4 in 2-D, 6 in 3-D)."""
    parts, n = ndimage.label(mask)
    if n <= 1:
        return mask if n == 0 or (mask & seed).any() else np.zeros_like(mask)
    keep = np.zeros(n + 1, bool)
    keep[parts[seed & mask]] = True
    keep[0] = False
    kept: Flags = keep[parts]
    return kept


def crop_around(place: tuple[slice, ...], margin: tuple[float, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Widen a bounding box by a margin per axis, within the block."""
    return tuple(
        slice(max(0, s.start - int(np.ceil(m))), min(size, s.stop + int(np.ceil(m))))
        for s, m, size in zip(place, margin, shape, strict=True)
    )


def _proposal(
    i: int,
    crop: tuple[slice, ...],
    ids: Ids,
    seeds: Ids,
    where_open: Flags,
    evidence: Evidence,
    rules: GrowthRules,
) -> tuple[Flags, Floats] | None:
    """Pixels that object i asks for, and their distance from it in radii; None if there is none."""
    free = where_open[crop]
    if evidence.territory is not None:
        free = free & (evidence.territory[crop] == i)
    if i in evidence.boxes:
        start, stop = evidence.boxes[i]
        inside = np.zeros_like(free)
        window = zip(start, stop, crop, strict=True)
        inside[tuple(slice(max(0, a - s.start), max(0, b - s.start)) for a, b, s in window)] = True
        free = free & inside
    if not free.any():
        return None
    mine = ids[crop] == i
    distance = ndimage.distance_transform_edt(~mine, sampling=[1 / r for r in rules.radius_px])
    free = free & (distance <= 1 + 1e-6)
    wanted = connected(free | mine, (seeds[crop] == i)) & free
    return (wanted, distance.astype(np.float32)) if wanted.any() else None
