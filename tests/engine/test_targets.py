"""Targets of the auxiliary heads, background claims, reach, and simulated blobs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.targets import (
    IGNORE,
    approximation_fraction,
    approximation_target,
    background_claim,
    boxes_of_seeds,
    estimate_reach,
    largest_radius,
    shrink_objects,
    simulate_seeds,
)

SHAPES = [(60, 70), (20, 30, 40)]
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def discs(shape: tuple[int, ...], radius: float = 7.0) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Four round objects of two classes in the corners."""
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in shape], indexing="ij")).astype(float)
    ids = np.zeros(shape, np.int32)
    for i in range(4):
        middle = [s / 2 for s in shape]
        middle[-2] = shape[-2] * (0.25 if i % 2 else 0.75)
        middle[-1] = shape[-1] * (0.25 if i // 2 else 0.75)
        apart = np.sqrt(sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)))
        ids[apart <= radius] = i + 1
    return ids, np.array([0, 2, 2, 3, 3], np.uint8)


@both
def test_approximation_names_only_what_has_grown_and_ignores_the_ring(shape: tuple[int, ...]) -> None:
    ids, classes = discs(shape, 5)
    first = approximation_target(ids, classes)
    np.testing.assert_array_equal(first, classes[ids])
    later = approximation_target(ids, classes, ring_px=[2.0] * len(shape))
    away = ndimage.distance_transform_edt(ids == 0)
    np.testing.assert_array_equal(later == IGNORE, (away > 0) & (away <= 2 + 1e-6))
    np.testing.assert_array_equal(later[ids > 0], classes[ids][ids > 0])
    assert set(np.unique(later[away > 2.1])) == {0}
    empty = approximation_target(np.zeros(shape, np.int32), classes, ring_px=[2.0] * len(shape))
    assert not empty.any()


@both
@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.6, 1.0])
def test_shrinking_keeps_the_innermost_share(shape: tuple[int, ...], fraction: float) -> None:
    ids, _ = discs(shape)
    kept = shrink_objects(ids, fraction)
    assert (kept[kept > 0] == ids[kept > 0]).all()
    for i in range(1, 5):
        mine, inner = ids == i, kept == i
        assert inner.sum() == max(1, round(fraction * mine.sum()))
        depth = ndimage.distance_transform_edt(np.pad(mine, 1))[(slice(1, -1),) * len(shape)]
        if fraction < 1:
            assert depth[inner].min() >= depth[mine & ~inner].max() - 1e-9


def test_an_object_of_one_pixel_survives_shrinking() -> None:
    ids = np.zeros((5, 5), np.int32)
    ids[2, 2] = 1
    np.testing.assert_array_equal(shrink_objects(ids, 0.1), ids)


def test_approximation_fraction_stays_within_bounds() -> None:
    assert approximation_fraction([25.0, 30.0], [100.0, 120.0]) == pytest.approx(0.25)
    assert approximation_fraction([1.0], [1000.0]) == 0.05
    assert approximation_fraction([500.0], [100.0]) == 1.0
    assert approximation_fraction([], [100.0]) == approximation_fraction([9.0], []) == 1.0


@both
def test_background_is_claimed_only_where_sure_and_away_from_objects(shape: tuple[int, ...]) -> None:
    ids, _ = discs(shape)
    p = np.full((3, *shape), 0.02, np.float32)
    p[0] = 0.96
    p[0, ..., :10] = 0.8
    claim = background_claim(p, ids, gap_px=2.0)
    away = ndimage.distance_transform_edt(ids == 0)
    np.testing.assert_array_equal(claim, (p[0] >= 0.9) & (away > 2))
    region = np.zeros(shape, bool)
    region[..., 30:] = True
    np.testing.assert_array_equal(background_claim(p, ids, gap_px=2.0, where=region), claim & region)
    assert background_claim(p, np.zeros(shape, np.int32)).sum() == (p[0] >= 0.9).sum()


def test_reach_follows_exact_objects_where_there_are_any() -> None:
    ids, classes = discs((60, 70), radius=7)
    radius = largest_radius(ids, classes)
    assert radius == {2: 7.0, 3: 7.0}
    assert estimate_reach({2: [9.0] * 3, 3: [9.0] * 3}, 2, exact_radius=radius) == {2: 14.0, 3: 14.0}
    large = [4 * np.pi * radius[2] ** 2] * 3  # blobs larger than any exact object
    assert estimate_reach({2: large}, 2, exact_radius=radius)[2] == pytest.approx(4 * 2 * radius[2])
    assert largest_radius(ids, classes, sampling=(2.0, 1.0))[2] == 13.0


@both
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_no_object_pixel_lies_beyond_the_reach_guessed_from_blobs(shape: tuple[int, ...], fraction: float) -> None:
    ids, _ = discs(shape)
    seeds = simulate_seeds(ids, fraction, rng=np.random.default_rng(0))
    reach = estimate_reach({2: np.bincount(seeds.ravel())[1:].tolist()}, len(shape))[2]
    assert not ((ndimage.distance_transform_edt(seeds == 0) > reach) & (ids > 0)).any()


def test_the_fewer_blobs_there_are_the_farther_objects_may_reach() -> None:
    one, two, three, four = (estimate_reach({2: [20.0] * n}, 2)[2] for n in (1, 2, 3, 4))
    assert one == pytest.approx(2 * two)
    assert two == pytest.approx(1.5 * three)
    assert three == four
    assert estimate_reach({}, 2) == estimate_reach({2: []}, 2) == {}


def test_the_smallest_box_of_the_class_around_a_blob_is_its_own() -> None:
    seeds = np.zeros((20, 20), np.int32)
    seeds[4:6, 4:6] = 1
    seeds[4:6, 12:14] = 2
    classes = np.array([0, 2, 3], np.uint8)
    boxes = [(2, (0, 0), (20, 20)), (2, (3, 3), (9, 9)), (3, (5, 10), (9, 16)), (2, (4, 11), (8, 16))]
    assert boxes_of_seeds(seeds, classes, boxes) == {1: ((3, 3), (9, 9))}


@both
def test_simulated_blobs_lie_whole_in_their_objects(shape: tuple[int, ...]) -> None:
    ids, _ = discs(shape)
    seeds = simulate_seeds(ids, 0.25, rng=np.random.default_rng(1))
    assert (seeds[seeds > 0] == ids[seeds > 0]).all()
    for i in range(1, 5):
        assert ndimage.label(seeds == i)[1] == 1
        assert 0.1 < (seeds == i).sum() / (ids == i).sum() <= 0.26
    again = simulate_seeds(ids, 0.25, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(seeds, again)
