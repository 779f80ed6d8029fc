"""Invariants of growth: what it may never touch, and where it must end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.growth import Evidence, GrowthRules, GrowthState, grow

FULL = np.uint32(0b1110)  # background 1, two object classes 2 and 3
SHAPES = [(24, 26), (9, 12, 13)]
MODES = ["monotone", "regrow"]
scenes = st.tuples(st.integers(0, 2**20), st.sampled_from(SHAPES))


def distance_to(mask: NDArray[np.bool_], radius: tuple[float, ...]) -> NDArray[np.float64]:
    return ndimage.distance_transform_edt(~mask, sampling=[1 / r for r in radius])


def random_scene(seed: int, shape: tuple[int, ...]) -> tuple[GrowthState, Evidence, GrowthRules]:
    """Small blobs of two classes, smooth random probabilities, scribbles, interfaces and boxes."""
    rng = np.random.default_rng(seed)
    n = 4
    seeds = np.zeros(shape, np.int32)
    for i in range(1, n + 1):
        middle = [int(rng.integers(1, s - 1)) for s in shape]
        place = tuple(slice(m - 1, m + 1) for m in middle)
        seeds[place][seeds[place] == 0] = i
    present = np.unique(seeds[seeds > 0])
    seeds = np.searchsorted(np.r_[0, present], seeds).astype(np.int32)
    parts = [ndimage.label(seeds == i)[0] for i in range(1, len(present) + 1)]
    for i, part in enumerate(parts, 1):
        seeds[(part > 1) & (seeds == i)] = 0
    seed_class = np.r_[0, rng.integers(2, 4, len(present))].astype(np.uint8)
    logits = ndimage.gaussian_filter(rng.normal(size=(3, *shape)), (0, *[1.5] * len(shape))) * 25
    p = np.exp(logits - logits.max(0))
    p = (p / p.sum(0)).astype(np.float32)
    allowed = np.full(shape, FULL)
    ruled_out = rng.random(shape) < 0.1
    allowed[ruled_out] = 0b0010
    painted = seeds > 0
    allowed[painted] = (np.uint32(1) << seed_class.astype(np.uint32))[seeds[painted]]
    separation = (rng.random(shape) < 0.1).astype(np.float32)
    where = ndimage.find_objects(seeds)[0]
    box = (tuple(s.start - 2 for s in where), tuple(s.stop + 1 for s in where))
    evidence = Evidence(p, allowed, separation, boxes={1: box})
    rules = GrowthRules(tuple(rng.choice([1.0, 1.5, 2.0, 3.0], len(shape)).tolist()), tau=0.5)
    return GrowthState.start(seeds, seed_class), evidence, rules


def touching_objects(shape: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Two ellipsoids fused into one blob, and a small seed in each."""
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in shape], indexing="ij"))
    middles = [[s / 2 for s in shape], [s / 2 for s in shape]]
    middles[0][-1], middles[1][-1] = shape[-1] * 0.3, shape[-1] * 0.7
    d = np.stack(
        [np.sqrt(sum(((g - m) / (0.28 * s)) ** 2 for g, m, s in zip(grid, c, shape, strict=True))) for c in middles]
    )
    nearest = d.argmin(0).astype(np.int32) + 1
    return np.where(d.min(0) < 1, nearest, 0), np.where(d.min(0) < 0.35, nearest, 0)


def certain(objects: NDArray[np.int32], class_id: int = 2) -> Evidence:
    p = np.zeros((3, *objects.shape), np.float32)
    p[class_id - 1] = objects > 0
    p[0] = objects == 0
    return Evidence(p, np.full(objects.shape, FULL))


@settings(max_examples=60, deadline=None)
@given(scenes, st.sampled_from(MODES))
def test_growth_keeps_to_its_rules(scene: tuple[int, tuple[int, ...]], mode: str) -> None:
    state, evidence, rules = random_scene(*scene)
    rules = replace(rules, mode=mode)
    for t in range(4):
        before, state = state, state.advanced(evidence, rules)
        assert (state.ids[state.seeds > 0] == state.seeds[state.seeds > 0]).all()
        if mode == "monotone":
            assert (state.ids[before.ids > 0] == before.ids[before.ids > 0]).all()
        new = (state.ids > 0) & (state.seeds == 0)
        class_of = state.seed_class[state.ids]
        assert (((evidence.allowed >> class_of) & 1) == 1)[new].all()
        assert (evidence.separation[new] < 0.5).all()
        start, stop = evidence.boxes[1]
        outside = np.ones(state.ids.shape, bool)
        outside[tuple(slice(max(0, a), b) for a, b in zip(start, stop, strict=True))] = False
        assert not (state.ids[new & outside] == 1).any()
        for i in range(1, len(state.seed_class)):
            mine = state.ids == i
            root = before.ids == i if mode == "monotone" else state.seeds == i
            steps = 1 if mode == "monotone" else t + 1
            assert (distance_to(root, rules.radius_px)[mine] <= steps + 1e-6).all()
            parts, n = ndimage.label(mine)
            assert n >= 1
            assert set(np.unique(parts[state.seeds == i])) >= set(range(1, n + 1))


