"""The forest is kept beside the network where held-out marks of several classes speak for it."""

import numpy as np
import pytest

from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.blending import best_share, judging_windows, mean_right, tells_classes
from napari_weakseg.engine.blocks import Block, Place


def block(certain: np.ndarray, held_out: np.ndarray) -> Block:
    shape, full = certain.shape, 0b1110
    allowed = np.where(certain > 0, np.left_shift(1, certain.astype(np.uint32)), full).astype(np.uint32)
    nothing, none = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    known = Knowledge(allowed, certain > 0, np.zeros(shape, np.int32), np.zeros(1, np.uint8), none, (), full)
    place = Place("a", (), tuple(slice(0, n) for n in shape), marked=True)
    pixels = np.zeros((1, *shape), np.float32)
    made = Block(place, pixels, known, nothing, held_out, nothing.copy(), nothing.copy(), nothing.copy(), 0)
    made.refresh()
    return made


def sure_of(labels: np.ndarray, probability: float) -> np.ndarray:
    p = np.full((3, len(labels)), (1 - probability) / 2, np.float32)
    p[labels - 1, np.arange(len(labels))] = probability
    return p


def test_the_better_of_two_gets_all() -> None:
    labels = np.array([1, 1, 1, 2, 3, 3], np.uint8)
    good, bad = sure_of(labels, 0.9), sure_of(labels, 0.4)
    assert best_share(good, bad, labels) == 1
    assert best_share(bad, good, labels) == 0
    assert best_share(good, good, labels) == 0


def test_two_that_know_different_classes_share() -> None:
    labels = np.repeat(np.array([1, 2], np.uint8), 10)
    knows_one = np.concatenate([sure_of(labels[:10], 0.9), sure_of(labels[10:], 0.1)], 1)
    knows_other = np.concatenate([sure_of(labels[:10], 0.1), sure_of(labels[10:], 0.9)], 1)
    assert best_share(knows_one, knows_other, labels) == pytest.approx(0.5)


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    labels = np.array([1] * 98 + [2, 2], np.uint8)
    network = np.concatenate([sure_of(labels[:98], 0.95), sure_of(labels[98:], 0.01)], 1)
    forest = sure_of(labels, 0.7)
    share = best_share(forest, network, labels)
    assert share is not None
    assert share > 0.5


def test_one_class_alone_tells_nothing() -> None:
    labels = np.array([2, 2, 2], np.uint8)
    assert best_share(sure_of(labels, 0.9), sure_of(labels, 0.1), labels) is None


@pytest.mark.parametrize("counts", [(100, 100), (9990, 10), (5, 500, 50)])
def test_the_same_answer_everywhere_tells_no_classes(counts: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(1, len(counts) + 1), counts).astype(np.uint8)
    for always in range(1, len(counts) + 1):
        assert not tells_classes(sure_of(np.full(len(labels), always, np.uint8), 0.9), labels)
    assert tells_classes(sure_of(labels, 0.5), labels)


def test_nothing_speaks_against_one_that_was_asked_about_one_class_only() -> None:
    labels = np.array([2, 2, 2], np.uint8)
    assert tells_classes(sure_of(labels, 0.1), labels)


def test_only_held_out_certain_pixels_are_compared() -> None:
    certain, held_out = np.zeros((50, 100), np.uint8), np.zeros((50, 100), bool)
    held_out[:40], certain[10:] = True, 2
    made = block(certain, held_out)
    ((found, window, at),) = judging_windows([made], np.random.default_rng(0), most=1, side=100)
    assert found is made
    assert len(at) == len(set(at)) == 1000
    rows = at // 100 + window[0].start
    assert rows.min() >= 10
    assert rows.max() < 40


def test_classes_and_blocks_take_turns() -> None:
    """A class held out in a few pixels of a few blocks is looked at as often, and in as many of them, as any other."""
    common, rare = np.full((40, 40), 2, np.uint8), np.full((40, 40), 2, np.uint8)
    rare[3, 4] = 1
    everything = np.ones((40, 40), bool)
    blocks = [block(rare if i >= 16 else common, everything) for i in range(20)]
    looks = list(judging_windows(blocks, np.random.default_rng(0), most=8, side=5))
    with_rare = [made for made, window, _ in looks if (made.knowledge.certain[window] == 1).any()]
    assert len({id(made) for made in with_rare}) == 4
    assert len({id(made) for made, *_ in looks}) >= 7
    assert len(looks) == 8


def test_or_only_certain_pixels_that_are_learned_from() -> None:
    certain, held_out = np.zeros((50, 100), np.uint8), np.zeros((50, 100), bool)
    held_out[:40], certain[10:] = True, 2
    made = block(certain, held_out)
    ((_, window, at),) = judging_windows([made], np.random.default_rng(0), most=1, side=100, held_out=False)
    assert (at // 100 + window[0].start).min() >= 40


def test_right_is_a_mean_over_the_classes() -> None:
    labels = np.array([1, 1, 1, 2], np.uint8)
    assert mean_right(sure_of(np.array([1, 1, 2, 1], np.uint8), 0.9), labels) == pytest.approx((2 / 3 + 0) / 2)


def test_nothing_is_compared_where_nothing_is_held_out() -> None:
    nothing = block(np.ones((40, 40), np.uint8), np.zeros((40, 40), bool))
    assert not list(judging_windows([nothing], np.random.default_rng(0), most=8, side=5))
