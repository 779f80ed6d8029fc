"""Which kind of mark tells most about an image per second of a person's time.

Bits that a mark is expected to settle, over the seconds that it takes. This is our own construction, after the idea
of expected information gain; no paper has these formulas, and they compare marks roughly.

- A *region* is a connected part where the network is unsure. Deep inside, its pixels are right or wrong together, so
  its interior is one decision, worth the mean entropy there. Its rim holds more decisions, one for each patch of
  pixels, worth what the rim is more unsure than the interior. Thin regions, such as the outline of an object that is
  sure itself, are all rim.
- A tag settles whether a class occurs: binary entropy of its presence. Where training learns nothing from a class that
  is present, only the answer that it is absent counts.
- A blob settles the interior of a region.
- A box settles its extent: one decision of its rim for each object, times how well a box fits.
- An exact mask settles interiors, rims, and what the network is sure of, which is one decision more.

The seconds are those of untrained annotators on photographs, and stand for the order of magnitude:

===== ==== =========================================================================================================
mark  s    from
===== ==== =========================================================================================================
tag   1    for each class [1]_
blob  5    an assumption: between a point, 2.4 s, and a squiggle, 10.9 s, in one object [1]_
box   7    by extreme clicking [2]_
exact 79   outline of one object in COCO [3]_ [1]_; a whole photograph takes 239.7 s [1]_. That objects the network
           is sure of are taken as predicted, and so cost nothing, is an assumption
===== ==== =========================================================================================================

NumPy and SciPy, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; K classes, n regions.

References
----------
.. [1] A. Bearman, O. Russakovsky, V. Ferrari, L. Fei-Fei, "What's the point: Semantic segmentation with point
   supervision", ECCV 2016.
.. [2] D. P. Papadopoulos, J. R. R. Uijlings, F. Keller, V. Ferrari, "Extreme clicking for efficient object
   annotation", ICCV 2017.
.. [3] T.-Y. Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import entr

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.windows import largest_near
from napari_weakseg.engine.growth_step import Flags, Floats, Ids

__all__ = ["SECONDS", "UNSURE_BITS", "Kind", "MarkOffer", "best_mark", "entropy_bits", "mark_offers", "presence_of"]

Kind = Literal["tag", "box", "blob", "exact"]

SECONDS: Mapping[Kind, float] = MappingProxyType({"tag": 1.0, "blob": 5.0, "box": 7.0, "exact": 79.0})
"""Human time for one mark: a class, an object, an object, the outline of an object."""

UNSURE_BITS = 0.5
"""Entropy from which a pixel counts as unsure; with two classes, the better one is below nine in ten."""

_RIM_PX = 3.0  # a region is rim up to this depth, so that what is thinner than twice as much has no interior
_LEAST_INTERIOR = 0.05  # with a smaller share of deep pixels a region is thin, with a knot in it
_PATCH_PX = 5  # side of a patch of the rim that is one decision
_FEWEST_PX = 5  # smaller specks are no region
_LIKELIEST = 1000  # the likeliest pixel in so many tells whether a class occurs
_WORTH_BITS = 0.1  # nobody is asked for a mark that settles less


@dataclass(frozen=True, slots=True)
class MarkOffer:
    """What marks of one kind settle in an image, and how long they take.

    Attributes
    ----------
    kind : {"tag", "box", "blob", "exact"}
    bits : float
        Expected information, at least 0.
    seconds : float
        Human time for all marks of the kind that are worth making here, above 0.
    """

    kind: Kind
    bits: float
    seconds: float

    @property
    def rate(self) -> float:
        """Bits per second."""
        return self.bits / self.seconds


class _Regions(NamedTuple):
    """Unsure regions; arrays have n entries."""

    interior: NDArray[np.float64]  # mean entropy deep inside, 0 where there is no inside
    rim: NDArray[np.float64]  # bits of all decisions along the rim, given the interior
    one: NDArray[np.float64]  # bits of one of them
    fill: NDArray[np.float64]  # share of its bounding box that a region covers, holes included
    objects: NDArray[np.int64]  # that it is part of, at least 1
    rest: float  # mean entropy of what belongs to no region


def mark_offers(
    mean: Floats, entropy: Floats, *, presence: Floats | None, tags_teach: bool = True
) -> tuple[MarkOffer, ...]:
    """Weigh the kinds of mark for one image or a part of one.

    Parameters
    ----------
    mean : float32 array, (K, *S)
        Class probabilities, restricted to the classes still allowed.
    entropy : float32 array, (*S)
        In bits, 0 where at most one class is allowed.
    presence : float32 array, (K,), optional
        Probability that each class occurs, 0 or 1 where it is known. None where no tag can be given.
    tags_teach : bool
        Whether training learns from a class that is said to be present.

    Returns
    -------
    tuple of MarkOffer
        One for each kind that has something to mark; a blob always has, if only to see whether the network is right.
    """
    found = _regions(mean, entropy)
    thick = found.interior >= _WORTH_BITS
    extent = found.fill * np.minimum(found.rim, found.objects * found.one)
    boxed = extent >= _WORTH_BITS
    everything = float(found.interior.sum() + found.rim.sum()) + found.rest
    offers = [_offer("blob", float(found.interior[thick].sum()), max(1, int(thick.sum())))]
    if boxed.any():
        offers.append(_offer("box", float(extent[boxed].sum()), int(found.objects[boxed].sum())))
    if everything > 0:
        offers.append(_offer("exact", everything, max(1, int(found.objects.sum()))))
    answers = np.zeros((1, 0), np.float32) if presence is None else np.stack([1 - presence, presence][: 1 + tags_teach])
    bits = entropy_bits(answers)
    asked = bits >= _WORTH_BITS
    if asked.any():
        offers.append(_offer("tag", float(bits[asked].sum()), int(asked.sum())))
    return tuple(offers)


def best_mark(offers: Sequence[MarkOffer]) -> MarkOffer:
    """Take the offer with the most bits per second; the first of equals."""
    return max(offers, key=lambda offer: offer.rate)


def entropy_bits(p: Floats) -> Floats:
    """Entropy over the first axis, in bits."""
    bits: Floats = np.maximum(entr(p).sum(0), 0) / np.float32(np.log(2))
    return bits


def presence_of(mean: Floats, decided: Flags, tags: Mapping[int, bool]) -> Floats:
    """Probability that each class occurs: mean of its likeliest pixels, unless a person has said whether it does.

    Parameters
    ----------
    mean : float32 array, (K, *S)
    decided : bool array, (K, *S)
        Where no other class is possible.
    tags : mapping of int to bool
        Class id → present or absent.

    Returns
    -------
    float32 array, (K,)
    """
    flat = mean.reshape(len(mean), -1)
    n = max(1, round(flat.shape[1] / _LIKELIEST))
    presence: Floats = np.clip(np.partition(flat, -n, axis=1)[:, -n:].mean(1), 0, 1)
    presence[decided.reshape(len(mean), -1).any(1)] = 1
    for class_id, present in tags.items():
        presence[class_id - 1] = present
    return presence


def _offer(kind: Kind, bits: float, marks: int) -> MarkOffer:
    return MarkOffer(kind, bits, marks * SECONDS[kind])


def _regions(mean: Floats, entropy: Floats) -> _Regions:
    ids, places = _unsure_regions(entropy)
    n = len(places)
    deep = _depth(ids > 0) > _RIM_PX
    thick = _means(deep, ids, n) >= _LEAST_INTERIOR
    deep &= np.append(False, thick)[ids]
    interior = _means(entropy, np.where(deep, ids, 0), n)
    rim = (ids > 0) & ~deep
    given_interior = np.maximum(entropy - np.append(0, interior)[ids], 0)
    on_rim = np.where(rim, ids, 0)
    total = np.bincount(on_rim.ravel(), given_interior.ravel(), minlength=n + 1)[1:]
    fill = [ndimage.binary_fill_holes(ids[place] == i).mean() for i, place in enumerate(places, 1)]
    rest = entropy[(ids == 0) & (entropy > 0)]
    return _Regions(
        interior=interior,
        rim=total / _PATCH_PX**entropy.ndim,
        one=_means(given_interior, on_rim, n),
        fill=np.asarray(fill, np.float64),
        objects=_objects(mean, ids, n),
        rest=float(rest.mean(dtype=np.float64)) if rest.size else 0.0,
    )


def _unsure_regions(entropy: Floats) -> tuple[Ids, list[tuple[slice, ...]]]:
    """Find the connected unsure pixels but for specks, as ids 1 … n, and their bounding boxes."""
    ids, n = ndimage.label(entropy >= UNSURE_BITS)
    large = np.bincount(ids.ravel(), minlength=n + 1) >= _FEWEST_PX
    large[0] = False
    ids = np.where(large, np.cumsum(large), 0)[ids].astype(np.int32)
    return ids, ndimage.find_objects(ids)


def _depth(inside: Flags) -> NDArray[np.float64]:
    """Distance to the nearest pixel outside; the end of the image is no border."""
    if inside.all():
        return np.full(inside.shape, np.inf)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(inside)
    return depth


def _objects(mean: Floats, ids: Ids, n: int) -> NDArray[np.int64]:
    """Count the sure parts of objects that each region touches; 1 where there is none, an object of its own."""
    sure = (mean.argmax(0) + 1 != BACKGROUND) & (mean.sum(0) > 0) & (ids == 0)
    cores, _ = ndimage.label(sure)
    near = largest_near(cores, 1)
    touching = np.unique(np.stack([ids[ids > 0], near[ids > 0]]), axis=1)
    counts = np.bincount(touching[0, touching[1] > 0], minlength=n + 1)[1:]
    return np.maximum(counts, 1).astype(np.int64)


def _means(values: Floats | Flags | NDArray[np.float64], ids: Ids, n: int) -> NDArray[np.float64]:
    """Mean of each region, (n,); 0 for one without a pixel."""
    counts = np.bincount(ids.ravel(), minlength=n + 1)[1:]
    mean: NDArray[np.float64] = np.bincount(ids.ravel(), values.ravel(), minlength=n + 1)[1:] / np.maximum(counts, 1)
    return mean
