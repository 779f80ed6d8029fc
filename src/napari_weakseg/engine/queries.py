"""What to annotate next: how unsure the network is about each image, and which images to suggest.

Uncertainty does not beat chance by itself: Belharbi et al. [1]_ found it hardly better than random choice balanced over
the classes, and in nnActive [2]_ no method reliably beat random choice that makes sure of objects. So the default is a
mixture, our own construction: a share at random, balanced over classes; the rest unsure and unlike what is annotated.
`query_measures` tells how unsure it is, `query_marks` weighs the kinds of mark.

N candidates with F features. What is suggested does not depend on the order of the candidates.

References
----------
.. [1] S. Belharbi, I. Ben Ayed, L. McCaffrey, E. Granger, "Deep active learning for joint classification and
   segmentation with weak annotator", WACV 2021.
.. [2] C. T. Lüth et al., "nnActive: A framework for evaluation of active learning in 3D biomedical segmentation",
   arXiv:2511.19183, 2025.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from napari_weakseg.core.regions import start_of, stop_of
from napari_weakseg.engine.query_marks import Kind, best_mark
from napari_weakseg.engine.query_measures import Candidate, Place

__all__ = ["Query", "Suggestion", "balanced_random", "k_centre", "most_uncertain", "suggest"]

Query = Literal["random", "entropy", "margin", "disagreement", "diversity", "mixture"]
Indices = NDArray[np.intp]

_UNLIKE = 0.5  # distance from which two places are told to look unlike; any two are about 1.4 apart


@dataclass(frozen=True, slots=True)
class Suggestion(Place):
    """A place to annotate next.

    Attributes
    ----------
    kind : {"tag", "box", "blob", "exact"}
        The mark that tells most per second.
    seconds : float
        Human time that marks of this kind are expected to take here.
    reason : str
        One sentence for a person.
    score : float
        What the query went by; 0 where chance decided.
    """

    kind: Kind
    seconds: float
    reason: str
    score: float


def suggest(
    candidates: Sequence[Candidate],
    n: int,
    *,
    query: Query = "mixture",
    random_share: float = 0.25,
    rng: np.random.Generator,
) -> list[Suggestion]:
    """Suggest the n places to annotate next, best first.

    Places with annotations come after all others, places with nothing open not at all, so that fewer than n may come
    back.

    Parameters
    ----------
    candidates : sequence of Candidate
    n : int
    query : {"random", "entropy", "margin", "disagreement", "diversity", "mixture"}
        ``random``: balanced over strata. ``entropy``, ``margin``, ``disagreement``: the most uncertain, where decided
        pixels count as certain. ``diversity``: `k_centre`. ``mixture``: random ones among places of high entropy, times
        the distance from what is annotated or already suggested.
    random_share : float
        Share of the mixture that is drawn at random, met on average over many calls.
    rng : numpy.random.Generator

    Returns
    -------
    list of Suggestion
    """
    if query not in get_args(Query):
        raise ValueError(f"query must be one of {get_args(Query)}. Got: {query}")
    if not 0 <= random_share <= 1:
        raise ValueError(f"random_share must lie in [0, 1]. Got: {random_share}")
    ordered = sorted(candidates, key=lambda c: (c.image, c.frame, start_of(c.region), stop_of(c.region)))
    looks = _standardised(ordered)
    finished = [i for i, c in enumerate(ordered) if c.annotated and c.known == 1]
    begun = [i for i, c in enumerate(ordered) if c.annotated and c.known < 1]
    fresh = [i for i, c in enumerate(ordered) if not c.annotated and c.known < 1]
    share = {"random": 1.0, "mixture": random_share}.get(query, 0.0)
    found: list[Suggestion] = []
    for pool, seen in ((fresh, finished + begun), (begun, finished + fresh)):
        wanted = min(max(0, n - len(found)), len(pool))
        by_chance = min(wanted, int(share * wanted + rng.random()))
        drawn = [pool[i] for i in balanced_random([ordered[i].stratum for i in pool], by_chance, rng=rng)]
        rest = [i for i in pool if i not in set(drawn)]
        value = np.array([_uncertainty(ordered[i], query) for i in rest])
        if query in ("diversity", "mixture"):
            best, apart = k_centre(looks[rest], wanted - by_chance, looks[seen + drawn], weight=value, rng=rng)
        else:
            best = most_uncertain(value, wanted - by_chance, rng=rng)
            apart = np.ones(len(best))
        chosen: list[Suggestion] = []
        for i, distance in zip(best, apart, strict=True):
            alone = not seen and not drawn and not chosen
            reason = _reason(ordered[rest[i]], query, None if alone else float(distance))
            chosen.append(_suggestion(ordered[rest[i]], reason, float(value[i] * distance)))
        # among the others, so that chance has its share also where a person only takes the first
        for at, i in zip(sorted(rng.choice(wanted, by_chance, replace=False)), drawn, strict=True):
            chosen.insert(at, _suggestion(ordered[i], _reason(ordered[i], "random"), 0.0))
        found += chosen
    return found


def balanced_random(strata: Sequence[int], n: int, *, rng: np.random.Generator) -> Indices:
    """Draw n at random, as many of each stratum as of the others while they last (counts differ by 1 at most).

    Returns
    -------
    int array, (min(n, N),)
        In the order drawn.
    """
    shuffled = rng.permutation(len(strata))
    turn = np.zeros(len(strata), np.intp)
    for stratum in set(strata):
        members = shuffled[np.equal(strata, stratum)[shuffled]]
        turn[members] = np.arange(len(members))
    order: Indices = np.lexsort((rng.random(len(strata)), turn))
    return order[:n]


def most_uncertain(value: NDArray[np.float64], n: int, *, rng: np.random.Generator) -> Indices:
    """Order the n largest values, (N,), largest first; equal ones by chance."""
    order: Indices = np.lexsort((rng.random(len(value)), -value))
    return order[:n]


def k_centre(
    features: NDArray[np.float64],
    n: int,
    centres: NDArray[np.float64],
    *,
    weight: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Indices, NDArray[np.float64]]:
    """Pick n points greedily, each the farthest from all centres and points picked before: a core-set.

    k-centre greedy of Sener and Savarese [1]_. The weight, which multiplies the distance, is our addition; equal ones
    give their algorithm. Distances are Euclidean: cosine would have no answer where features do not vary.

    Parameters
    ----------
    features : float array, (N, F)
        Standardised.
    n : int
    centres : float array, (M, F)
        Without any, the first pick is a typical point: ``1 / (1 + distance from the mean)`` stands for the distance.
    weight : float array, (N,)
        Not negative.
    rng : numpy.random.Generator
        Decides between equal points, after product, distance and weight.

    Returns
    -------
    picked : int array, (min(n, N),)
    distance : float array, (min(n, N),)
        From the nearest centre or point picked before.

    References
    ----------
    .. [1] O. Sener, S. Savarese, "Active learning for convolutional neural networks: A core-set approach", ICLR 2018.
    """
    chance, left = rng.random(len(features)), np.ones(len(features), bool)
    if len(centres) or not len(features):
        near = cdist(features, centres).min(1, initial=np.inf)
    else:
        near = 1 / (1 + cdist(features, features.mean(0, keepdims=True))[:, 0])
    picked: list[int] = []
    distance: list[float] = []
    for _ in range(min(n, len(features))):
        best = int(np.lexsort((chance, weight, near, weight * near, left))[-1])
        step = cdist(features, features[[best]])[:, 0]
        distance.append(float(near[best]))
        near = np.minimum(near, step) if picked or len(centres) else step
        picked.append(best)
        left[best] = False
    return np.asarray(picked, np.intp), np.asarray(distance, np.float64)


def _uncertainty(candidate: Candidate, query: Query) -> float:
    """How uncertain a place is on average over all pixels, of which the decided ones are certain."""
    if query == "diversity":
        return 1.0
    value = {"margin": 1 - candidate.margin, "disagreement": candidate.disagreement}.get(query, candidate.entropy)
    return value * (1 - candidate.known)


def _suggestion(c: Candidate, reason: str, score: float) -> Suggestion:
    mark = best_mark(c.offers)
    return Suggestion(c.image, c.frame, c.region, mark.kind, mark.seconds, reason, score)


def _reason(c: Candidate, query: Query, distance: float | None = None) -> str:
    """Say why a place is suggested; `distance` from the nearest that is annotated or suggested, if there is any."""
    if query == "random":
        return "Drawn at random, to find mistakes that the network does not suspect."
    if query == "diversity" and distance is None:
        return "It looks typical of these images."
    if query == "diversity":
        return "Of all that is left, it looks least like what is annotated or suggested so far."
    if query == "disagreement":
        return f"The views of the network disagree on {_percent(c.disputed)} of it."
    new = query == "mixture" and distance is not None and distance >= _UNLIKE
    ending = ", and it looks unlike what is annotated or suggested so far." if new else "."
    return f"The network is unsure about {_percent(c.unsure)} of it{ending}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def _standardised(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Features with mean 0 and variance 1 over the candidates, or all 0, over the root of F, (N, F)."""
    if not candidates:
        return np.zeros((0, 0))
    features = np.stack([c.features for c in candidates]).astype(np.float64)
    scale = np.where(np.ptp(features, axis=0) > 0, features.std(0), np.inf) * max(1, features.shape[1]) ** 0.5
    scaled: NDArray[np.float64] = (features - features.mean(0)) / scale
    return scaled
