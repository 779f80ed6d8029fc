"""How unsure the network is about an image, or a part of one, that might be annotated next.

NumPy and SciPy, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; K classes, V views of an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region
from napari_weakseg.engine.growth_step import Flags, Floats
from napari_weakseg.engine.query_marks import UNSURE_BITS, MarkOffer, entropy_bits, mark_offers, presence_of

__all__ = ["Candidate", "Place", "measure"]

_LEAST_MASS = 1e-6  # of a guess that agrees with a person


@dataclass(frozen=True, slots=True)
class Place:
    """An image or a part of one: name, index along the axes that are not spatial, region of the spatial axes."""

    image: str
    frame: tuple[int, ...]
    region: Region


@dataclass(frozen=True, slots=True, eq=False)
class Candidate(Place):
    """A place that might be annotated next; made by `measure`.

    A pixel is open where more than one class is possible. Entropy, margin and disagreement are means over open pixels.

    Attributes
    ----------
    features : float32 array, (F,)
        Encoder features, averaged over the place.
    entropy : float
        Of the mean of the views, in bits; 0 to log2 K.
    margin : float
        Between the two likeliest classes, 0 to 1; 1 where nothing is open.
    disagreement : float
        Mutual information between class and view, in bits; 0 where all views agree.
    unsure, disputed : float
        Share of all pixels where the entropy is at least half a bit; where views differ in the likeliest class.
    presence : float32 array, (K,)
        Probability that each class occurs.
    stratum : int
        Class that it stands for in balanced choice, 0 if unknown.
    known : float
        Share of pixels that are not open.
    annotated : bool
        Some pixel is decided: one class is left.
    offers : tuple of MarkOffer
        What each kind of mark is worth here.
    """

    features: Floats
    entropy: float
    margin: float
    disagreement: float
    unsure: float
    disputed: float
    presence: Floats
    stratum: int
    known: float
    annotated: bool
    offers: tuple[MarkOffer, ...]


def measure(
    probabilities: Floats,
    allowed: NDArray[np.uint32],
    *,
    at: Place,
    features: Floats,
    tags: Mapping[int, bool] | None,
    tags_teach: bool = True,
) -> Candidate:
    """Measure how unsure the network is about what a person has left open.

    Every view is first restricted to the allowed classes, so that decided pixels and conflicts contribute 0. The
    disagreement is the mutual information of Houlsby et al. [1]_ (BALD), with views in place of posterior samples.

    Parameters
    ----------
    probabilities : float array, (V, K, *S)
        Of one teacher that saw the place in V ways; summing to 1 over the classes.
    allowed : uint32 array, (*S)
        Bit k set = class id k is possible, as in `Knowledge.allowed`.
    at : Place
    features : float array, (F,)
    tags : mapping of int to bool, optional
        Class id → present or absent, as far as known. None where no tag can be given, since it would be about more than
        this place.
    tags_teach : bool
        Whether training learns from a class that is said to be present.

    References
    ----------
    .. [1] N. Houlsby, F. Huszár, Z. Ghahramani, M. Lengyel, "Bayesian active learning for classification and
       preference learning", arXiv:1112.5745, 2011.
    """
    if probabilities.ndim < 3 or probabilities.shape[2:] != allowed.shape or not probabilities.size:
        shapes = f"{probabilities.shape} and {allowed.shape}"
        raise ValueError(f"probabilities must be (V, K, *S) and allowed (*S). Got: {shapes}")
    bits = np.arange(1, probabilities.shape[1] + 1, dtype=np.uint32).reshape(-1, *[1] * allowed.ndim)
    possible = (allowed >> bits & 1).astype(bool)
    count = possible.sum(0)
    unsettled = count > 1
    mean, expected, disputed = _joined(probabilities, possible)
    entropy = entropy_bits(mean)
    second, first = np.partition(np.concatenate([mean, np.zeros_like(mean[:1])]), -2, axis=0)[-2:]
    presence = presence_of(mean, possible & (count == 1), tags or {})
    return Candidate(
        at.image,
        at.frame,
        at.region,
        features=np.asarray(features, np.float32),
        entropy=_mean_where(entropy, unsettled),
        margin=_mean_where(first - second, unsettled, otherwise=1.0),
        disagreement=_mean_where(np.maximum(entropy - expected, 0), unsettled),
        unsure=float((entropy >= UNSURE_BITS).mean()),
        disputed=float(disputed.mean()),
        presence=presence,
        stratum=_stratum(mean, presence, tags or {}),
        known=1 - float(unsettled.mean()),
        annotated=bool((count == 1).any()),
        offers=mark_offers(mean, entropy, presence=None if tags is None else presence, tags_teach=tags_teach),
    )


def _joined(probabilities: Floats, possible: Flags) -> tuple[Floats, Floats, Flags]:
    """Mean of the restricted views (K, *S), mean of their entropies (*S), and where they differ in the best class."""
    count = possible.sum(0)
    even = possible / np.maximum(count, 1).astype(np.float32)
    mean, expected = np.zeros(possible.shape, np.float32), np.zeros(count.shape, np.float32)
    best, disputed = None, np.zeros(count.shape, bool)
    for i, view in enumerate(probabilities, 1):
        kept = view.astype(np.float32) * possible
        mass = kept.sum(0)
        guess = np.where(mass > _LEAST_MASS, kept / np.maximum(mass, _LEAST_MASS), even)
        mean += (guess - mean) / i  # in this form the mean of equal views is exactly the view
        expected += (entropy_bits(guess) - expected) / i
        likeliest = guess.argmax(0)
        best = likeliest if best is None else best
        disputed |= likeliest != best
    return mean, expected, disputed


def _mean_where(values: Floats, where: Flags, *, otherwise: float = 0.0) -> float:
    return float(values[where].mean(dtype=np.float64)) if where.any() else otherwise


def _stratum(mean: Floats, presence: Floats, tags: Mapping[int, bool]) -> int:
    """Class of objects with the largest area, of those tagged as present or else of the likely ones."""
    area = mean.reshape(len(mean), -1).sum(1)
    tagged = [k for k, present in tags.items() if present and k != BACKGROUND]
    likely = [k for k in range(1, len(mean) + 1) if k != BACKGROUND and presence[k - 1] >= 0.5]
    return max(tagged or likely, key=lambda k: (area[k - 1], -k), default=0)
