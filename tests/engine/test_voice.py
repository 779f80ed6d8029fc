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
    said = speaker.says_twice(pixels, 0, "any")
    turned = speaker.says_twice(np.flip(pixels, MIRRORED[ndim]).copy(), 0, "any")
    np.testing.assert_allclose(np.flip(turned, MIRRORED[ndim]), said, atol=1e-5)
    assert not np.allclose(said, speaker.says(pixels, 0)[0], atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 96), (33, 71), (16, 24, 40)])
def test_both_looks_have_the_shape_of_the_image_and_sum_to_one(shape: tuple[int, ...]) -> None:
    said = voice(len(shape)).says_twice(image(shape), 0, "any")
    assert said.shape == (3, *shape)
    np.testing.assert_allclose(said.sum(0), 1, atol=1e-5)


def test_what_has_an_up_is_not_looked_at_upside_down() -> None:
    speaker, pixels = voice(2), image((40, 56))
    np.testing.assert_allclose(speaker.says_twice(pixels, 0, "fixed"), speaker.says(pixels, 0)[0], atol=1e-6)