@settings(max_examples=25, deadline=None)
@given(scenes, st.sampled_from(MODES))
def test_growth_is_deterministic_and_writes_to_nothing_it_is_given(
    scene: tuple[int, tuple[int, ...]], mode: str
) -> None:
    state, evidence, rules = random_scene(*scene)
    rules = replace(rules, mode=mode)
    for array in (
        state.seeds,
        state.seed_class,
        evidence.probabilities,
        evidence.allowed,
        evidence.separation,
    ):
        array.setflags(write=False)
    once = state.advanced(evidence, rules).advanced(evidence, rules)
    again = state.advanced(evidence, rules).advanced(evidence, rules)
    np.testing.assert_array_equal(once.ids, again.ids)
    assert once.round == 2


@settings(max_examples=25, deadline=None)
@given(scenes)
def test_relabelling_the_objects_relabels_the_result_up_to_ties(scene: tuple[int, tuple[int, ...]]) -> None:
    state, evidence, rules = random_scene(*scene)
    evidence = replace(evidence, boxes={})
    p = evidence.probabilities
    rng = np.random.default_rng(0)
    evidence = replace(evidence, probabilities=p + rng.random(p.shape, np.float32) * 1e-4)
    order = np.r_[0, 1 + rng.permutation(len(state.seed_class) - 1)].astype(np.int32)
    other = GrowthState.start(order[state.seeds], state.seed_class[np.argsort(order)])
    one = grow(state.ids, state.seeds, state.seed_class, evidence, rules)
    two = grow(other.ids, other.seeds, other.seed_class, evidence, rules)
    assert (order[one] == two).mean() > 0.97  # but for pixels equally near to two objects of one class


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_growth_ends_exactly_at_the_border_and_keeps_touching_objects_apart(shape: tuple[int, ...], mode: str) -> None:
    objects, seeds = touching_objects(shape)
    state = GrowthState.start(seeds, np.array([0, 2, 2], np.uint8))
    rules = GrowthRules((2.0,) * len(shape), mode=mode)
    while not state.finished() and state.round < 20:
        state = state.advanced(certain(objects), rules)
    np.testing.assert_array_equal(state.ids > 0, objects > 0)
    agreement = (state.ids == objects)[objects > 0].mean()
    assert agreement > 0.9
    assert state.round < 12
    fixed = state.advanced(certain(objects), rules)
    np.testing.assert_array_equal(fixed.ids, state.ids)


@pytest.mark.parametrize("shape", SHAPES)
def test_blobs_stay_as_they_are_where_the_network_sees_nothing(shape: tuple[int, ...]) -> None:
    _, seeds = touching_objects(shape)
    state = GrowthState.start(seeds, np.array([0, 2, 2], np.uint8))
    rules = GrowthRules((2.0,) * len(shape))
    state = state.advanced(certain(np.zeros_like(seeds)), rules)
    np.testing.assert_array_equal(state.ids, seeds)
    state = state.advanced(certain(np.zeros_like(seeds)), rules)
    assert state.frozen[1:].all()
    assert state.finished()


def test_planes_far_apart_take_less_growth() -> None:
    seeds = np.zeros((9, 11, 11), np.int32)
    seeds[4, 5, 5] = 1
    everywhere = certain(np.ones_like(seeds))
    ids = grow(seeds, seeds, np.array([0, 2], np.uint8), everywhere, GrowthRules((1.0, 3.0, 3.0)))
    z, y, x = np.nonzero(ids)
    assert (np.ptp(z), np.ptp(y), np.ptp(x)) == (2, 6, 6)
    flat = grow(seeds, seeds, np.array([0, 2], np.uint8), everywhere, GrowthRules((0.4, 3.0, 3.0)))
    assert set(np.nonzero(flat)[0]) == {4}


