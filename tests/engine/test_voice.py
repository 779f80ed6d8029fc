"""What the averaged network says of images of any size."""

import numpy as np
import pytest
import torch

from napari_weakseg.engine.networks import UNet
from napari_weakseg.engine.voice import Voice

MIRRORED = {2: (-2,), 3: (-3, -2)}


def voice(ndim: int, factor: int = 1) -> Voice:
    torch.manual_seed(0)
    network, made = UNet(ndim, 1, 3, width=4).eval(), Voice()
    made.speak_for(network, torch.device("cpu"), (factor,) * ndim)
    return made


def image(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_mirror_image_gets_the_mirror_image_of_the_answer(ndim: int, factor: int) -> None:
    speaker, pixels = voice(ndim, factor), image((64, 96) if ndim == 2 else (32, 32, 64))
    said = np.concatenate([x.reshape(-1, *pixels.shape[1:]) for x in speaker.predicts(pixels, 0, "any")])
    turned = speaker.predicts(np.flip(pixels, MIRRORED[ndim]).copy(), 0, "any")
    turned = np.concatenate([x.reshape(-1, *pixels.shape[1:]) for x in turned])
    np.testing.assert_allclose(np.flip(turned, MIRRORED[ndim]), said, atol=1e-5)
    assert not np.allclose(said[:-1], speaker.says(pixels, 0)[0], atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 96), (33, 71), (16, 24, 40)])
def test_both_looks_have_the_shape_of_the_image_and_sum_to_one(shape: tuple[int, ...]) -> None:
    said, inwardness = voice(len(shape)).predicts(image(shape), 0, "any")
    assert said.shape == (3, *shape)
    assert inwardness.shape == shape
    np.testing.assert_allclose(said.sum(0), 1, atol=1e-5)


def test_what_has_an_up_is_not_looked_at_upside_down() -> None:
    speaker, pixels = voice(2), image((40, 56))
    np.testing.assert_allclose(speaker.predicts(pixels, 0, "fixed")[0], speaker.says(pixels, 0)[0], atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_how_far_inside_a_pixel_lies_is_told_only_after_it_was_learned(ndim: int) -> None:
    network, speaker = UNet(ndim, 1, 3, width=4, heads={"inwardness"}).eval(), Voice()
    speaker.speak_for(network, torch.device("cpu"), (1,) * ndim)
    pixels = image((32, 48) if ndim == 2 else (16, 32, 32))
    assert not speaker.predicts(pixels, 0, "any")[1].any()
    assert network.inwardness is not None
    torch.nn.init.normal_(next(network.inwardness.parameters()))
    told = speaker.predicts(pixels, 0, "any")[1]
    assert 0 < told.min() < told.max() <= 1
