"""What boxes show: shapes learned from exact objects, an ellipse before; never over what a person said."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.blocks import Block, Place
from napari_weakseg.engine.box_shapes import BoxShapes
from napari_weakseg.engine.growth import GrowthState

FULL = 0b1110

Box = tuple[int, tuple[int, ...], tuple[int, ...]]


def block(shape: tuple[int, ...], *, seeds: np.ndarray | None = None, boxes: Sequence[Box] = ()) -> Block:
    """An exact block with objects of class 2, or one of which only boxes are known."""
    ids = np.zeros(shape, np.int32) if seeds is None else seeds.astype(np.int32)
    exact = seeds is not None
    allowed = np.where(ids > 0, 0b100, 0b010).astype(np.uint32) if exact else np.full(shape, FULL, np.uint32)
    seed_class = np.array([0, *[2] * int(ids.max())], np.uint8)
    known = Knowledge(allowed, np.zeros(shape, bool), ids, seed_class, np.full(shape, exact), (), FULL)
    place = Place("a", (), tuple(slice(0, n) for n in shape), marked=True)
    zero = [np.zeros(shape, np.uint8) for _ in range(4)]
    made = Block(
        place, np.zeros((1, *shape), np.float32), known, zero[0], np.zeros(shape, bool), zero[1], zero[2], zero[3], 0
    )
    made.boxes = list(boxes)
    made.refresh()
    return made


def ring(shape: tuple[int, ...], outer: float, inner: float) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = np.sqrt(sum((x - (n - 1) / 2) ** 2 for x, n in zip(axes, shape, strict=True)))
    return (away <= outer) & (away > inner)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_ring_is_learned_and_claimed_in_boxes_of_other_sizes(ndim: int) -> None:
    shapes = BoxShapes(ndim)
    shapes.learn([block((40,) * ndim, seeds=ring((40,) * ndim, 12, 6)) for _ in range(20)])
    size = (60, 44, 52)[:ndim]
    boxed = block(size, boxes=[(2, (4,) * ndim, tuple(n - 4 for n in size))])
    shapes.claim(boxed)
    middle = tuple(n // 2 for n in size)
    rim = (5 + (size[0] - 8) // 6, *middle[1:])
    assert boxed.claim[middle] == 1
    assert boxed.claim[rim] == 2
    assert boxed.claim[(4,) * ndim] == 1
    assert not boxed.claim[(0,) * ndim]
    assert boxed.claim_weight[rim] > 128
    assert 2 in boxed.marked_at


def test_before_any_exact_object_the_middle_is_claimed() -> None:
    boxed = block((30, 30), boxes=[(3, (5, 5), (25, 25))])
    BoxShapes(2).claim(boxed)
    assert boxed.claim[15, 15] == 3
    assert boxed.claim[5, 5] == 1
    assert not boxed.claim[2, 2]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_probabilities_sum_to_one_wherever_boxes_lie(seed: int, ndim: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 24, ndim))
    boxes = []
    for _ in range(int(rng.integers(0, 5))):
        start = rng.integers(-6, 24, ndim)
        boxes.append(
            (int(rng.integers(2, 4)), tuple(map(int, start)), tuple(map(int, start + rng.integers(1, 12, ndim))))
        )
    said = BoxShapes(ndim).probabilities(size, boxes)
    assert said.min() >= 0
    np.testing.assert_allclose(said.sum(0), 1, atol=1e-5)
    outside = np.ones(size, bool)
    for _, start, stop in boxes:
        outside[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(start, stop, strict=True))] = False
    assert (said[0][outside] == 1).all()


def test_the_smaller_of_two_boxes_counts_first() -> None:
    said = BoxShapes(2).probabilities((40, 40), [(2, (15, 15), (25, 25)), (3, (0, 0), (40, 40))])
    assert said[:, 20, 20].argmax() == 1
    assert said[:, 20, 8].argmax() == 2


def test_a_persons_word_is_never_contradicted() -> None:
    boxed = block((30, 30), boxes=[(2, (5, 5), (25, 25))])
    boxed.knowledge.allowed[10:15] = 0b1000
    BoxShapes(2).claim(boxed)
    assert not boxed.claim[10:15].any()
    assert (boxed.claim[16:20, 12:18] == 2).all()


def test_a_box_with_a_blob_of_its_class_is_left_to_growth_and_another_beside_it_is_not() -> None:
    seeds = np.zeros((30, 60), np.int32)
    seeds[12:16, 12:16] = 1
    boxed = block((30, 60), boxes=[(2, (5, 5), (25, 25)), (2, (5, 32), (25, 52))])
    boxed.knowledge = replace(boxed.knowledge, seeds=seeds, seed_class=np.array([0, 2], np.uint8))
    boxed.growth = GrowthState.start(seeds, boxed.knowledge.seed_class)
    boxed.claim[14:20, 14:20] = 2  # grown
    boxed.claim[10:20, 35:50] = 1  # taken for background, for nobody had painted there
    boxed.claim_weight[boxed.claim > 0] = 7
    BoxShapes(2).claim(boxed)
    assert (boxed.claim_weight[14:20, 14:20] == 7).all()
    assert not boxed.claim[5:12, 5:25].any()
    assert (boxed.claim[12:18, 37:47] == 2).all()
    assert (boxed.claim_weight[12:18, 37:47] > 128).all()


def test_exact_blocks_are_left_alone() -> None:
    exact = block((20, 20), seeds=ring((20, 20), 6, 0), boxes=[(2, (2, 2), (18, 18))])
    BoxShapes(2).claim(exact)
    assert not exact.claim.any()


def test_held_out_objects_and_objects_cut_by_the_border_tell_no_shape() -> None:
    cut = block((20, 20), seeds=ring((20, 20), 9.6, 0))
    whole = block((20, 20), seeds=np.pad(np.ones((10, 10), int), 5))
    whole.held_out[:8] = True  # a part of it would be a shape of its own
    shapes, fresh = BoxShapes(2), BoxShapes(2)
    shapes.learn([cut, whole])
    box: list[Box] = [(2, (0, 0), (12, 12))]
    np.testing.assert_array_equal(shapes.probabilities((12, 12), box), fresh.probabilities((12, 12), box))


def test_nothing_is_claimed_in_boxes_of_a_class_that_fills_no_part_of_them() -> None:
    """A net reaches from border to border and tells no shape; that an ellipse is wrong of it exact objects show."""
    net = np.zeros((60, 60), int)
    net[::10], net[:, ::10] = 1, 1
    boxes: list[Box] = [(2, (0, 0), (60, 60))]
    for ids, claimed in ((net, False), (ring((60, 60), 26, 0).astype(int), True)):
        shapes = BoxShapes(2)
        shapes.learn([block((60, 60), seeds=ids)])
        boxed = block((60, 60), boxes=boxes)
        shapes.claim(boxed)
        assert boxed.claim.any() == claimed