def test_regrow_takes_an_early_leak_back() -> None:
    objects, seeds = touching_objects((24, 26))
    leaky = certain(np.ones_like(objects))
    state = GrowthState.start(seeds, np.array([0, 2, 2], np.uint8))
    for mode, leak_stays in (("monotone", True), ("regrow", False)):
        rules = GrowthRules((3.0, 3.0), mode=mode)
        late = state.advanced(leaky, rules).advanced(leaky, rules).advanced(certain(objects), rules)
        assert ((late.ids > 0) & (objects == 0)).any() == leak_stays


def test_an_object_that_would_exceed_its_largest_area_keeps_its_mask() -> None:
    objects, seeds = touching_objects((24, 26))
    rules = GrowthRules((2.0, 2.0), area_cap={2: 60})
    state = GrowthState.start(seeds, np.array([0, 2, 2], np.uint8))
    for _ in range(8):
        state = state.advanced(certain(np.ones_like(objects)), rules)
        assert (np.bincount(state.ids.ravel())[1:] <= 60).all()
    assert state.frozen[1:].all()
    assert (np.bincount(state.ids.ravel())[1:] > np.bincount(seeds.ravel())[1:]).all()


def test_forbidden_pixels_inside_an_object_stay_out() -> None:
    objects, seeds = touching_objects((24, 26))
    evidence = certain(objects)
    evidence.allowed[12, :] = 0b0010
    evidence.allowed[seeds > 0] = 0b0100
    state = GrowthState.start(seeds, np.array([0, 2, 2], np.uint8))
    for _ in range(12):
        state = state.advanced(evidence, GrowthRules((2.0, 2.0)))
    assert not state.ids[12][seeds[12] == 0].any()


def test_a_new_stroke_keeps_what_other_objects_have_grown() -> None:
    objects, seeds = touching_objects((24, 26))
    seed_class = np.array([0, 2, 2], np.uint8)
    state = GrowthState.start(seeds, seed_class)
    for _ in range(6):
        state = state.advanced(certain(objects), GrowthRules((2.0, 2.0)))
    allowed = np.full(seeds.shape, FULL)
    same = state.reseeded(seeds, seed_class, allowed)
    np.testing.assert_array_equal(same.ids, state.ids)
    assert same.round == state.round

    renumbered = np.where(seeds > 0, 4 - seeds, 0).astype(np.int32)  # 1 -> 3, 2 -> 2, and a new first object
    renumbered[0, 0] = 1
    allowed[:, :8] = 0b0010  # background painted over the left flank
    allowed[seeds > 0] = 0b0100
    moved = state.reseeded(renumbered, np.array([0, 3, 2, 2], np.uint8), allowed)
    np.testing.assert_array_equal(moved.ids == 2, state.ids == 2)
    assert not (moved.ids[1:, :8] > 0)[seeds[1:, :8] == 0].any()
    assert (moved.ids == 3).sum() > (seeds == 1).sum()
    assert (moved.ids == 1).sum() == 1

    other_class = state.reseeded(seeds, np.array([0, 3, 2], np.uint8), np.full(seeds.shape, FULL))
    np.testing.assert_array_equal(other_class.ids == 1, seeds == 1)


def test_a_block_without_blobs_is_finished() -> None:
    empty = GrowthState.start(np.zeros((8, 8), np.int32), np.zeros(1, np.uint8))
    state = empty.advanced(certain(np.ones((8, 8), np.int32)), GrowthRules((2.0, 2.0)))
    assert state.finished()
    assert not state.ids.any()


@pytest.mark.parametrize("mode", MODES)
def test_along_thick_planes_growth_steps_are_rarer(mode: str) -> None:
    seeds = np.zeros((15, 31, 31), np.int32)
    seeds[7, 15, 15] = 1
    state = GrowthState.start(seeds, np.array([0, 2], np.uint8))
    rules = GrowthRules((0.4, 2.0, 2.0), mode=mode)
    reached = []
    for _ in range(5):
        state = state.advanced(certain(np.ones(seeds.shape, np.int32)), rules)
        z, y, _ = np.nonzero(state.ids)
        reached.append((int(z.max()) - 7, int(y.max()) - 15))
    assert reached == [(0, 2), (1, 4), (1, 6), (2, 8), (2, 10)]
