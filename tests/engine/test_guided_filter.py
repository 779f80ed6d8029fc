"""Smoothing of class probabilities that keeps to the edges of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from napari_weakseg.engine.guided_filter import guided_filter


def probabilities(rng: np.random.Generator, classes: int, shape: tuple[int, ...]) -> np.ndarray:
    said = rng.random((classes, *shape)).astype(np.float32)
    return said / said.sum(0)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 5),
    st.integers(1, 3),
    st.lists(st.integers(1, 17), min_size=2, max_size=3),
    st.floats(0.01, 100),
)
@settings(max_examples=60, deadline=None)
def test_probabilities_stay_probabilities(seed: int, classes: int, channels: int, shape: list[int], scale: float):
    rng = np.random.default_rng(seed)
    pixels = (scale * rng.normal(size=(channels, *shape))).astype(np.float32)
    found = guided_filter(probabilities(rng, classes, tuple(shape)), pixels)
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-4)


@pytest.mark.parametrize(("shape", "side"), [((40, 50), 7), ((9, 20, 21), 3)])
def test_where_the_image_is_even_it_is_a_mean_over_windows(shape: tuple[int, ...], side: int):
    said = probabilities(np.random.default_rng(0), 3, shape)
    expected = [uniform_filter(uniform_filter(values, side), side) for values in said]
    np.testing.assert_allclose(guided_filter(said, np.full((1, *shape), 0.7, np.float32)), expected, atol=1e-4)


def test_a_border_along_an_edge_of_the_image_stays_and_one_across_nothing_fades():
    edge = np.zeros((1, 32, 32), np.float32)
    edge[..., 16:] = 1
    said = np.stack([1 - edge[0], edge[0]])
    kept, faded = guided_filter(said, edge)[1, 16], guided_filter(said, np.zeros_like(edge))[1, 16]
    assert kept[16] - kept[15] > 0.8
    assert faded[16] - faded[15] < 0.2


def test_single_pixels_that_the_image_does_not_show_are_smoothed_away():
    said = np.zeros((2, 21, 21), np.float32)
    said[0], said[:, 10, 10] = 1, (0, 1)
    assert guided_filter(said, np.zeros((1, 21, 21), np.float32))[1].max() < 0.1
