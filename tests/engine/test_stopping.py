"""When growth stops: territory and guard."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.growth import Evidence, GrowthRules, GrowthState
from napari_weakseg.engine.stopping import (
    edge_strength,
    object_iou,
    simulate_growth_guard,
    watershed_objects,
)

SHAPES = [(48, 64), (20, 24, 40)]
CLASSES = np.array([0, 2, 2], np.uint8)
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def apart(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Distance from the middles of two objects in their radii, (2, *S)."""
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in shape], indexing="ij")).astype(float)
    middles = [[s / 2 for s in shape] for _ in range(2)]
    middles[0][-1], middles[1][-1] = shape[-1] * 0.25, shape[-1] * 0.75
    radius = min(shape) * 0.3
    return np.stack([np.sqrt(sum((g - m) ** 2 for g, m in zip(grid, c, strict=True))) / radius for c in middles])


def discs(shape: tuple[int, ...], size: float = 1.0) -> NDArray[np.int32]:
    d = apart(shape)
    return np.where(d.min(0) < size, d.argmin(0) + 1, 0).astype(np.int32)


def picture(shape: tuple[int, ...]) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return ((discs(shape) > 0) + 0.05 * rng.normal(size=shape)).astype(np.float32)[None]


def says_yes(shape: tuple[int, ...]) -> Evidence:
    """A network that takes everything for an object."""
    p = np.zeros((2, *shape), np.float32)
    p[1] = 1
    return Evidence(p, np.full(shape, 0b110, np.uint32))


@both
def test_edges_between_blobs_and_background_give_the_objects(shape: tuple[int, ...]) -> None:
    background = apart(shape).min(0) > 1.35
    found = watershed_objects(edge_strength(picture(shape)), discs(shape, 0.5), background)
    assert (object_iou(found, discs(shape), 3) > 0.75).all()
    assert (found[discs(shape, 0.5) > 0] > 0).all()
    assert not found[background].any()
    nothing = watershed_objects(edge_strength(picture(shape)), discs(shape, 0.5), np.zeros(shape, bool))
    np.testing.assert_array_equal(nothing, discs(shape, 0.5))


@both
def test_growth_ends_at_its_territory_whatever_the_network_says(shape: tuple[int, ...]) -> None:
    leaky = says_yes(shape)
    bounded = Evidence(leaky.probabilities, leaky.allowed, territory=discs(shape))
    rules = GrowthRules((3.0,) * len(shape))
    for evidence, kept in ((bounded, True), (leaky, False)):
        state = GrowthState.start(discs(shape, 0.5), CLASSES)
        for _ in range(8):
            state = state.advanced(evidence, rules)
        assert (np.where(state.ids > 0, discs(shape) == state.ids, True).all()) == kept
        if kept:
            np.testing.assert_array_equal(state.ids, discs(shape))


@both
def test_the_guard_trips_for_a_network_that_leaks_and_not_for_a_good_one(shape: tuple[int, ...]) -> None:
    exact = discs(shape)
    leaky = says_yes(shape)
    good = Evidence(np.stack([exact == 0, exact > 0]).astype(np.float32), leaky.allowed)
    rules = GrowthRules((2.0,) * len(shape))
    before = exact.copy()
    reports = [
        simulate_growth_guard(exact, CLASSES, e, rules, rounds=8, rng=np.random.default_rng(0)) for e in (good, leaky)
    ]
    np.testing.assert_array_equal(exact, before)
    assert reports[0].precision == (1.0,) * 9
    assert reports[0].iou[-1] > 0.99
    assert reports[0].safe_rounds() == 8
    assert reports[1].precision[-1] < 0.9
    tripped = reports[1].safe_rounds()
    assert tripped < 8
    assert reports[1].precision[tripped] >= 0.9


@both
def test_within_outlines_the_guard_passes_a_network_that_leaks(shape: tuple[int, ...]) -> None:
    exact, rules = discs(shape), GrowthRules((3.0,) * len(shape))
    report = simulate_growth_guard(
        exact,
        CLASSES,
        says_yes(shape),
        rules,
        rounds=8,
        rng=np.random.default_rng(0),
        edges=edge_strength(picture(shape)),
    )
    assert report.safe_rounds() == 8
    assert report.iou[-1] > 0.9


@both
def test_a_border_one_pixel_off_is_no_leak_but_one_two_pixels_off_is(shape: tuple[int, ...]) -> None:
    exact = discs(shape)
    rules = GrowthRules(radius_px=(3.0,) * len(shape), tau=0.9)

    def precision(px: int) -> float:
        swollen = ndimage.binary_dilation(exact > 0, iterations=px).astype(np.float32)
        says = replace(says_yes(shape), probabilities=np.stack([1 - swollen, swollen]))
        return simulate_growth_guard(
            exact, CLASSES, says, rules, rounds=8, rng=np.random.default_rng(0), fraction=0.5
        ).precision[-1]

    assert precision(1) == 1
    assert precision(2) < 0.9


def test_a_line_between_two_objects_belongs_to_neither() -> None:
    exact = np.zeros((20, 31), np.int32)
    exact[2:18, 2:15], exact[2:18, 16:29] = 1, 2
    for owner in (1, 2):
        open_ = (exact == owner) | ((np.indices(exact.shape)[1] == 15) & (exact.max(1, keepdims=True) > 0))
        p = np.stack([~open_, open_]).astype(np.float32)
        report = simulate_growth_guard(
            exact,
            CLASSES,
            Evidence(p, np.full(exact.shape, 0b110, np.uint32)),
            GrowthRules(radius_px=(3.0, 3.0), tau=0.5),
            rounds=12,
            rng=np.random.default_rng(0),
        )
        assert report.precision[-1] == 1


@both
def test_pixels_of_a_neighbour_that_touches_are_a_leak(shape: tuple[int, ...]) -> None:
    halves = np.where(np.indices(shape)[-1] < shape[-1] // 2, np.int32(1), np.int32(2))
    only_first = np.array([0, 2, 1], np.uint8)  # the network says that all is of the class of the first
    rules = GrowthRules(radius_px=(2.0,) * len(shape), tau=0.9)
    report = simulate_growth_guard(halves, only_first, says_yes(shape), rules, rounds=40, rng=np.random.default_rng(0))
    assert report.precision[-1] < 0.9


def test_a_guard_that_trips_at_once_allows_no_round() -> None:
    exact = discs((48, 64), 0.3)
    report = simulate_growth_guard(
        exact, CLASSES, says_yes((48, 64)), GrowthRules((8.0, 8.0)), rounds=2, rng=np.random.default_rng(0)
    )
    assert report.safe_rounds() == 0


def test_borders_between_thick_planes_hold_a_watershed() -> None:
    z, y, x = np.mgrid[:20, :60, :60]
    middles = [(-24, 30, 30), (24, 30, 30)]
    away = np.stack([((4 * z - 38 - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) ** 0.5 for c in middles])
    exact = np.where(away.min(0) < 16, away.argmin(0) + 1, 0).astype(np.int32)
    seeds = np.where(away.min(0) < 6, exact, 0)
    noise = np.random.default_rng(0).normal(0, 0.1, exact.shape)
    edges = edge_strength(((exact > 0) + noise)[None].astype(np.float32), sampling=(4.0, 1.0, 1.0))
    assert (watershed_objects(edges, seeds, away.min(0) > 22) == exact).mean() > 0.99
