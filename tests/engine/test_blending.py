"""The forest is kept beside the network where held-out marks of several classes speak for it."""

import numpy as np
import pytest

from napari_weakseg.engine.blending import best_share, held_out_pixel, held_out_pixels, tells_classes


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
    held_out, certain = np.zeros((50, 100), bool), np.zeros((50, 100), np.uint8)
    held_out[:40], certain[10:] = True, 2
    at = held_out_pixels(held_out, certain, np.random.default_rng(0))
    assert len(at) == len(set(at)) == 1000
    rows = at // 100
    assert rows.min() >= 10
    assert rows.max() < 40


def test_rare_classes_are_drawn_as_often_as_others() -> None:
    certain = np.ones((40, 40), np.uint8)
    certain[3, 4], certain[0] = 2, 0
    held_out = np.ones((40, 40), bool)
    held_out[1] = False
    rng = np.random.default_rng(0)
    drawn = [held_out_pixel(held_out, certain, rng) for _ in range(100)]
    found = [int(certain[tuple(at)]) for at in drawn if at is not None]
    assert 30 < found.count(2) < 70
    assert found.count(1) == 100 - found.count(2)
    assert all(at is not None and at[0] > 1 for at in drawn)
    assert held_out_pixel(held_out, np.zeros((40, 40), np.uint8), rng) is None
