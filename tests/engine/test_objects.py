"""Objects are told apart at their waists and by their marks, and joined again without any work on pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.fragments import Fragments
from napari_weakseg.engine.objects import fragments_of, least_told

SHAPE = {2: (40, 70), 3: (26, 26, 48)}
both = pytest.mark.parametrize("ndim", [2, 3])


def balls(ndim: int, *places: tuple[int, float]) -> NDArray[np.uint8]:
    """Classes of discs or balls of class 2, each given by its place along the last axis and its radius."""
    at = np.indices(SHAPE[ndim])
    found = np.ones(SHAPE[ndim], np.uint8)
    for x, radius in places:
        middle = np.array([n // 2 for n in SHAPE[ndim][:-1]] + [x]).reshape(-1, *[1] * ndim)
        found[((at - middle) ** 2).sum(0) <= radius**2] = 2
    return found


def touching(ndim: int) -> NDArray[np.uint8]:
    return balls(ndim, (14, 9), (29, 9))


def mask(shape: tuple[int, ...], *columns: tuple[int, int, int]) -> NDArray[np.int32]:
    """Marks along the middle row: (object id, from, to)."""
    marked = np.zeros(shape, np.int32)
    for i, a, b in columns:
        marked[(*(n // 2 for n in shape[:-1]), slice(a, b))] = i
    return marked


@both
def test_touching_objects_are_two_and_their_halves_are_right(ndim: int) -> None:
    classes = touching(ndim)
    assert ndimage.label(classes == 2)[1] == 1
    ids = fragments_of(classes).objects()
    assert ids.max() == 2
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids > 0, classes == 2)
    left, right = np.nonzero(ids == ids[..., 14].max())[-1], np.nonzero(ids == ids[..., 29].max())[-1]
    assert left.max() <= 22
    assert right.min() >= 21


@both
def test_the_slider_goes_from_connected_parts_to_all_fragments(ndim: int) -> None:
    found = fragments_of(balls(ndim, (10, 7), (20, 6), (29, 7), (42, 3)))
    counts = [int(found.objects(split=split).max()) for split in np.linspace(0, 1, 11)]
    assert counts[0] == ndimage.label(found.ids > 0)[1]
    assert counts[-1] == len(found.depth) - 1
    assert counts == sorted(counts)


@both
def test_one_round_object_stays_one_whatever_its_border_is_like(ndim: int) -> None:
    classes = balls(ndim, (24, 11))
    rng = np.random.default_rng(0)
    rough = np.where(rng.random(classes.shape) < 0.5, ndimage.grey_dilation(classes, size=3), classes)
    assert fragments_of(rough.astype(np.uint8)).objects().max() == 1


@both
def test_where_the_network_is_unsure_the_pass_is_shallower(ndim: int) -> None:
    """A bar without a waist is one object, unless the network doubts its middle."""
    classes = np.ones(SHAPE[ndim], np.uint8)
    classes[(slice(8, 18),) * (ndim - 1) + (slice(6, 42),)] = 2
    certainty = np.full(classes.shape, 0.999, np.float32)
    assert fragments_of(classes, certainty=certainty).objects().max() == 1
    certainty[..., 22:26] = 0.6
    assert fragments_of(classes, certainty=certainty).objects().max() == 2


@both
def test_what_a_person_marked_as_one_is_one_and_as_two_is_two(ndim: int) -> None:
    classes = touching(ndim)
    one = fragments_of(classes, marked=mask(classes.shape, (7, 10, 33)))
    assert {int(one.objects(split=split).max()) for split in (0, 0.5, 1)} == {1}
    apart = fragments_of(balls(ndim, (20, 11)), marked=mask(classes.shape, (3, 12, 16), (4, 24, 28)))
    for split in (0, 0.5, 1):
        ids = apart.objects(split=split)
        assert ids[mask(ids.shape, (1, 12, 16)) > 0].min() == ids[mask(ids.shape, (1, 12, 16)) > 0].max() > 0
        assert ids[mask(ids.shape, (1, 14, 15)) > 0] != ids[mask(ids.shape, (1, 25, 26)) > 0]


@both
def test_what_several_marked_objects_share_is_parted_by_which_is_nearest(ndim: int) -> None:
    classes = balls(ndim, (24, 11))
    ids = fragments_of(classes, marked=mask(classes.shape, (1, 15, 17), (2, 32, 34))).objects()
    assert ids.max() == 2
    sizes = np.bincount(ids.ravel())[1:]
    assert sizes.min() > 0.4 * sizes.sum()


@both
def test_a_mark_beside_the_deepest_place_holds_the_whole_object(ndim: int) -> None:
    classes = touching(ndim)
    ids = fragments_of(classes, marked=mask(classes.shape, (9, 8, 10))).objects(split=1)
    assert ids.max() == 2
    assert len(np.unique(ids[mask(classes.shape, (1, 7, 19)) > 0])) == 1


@both
def test_parts_marked_as_one_object_are_one_even_if_they_lie_apart(ndim: int) -> None:
    classes = balls(ndim, (10, 6), (34, 6))
    found = fragments_of(classes, marked=mask(classes.shape, (5, 9, 11), (5, 33, 35)))
    assert found.objects(split=1).max() == 1


@both
def test_specks_are_left_out_unless_a_person_marked_them(ndim: int) -> None:
    classes = balls(ndim, (14, 9), (36, 2))
    speck = int((classes[..., 30:] == 2).sum())
    assert fragments_of(classes).objects(min_px=speck).max() == 2
    assert fragments_of(classes).objects(min_px=speck + 1).max() == 1
    assert fragments_of(classes, least_px={2: speck + 1}).objects().max() == 1
    marked = fragments_of(classes, marked=mask(classes.shape, (1, 36, 37)))
    assert marked.objects(min_px=10**6).max() == 1


@both
def test_objects_of_two_classes_never_join(ndim: int) -> None:
    classes = balls(ndim, (24, 11))
    classes[..., 24:][classes[..., 24:] == 2] = 3
    found = fragments_of(classes)
    ids = found.objects(split=0)
    assert ids.max() == 2
    assert sorted(found.classes[1:].tolist()) == [2, 3]
    assert not (set(np.unique(ids[classes == 2])) & set(np.unique(ids[classes == 3])))


@both
def test_coarse_planes_count_by_their_distance(ndim: int) -> None:
    """Two bars joined by a bridge that is long in space though short in pixels."""
    classes = balls(ndim, (24, 10))
    flat = fragments_of(classes, spacing=(5.0,) + (1.0,) * (ndim - 1))
    assert flat.depth.max() > fragments_of(classes).depth.max() * 0.9
    assert flat.objects().max() >= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.booleans(), st.floats(0, 1), st.integers(0, 30))
def test_ids_are_without_gaps_disjoint_and_cover_what_is_not_too_small(
    seed: int, ndim: int, with_marks: bool, split: float, min_px: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (24, 31) if ndim == 2 else (9, 14, 15)
    classes = 1 + (ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.05).astype(np.uint8)
    classes += (classes == 2) & (ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0)
    marked = None
    if with_marks:
        marked = np.zeros(shape, np.int32)
        for i in range(1, 5):
            marked[tuple(int(rng.integers(n)) for n in shape)] = i
        marked[classes == 1] = 0
    found = fragments_of(classes, marked=marked, certainty=rng.random(shape, np.float32))
    np.testing.assert_array_equal(found.ids > 0, classes > 1)
    np.testing.assert_array_equal(found.classes[found.ids][classes > 1], classes[classes > 1])
    ids = found.objects(split=split, min_px=min_px)
    pixels = np.bincount(ids.ravel())
    assert (pixels[1:] > 0).all()
    kept = np.unique(ids[marked > 0]) if marked is not None else []
    assert all(n >= min_px for i, n in enumerate(pixels) if i and i not in kept)
    if marked is not None and marked.any():
        assert (ids[marked > 0] > 0).all()
        by_object = [set(np.unique(ids[(marked == i)]).tolist()) for i in np.unique(marked[marked > 0])]
        assert all(len(one) == 1 for one in by_object)
        assert len(set.union(*by_object)) == len(by_object)


@both
def test_nothing_and_everything(ndim: int) -> None:
    nothing, everything = np.ones(SHAPE[ndim], np.uint8), np.full(SHAPE[ndim], 2, np.uint8)
    assert not fragments_of(nothing).objects().any()
    assert (fragments_of(everything).objects() == 1).all()
    assert isinstance(fragments_of(nothing), Fragments)


def test_the_least_size_is_that_of_the_smallest_marks_but_a_few() -> None:
    assert least_told([]) == {}
    assert least_told([(2, 100)] * 50 + [(2, 2)]) == {2: 100}
    assert least_told([(3, n) for n in range(10, 111)]) == {3: 15}
    assert least_told([(2, 400)] * 49 + [(3, 9)] * 2) == {2: 400, 3: 9}
