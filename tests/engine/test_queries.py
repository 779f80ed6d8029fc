"""What to annotate next, and with which kind of mark."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_weakseg.engine.queries import (
    Query,
    Suggestion,
    balanced_random,
    k_centre,
    most_uncertain,
    suggest,
)
from napari_weakseg.engine.query_marks import SECONDS, MarkOffer, best_mark, mark_offers
from napari_weakseg.engine.query_measures import Candidate, Place, measure

SHAPES = [(40, 48), (12, 20, 24)]
QUERIES: tuple[Query, ...] = ("random", "entropy", "margin", "disagreement", "diversity", "mixture")
SEEDS = range(5)
BLOB = (MarkOffer("blob", 1.0, 5.0),)
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])
every_query = pytest.mark.parametrize("query", QUERIES)


def place(name: str = "a", shape: Sequence[int] = (40, 48)) -> Place:
    return Place(name, (), tuple(slice(0, s) for s in shape))


def everything(classes: int, shape: Sequence[int]) -> NDArray[np.uint32]:
    return np.full(shape, 2 ** (classes + 1) - 2, np.uint32)


def softmax(rng: np.random.Generator, views: int, classes: int, shape: Sequence[int]) -> NDArray[np.float32]:
    logits = 3 * rng.normal(size=(views, classes, *shape))
    p = np.exp(logits - logits.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def measured(
    probabilities: NDArray[np.float32],
    allowed: NDArray[np.uint32] | None = None,
    tags: dict[int, bool] | None = None,
) -> Candidate:
    shape = probabilities.shape[2:]
    if allowed is None:
        allowed = everything(probabilities.shape[1], shape)
    return measure(probabilities, allowed, at=place(shape=shape), features=np.zeros(3, np.float32), tags=tags)


def two_classes(object_: NDArray[np.float64], views: int = 1) -> NDArray[np.float32]:
    """Views that agree, (V, 2, *S), from the probability of an object."""
    return np.stack([np.stack([1 - object_, object_]).astype(np.float32)] * views)


def from_middle(shape: Sequence[int]) -> NDArray[np.float64]:
    grid = np.meshgrid(*[np.arange(s) - s // 2 for s in shape], indexing="ij")
    return np.sqrt(np.sum([g.astype(float) ** 2 for g in grid], axis=0))


def candidate(name: str, features: Sequence[float] = (0.0,), **changes: object) -> Candidate:
    plain = Candidate(
        name,
        (),
        (slice(0, 8), slice(0, 8)),
        features=np.asarray(features, np.float32),
        entropy=0.5,
        margin=0.5,
        disagreement=0.1,
        unsure=0.3,
        disputed=0.12,
        presence=np.array([1, 0.5], np.float32),
        stratum=0,
        known=0.0,
        annotated=False,
        offers=BLOB,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def crowd(rng: np.random.Generator, n: int) -> list[Candidate]:
    return [
        candidate(
            f"image{i:02d}",
            tuple(rng.normal(size=4)),
            entropy=float(rng.random()),
            margin=float(rng.random()),
            disagreement=float(rng.random()),
            stratum=int(rng.integers(4)),
            annotated=bool(rng.random() < 0.3),
            known=float(rng.choice([0, 0.1, 1])),
        )
        for i in range(n)
    ]


def names(found: Sequence[Suggestion]) -> list[str]:
    return [s.image for s in found]


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_measures_stay_in_their_ranges(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    views, classes = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    allowed = rng.integers(0, 2 ** (classes + 1), shape).astype(np.uint32)
    c = measured(softmax(rng, views, classes, shape), allowed, tags={})
    assert 0 <= c.entropy <= np.log2(classes) + 1e-5
    assert 0 <= c.margin <= 1
    assert 0 <= c.disagreement <= np.log2(min(views, classes)) + 1e-5
    assert c.disagreement <= c.entropy + 1e-6
    assert 0 <= c.unsure <= 1
    assert 0 <= c.disputed <= 1
    assert 0 <= c.known <= 1
    assert c.presence.shape == (classes,)
    assert c.presence.dtype == np.float32
    assert ((c.presence >= 0) & (c.presence <= 1)).all()
    assert 0 <= c.stratum <= classes
    assert all(o.bits >= 0 and np.isfinite(o.bits) and o.seconds > 0 for o in c.offers)


@both
def test_measures_are_what_their_formulas_say(shape: tuple[int, ...]) -> None:
    p = softmax(np.random.default_rng(0), 3, 4, shape)
    c = measured(p)
    mean = p.mean(0)
    entropy = -(mean * np.log2(mean)).sum(0)
    top = np.sort(mean, axis=0)
    assert c.entropy == pytest.approx(entropy.mean(), rel=1e-4)
    assert c.margin == pytest.approx((top[-1] - top[-2]).mean(), rel=1e-4)
    assert c.disagreement == pytest.approx((entropy + (p * np.log2(p)).sum(1).mean(0)).mean(), rel=1e-4)
    assert c.disputed == pytest.approx(1 - (p.argmax(1) == p.argmax(1)[0]).all(0).mean())
    assert c.unsure == pytest.approx((entropy >= 0.5).mean())


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_views_that_agree_do_not_disagree(shape: tuple[int, ...], seed: int) -> None:
    one = softmax(np.random.default_rng(seed), 1, 3, shape)
    for views in (1, 3, 5):
        c = measured(np.repeat(one, views, axis=0))
        assert c.disagreement == 0
        assert c.disputed == 0
        assert c.entropy == measured(one).entropy > 0


@both
def test_views_that_are_sure_of_different_classes_disagree_by_one_bit(shape: tuple[int, ...]) -> None:
    p = np.zeros((2, 2, *shape), np.float32)
    p[0, 0] = p[1, 1] = 1
    c = measured(p)
    assert (c.disagreement, c.entropy, c.margin, c.disputed) == (1, 1, 0, 1)


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_decided_pixels_contribute_nothing(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = softmax(rng, 3, 3, shape)
    decided = rng.random(shape) < 0.5
    allowed = everything(3, shape)
    allowed[decided] = rng.choice([0, 0b10, 0b100], int(decided.sum()))
    c = measured(p, allowed)
    p[:, :, decided] = softmax(rng, 3, 3, (int(decided.sum()),))  # whatever the network says there
    other = measured(p, allowed)
    assert (c.entropy, c.margin, c.disagreement) == (other.entropy, other.margin, other.disagreement)
    assert (c.unsure, c.disputed, c.offers) == (other.unsure, other.disputed, other.offers)
    open_only = measured(p[:, :, ~decided][..., None])
    assert c.entropy == pytest.approx(open_only.entropy, rel=1e-5)
    assert c.margin == pytest.approx(open_only.margin, rel=1e-5)
    assert c.known == pytest.approx(decided.mean())
    assert c.annotated


@both
def test_a_class_that_is_ruled_out_makes_nothing_unsure(shape: tuple[int, ...]) -> None:
    p = np.zeros((1, 3, *shape), np.float32)
    p[0, 0], p[0, 2] = 0.5, 0.5
    assert measured(p).entropy == 1
    ruled_out = measured(p, everything(3, shape) & ~np.uint32(0b1000))
    assert ruled_out.entropy == 0
    assert ruled_out.presence.tolist() == [1, 0, 0]
    assert not ruled_out.annotated


def test_a_guess_that_a_person_contradicts_is_no_guess() -> None:
    p = np.zeros((2, 3, 8, 8), np.float32)
    p[:, 0] = 1
    c = measured(p, np.full((8, 8), 0b1100, np.uint32))
    assert c.entropy == 1
    assert c.margin == 0


@pytest.mark.parametrize("allowed", [0b10, 0])
def test_a_place_where_nothing_is_open_is_all_known_and_certain(allowed: int) -> None:
    p = softmax(np.random.default_rng(0), 2, 3, (8, 9))
    c = measured(p, np.full((8, 9), allowed, np.uint32), tags={})
    assert (c.entropy, c.margin, c.disagreement, c.unsure, c.disputed, c.known) == (0, 1, 0, 0, 0, 1)
    assert c.annotated == bool(allowed)
    assert all(o.bits == 0 for o in c.offers)


def test_presence_follows_marks_and_tags_before_the_network() -> None:
    p = two_classes(np.full((40, 50), 0.2))
    assert measured(p).presence.tolist() == pytest.approx([0.8, 0.2])
    assert measured(p).stratum == 0
    assert measured(p, tags={2: True}).presence[1] == 1
    assert measured(p, tags={2: True}).stratum == 2
    assert measured(p, tags={2: False}).presence[1] == 0
    allowed = everything(2, (40, 50))
    allowed[3, 4] = 0b100
    assert measured(p, allowed).presence[1] == 1
    small = np.zeros((40, 50))
    small[5:7, 5:7] = 0.9
    assert measured(two_classes(small)).presence[1] == pytest.approx(0.9)
    assert measured(two_classes(small)).stratum == 2


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="Got:"):
        measured(np.zeros((1, 2, 8, 8), np.float32), everything(2, (8, 9)))
    with pytest.raises(ValueError, match="Got:"):
        measured(np.zeros((0, 2, 8, 8), np.float32), everything(2, (8, 8)))


# choosing


@pytest.mark.parametrize("seed", range(20))
def test_balanced_choice_differs_by_one_at_most_while_strata_last(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 4, 30).tolist()
    available = Counter(strata)
    for n in range(31):
        picked = balanced_random(strata, n, rng=rng)
        assert len(set(picked.tolist())) == n
        counts = Counter(strata[i] for i in picked)
        lasting = [counts[s] for s in available if counts[s] < available[s]]
        assert not lasting or max(counts.values(), default=0) - min(lasting) <= 1


def test_chance_reaches_every_member() -> None:
    strata = [0] * 5 + [1] * 5
    drawn = {int(i) for seed in range(60) for i in balanced_random(strata, 2, rng=np.random.default_rng(seed))}
    assert drawn == set(range(10))


def test_the_most_uncertain_come_first_and_equals_by_chance() -> None:
    value = np.array([0.1, 0.9, 0.5, 0.9])
    orders = {tuple(most_uncertain(value, 4, rng=np.random.default_rng(s)).tolist()) for s in range(20)}
    assert orders == {(1, 3, 2, 0), (3, 1, 2, 0)}


def test_the_core_set_takes_far_points_and_covers_every_group() -> None:
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0], [10, 0], [0, 10], [20, 20]])
    points = np.concatenate([m + 0.1 * rng.normal(size=(6, 2)) for m in middles])
    even = np.ones(len(points))
    picked, distance = k_centre(points, 3, points[:1], weight=even, rng=rng)
    assert picked[0] // 6 == 3
    assert {int(i) // 6 for i in picked} == {1, 2, 3}
    assert (np.diff(distance) <= 0).all()
    alone, _ = k_centre(points, 4, np.zeros((0, 2)), weight=even, rng=rng)
    assert {int(i) // 6 for i in alone} == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_pick_of_the_core_set_is_the_farthest_that_is_left(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    picked, distance = k_centre(points, 20, centres, weight=np.ones(20), rng=rng)
    assert sorted(picked.tolist()) == list(range(20))
    for t, i in enumerate(picked):
        so_far = np.concatenate([centres, points[picked[:t]]])
        near = np.linalg.norm(points[:, None] - so_far, axis=2).min(1)
        assert near[i] == pytest.approx(near[~np.isin(np.arange(20), picked[:t])].max())
        assert distance[t] == pytest.approx(near[i])


def test_weight_turns_the_core_set_to_the_unsure() -> None:
    points = np.array([[1.0], [2.0], [3.0]])
    centre = np.zeros((1, 1))
    rng = np.random.default_rng(0)
    assert k_centre(points, 1, centre, weight=np.array([1.0, 1.0, 1.0]), rng=rng)[0].tolist() == [2]
    assert k_centre(points, 1, centre, weight=np.array([1.0, 2.0, 1.0]), rng=rng)[0].tolist() == [1]


# suggesting


@every_query
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_candidates_does_not_matter_and_a_seed_is_enough(query: Query, seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates = crowd(rng, 25)
    shuffled = [candidates[i] for i in rng.permutation(25)]
    first, second, third = (
        suggest(c, 8, query=query, rng=np.random.default_rng(seed)) for c in (candidates, candidates, shuffled)
    )
    assert first == second == third
    assert len(set(names(first))) == len(first)


@every_query
@pytest.mark.parametrize("seed", SEEDS)
def test_annotated_places_wait_and_finished_ones_never_come(query: Query, seed: int) -> None:
    candidates = crowd(np.random.default_rng(seed), 25)
    by_name = {c.image: c for c in candidates}
    found = [by_name[n] for n in names(suggest(candidates, 99, query=query, rng=np.random.default_rng(seed)))]
    assert {c.image for c in found} == {c.image for c in candidates if c.known < 1}
    waits = [c.annotated for c in found]
    assert waits == sorted(waits)
    n_fresh = waits.count(False)
    few = suggest(candidates, n_fresh, query=query, rng=np.random.default_rng(seed))
    assert not any(by_name[n].annotated for n in names(few))


@every_query
def test_nothing_to_suggest_gives_nothing(query: Query) -> None:
    rng = np.random.default_rng(0)
    assert suggest([], 3, query=query, rng=rng) == []
    assert suggest([candidate("a")], 0, query=query, rng=rng) == []
    assert suggest([candidate("a", annotated=True, known=1.0)], 3, query=query, rng=rng) == []
    one_class = replace(measured(np.ones((2, 1, 8, 8), np.float32)), image="b")
    assert suggest([one_class], 3, query=query, rng=rng) == []


@every_query
def test_fewer_candidates_than_asked_for_all_come(query: Query) -> None:
    few = [candidate("a", (0.0,)), candidate("b", (1.0,), annotated=True, known=0.2)]
    assert names(suggest(few, 5, query=query, rng=np.random.default_rng(0))) == ["a", "b"]


@every_query
def test_candidates_that_are_all_alike_are_suggested_by_chance(query: Query) -> None:
    alike = [candidate(f"i{i}", (0.1, 0.1), entropy=0.0, margin=1.0, disagreement=0.0) for i in range(7)]
    firsts = set()
    for seed in range(40):
        found = suggest(alike, 3, query=query, rng=np.random.default_rng(seed))
        assert len(set(names(found))) == 3
        assert np.isfinite([s.score for s in found]).all()
        firsts.add(found[0].image)
    assert len(firsts) > 3


def test_each_query_follows_its_own_measure() -> None:
    candidates = [
        candidate("entropy", entropy=1.0),
        candidate("margin", margin=0.0),
        candidate("disagreement", disagreement=0.9),
    ]
    for query in ("entropy", "margin", "disagreement"):
        assert names(suggest(candidates, 1, query=query, rng=np.random.default_rng(0))) == [query]


def test_what_is_mostly_decided_is_less_worth_a_look() -> None:
    pair = [candidate("open", entropy=0.6, known=0.1), candidate("done", entropy=0.9, known=0.9)]
    assert names(suggest(pair, 1, query="entropy", rng=np.random.default_rng(0))) == ["open"]


def test_diversity_starts_from_what_is_annotated() -> None:
    line = [candidate(f"{x}", (float(x),)) for x in (1, 2, 9)]
    line += [candidate("0", (0.0,), annotated=True, known=1.0), candidate("10", (10.0,), annotated=True, known=0.5)]
    found = suggest(line, 2, query="diversity", rng=np.random.default_rng(0))
    assert names(found) == ["2", "1"]
    assert found[0].reason == "Of all that is left, it looks least like what is annotated or suggested so far."


def test_the_mixture_prefers_what_is_unsure_and_new_to_either_alone() -> None:
    known = candidate("known", (0.0,), annotated=True, known=1.0)
    trio = [
        candidate("unsure", (0.1,), entropy=1.0),
        candidate("new", (2.0,), entropy=0.05),
        candidate("both", (1.5,), entropy=0.8),
    ]
    found = suggest([known, *trio], 3, random_share=0, rng=np.random.default_rng(0))
    assert found[0].image == "both"
    assert found[0].reason.endswith("of it, and it looks unlike what is annotated or suggested so far.")
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
    assert not next(s for s in found if s.image == "unsure").reason.endswith("so far.")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_mixture_keeps_its_random_share(share: float) -> None:
    rng = np.random.default_rng(1)
    candidates = [candidate(f"{i:02d}", tuple(rng.normal(size=3)), entropy=float(rng.random())) for i in range(30)]
    counts = []
    for n in (1, 6, 7) * 40:
        found = suggest(candidates, n, random_share=share, rng=rng)
        by_chance = sum("random" in s.reason for s in found)
        assert np.floor(share * n) <= by_chance <= np.ceil(share * n)
        assert all(s.score == 0 for s in found if "random" in s.reason)
        counts.append((by_chance, n))
    total, asked = np.sum(counts, axis=0)
    assert total / asked == pytest.approx(share, abs=0.04)


def test_the_random_query_is_balanced_over_strata() -> None:
    candidates = [candidate(f"{i:02d}", stratum=s) for i, s in enumerate([0] * 20 + [2] * 5 + [3] * 5)]
    strata = {c.image: c.stratum for c in candidates}
    found = suggest(candidates, 9, query="random", rng=np.random.default_rng(0))
    for taken in (3, 6, 9):  # whoever stops early has a balanced choice as well
        assert Counter(strata[n] for n in names(found[:taken])) == dict.fromkeys((0, 2, 3), taken // 3)


def test_reasons_are_sentences_with_numbers() -> None:
    def reason(query: Query, c: Candidate) -> str:
        return suggest([c], 1, query=query, random_share=0, rng=np.random.default_rng(0))[0].reason

    one = candidate("a")
    assert reason("disagreement", one) == "The views of the network disagree on 12 % of it."
    assert reason("entropy", one) == reason("mixture", one) == "The network is unsure about 30 % of it."
    assert reason("entropy", candidate("b", unsure=0.001)) == "The network is unsure about less than 1 % of it."
    assert reason("diversity", one) == "It looks typical of these images."


def test_wrong_wishes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="random_share"):
        suggest([], 1, random_share=1.5, rng=rng)
    with pytest.raises(ValueError, match="query"):
        suggest([], 1, query="best", rng=rng)  # type: ignore[arg-type]


# kinds of mark


def kind_for(object_: NDArray[np.float64], tags: dict[int, bool] | None = None) -> str:
    return best_mark(measured(two_classes(object_), tags=tags).offers).kind


def ring(shape: Sequence[int], radius: float) -> NDArray[np.float64]:
    """An object that the network is sure of, but for its outline."""
    d = from_middle(shape)
    return np.where(d < radius - 2, 1.0, np.where(d <= radius + 2, 0.5, 0.0))


def test_the_mark_goes_from_tag_over_blob_and_box_to_exact() -> None:
    shape = (96, 96)
    speck = np.zeros(shape)
    speck[:3, :3] = 0.5
    assert kind_for(speck, tags={}) == "tag"
    assert kind_for(np.where(from_middle(shape) < 12, 0.5, 0), tags={2: True}) == "blob"
    assert kind_for(ring(shape, 5)) == "box"
    assert kind_for(ring(shape, 30)) == "exact"


def test_the_same_order_holds_in_volumes() -> None:
    shape = (24, 40, 40)
    speck = np.zeros(shape)
    speck[0, :7, :7] = 0.5
    assert kind_for(speck, tags={}) == "tag"
    assert kind_for(np.where(from_middle(shape) < 8, 0.5, 0), tags={2: True}) == "blob"
    assert kind_for(ring(shape, 9)) == "exact"


def test_a_tag_that_is_known_or_cannot_be_given_is_not_asked_for() -> None:
    speck = np.zeros((96, 96))
    speck[:3, :3] = 0.5
    for tags in ({1: True, 2: True}, {1: True, 2: False}, None):
        assert kind_for(speck, tags=tags) != "tag"


def test_where_nothing_is_learned_from_presence_only_absence_settles_something() -> None:
    p, entropy = np.full((2, 8, 8), 0.5, np.float32), np.ones((8, 8), np.float32)

    def bits(present: float, tags_teach: bool) -> float | None:
        presence = np.array([1, present], np.float32)
        offers = mark_offers(p, entropy, presence=presence, tags_teach=tags_teach)
        return next((offer.bits for offer in offers if offer.kind == "tag"), None)

    assert bits(0.5, True) == pytest.approx(1)
    assert bits(0.5, False) == pytest.approx(0.5)
    assert bits(0.95, True) == pytest.approx(0.286, abs=0.01)
    assert bits(0.99, False) is None  # hardly ever absent


def test_only_classes_in_doubt_cost_time_for_a_tag() -> None:
    speck = np.zeros((96, 96))
    speck[:3, :3] = 0.5
    offer = best_mark(measured(two_classes(speck), tags={}).offers)
    assert (offer.kind, offer.seconds) == ("tag", SECONDS["tag"])
    assert offer.bits == pytest.approx(1)


def test_what_is_unsure_all_over_wants_a_blob_whatever_its_size() -> None:
    for radius in (6, 20, 40, 1000):
        assert kind_for(np.where(from_middle((96, 96)) < radius, 0.5, 0)) == "blob"
    for shape in ((24, 32), (1, 2, 5)):
        cold = measured(two_classes(np.full(shape, 0.5)))
        assert {o.kind: o.bits for o in cold.offers} == {"blob": 1, "exact": 1}


def test_nothing_to_learn_asks_for_one_blob() -> None:
    offer = best_mark(measured(two_classes(np.zeros((16, 16))), tags={}).offers)
    assert (offer.kind, offer.bits, offer.seconds) == ("blob", 0, SECONDS["blob"])


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_an_exact_mask_tells_at_least_as_much_as_blobs_or_boxes(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    object_ = np.zeros(shape)
    for _ in range(4):
        middle = [rng.integers(s) for s in shape]
        grid = np.meshgrid(*[np.arange(s) - m for s, m in zip(shape, middle, strict=True)], indexing="ij")
        near = np.sum([g.astype(float) ** 2 for g in grid], axis=0) < rng.integers(3, 9) ** 2
        object_[near] = rng.choice([0.3, 0.5, 1.0])
    offers = {o.kind: o for o in measured(two_classes(object_)).offers}
    assert all(o.bits <= offers.get("exact", o).bits + 1e-9 for o in offers.values())


@both
def test_time_grows_with_the_number_of_objects(shape: tuple[int, ...]) -> None:
    long = (*shape[:-1], 4 * shape[-1])
    objects = np.zeros(long)
    one = ring(shape, 5)
    objects[..., : shape[-1]] = one
    single = {o.kind: o for o in measured(two_classes(objects)).offers}
    objects[..., 2 * shape[-1] : 3 * shape[-1]] = one
    double = {o.kind: o for o in measured(two_classes(objects)).offers}
    for kind in ("box", "exact"):
        assert single[kind].seconds == SECONDS[kind]
        assert double[kind].seconds == 2 * SECONDS[kind]
        assert double[kind].bits == pytest.approx(2 * single[kind].bits)


def test_touching_objects_are_counted_by_their_sure_parts() -> None:
    object_ = np.full((60, 60), 1.0)
    object_[28:32], object_[:, 28:32] = 0.5, 0.5
    offers = {o.kind: o for o in measured(two_classes(object_)).offers}
    assert offers["exact"].seconds == 4 * SECONDS["exact"]


def test_pixels_of_an_object_are_one_decision() -> None:
    def blob_bits(radius: float) -> float:
        p = two_classes(np.where(from_middle((96, 96)) < radius, 0.5, 0))[0]
        entropy = np.where(from_middle((96, 96)) < radius, 1, 0).astype(np.float32)
        return {o.kind: o.bits for o in mark_offers(p, entropy, presence=None)}["blob"]

    assert blob_bits(10) == blob_bits(40) == 1


def test_suggestions_carry_the_mark_and_its_time() -> None:
    c = replace(measured(two_classes(ring((96, 96), 30))), image="big", frame=(2,))
    (found,) = suggest([c], 1, rng=np.random.default_rng(0))
    assert (found.image, found.frame, found.region) == ("big", (2,), c.region)
    assert (found.kind, found.seconds) == ("exact", SECONDS["exact"])
