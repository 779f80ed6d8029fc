"""The filter bank: sizes, symmetry, and images it must survive."""

import pytest
import torch

from napari_weakseg.engine.features import PER_SCALE, FilterBank


@pytest.mark.parametrize(("ndim", "shape"), [(2, (32, 40)), (3, (8, 12, 16))])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_gives_four_responses_a_scale_and_channel(ndim: int, shape: tuple[int, ...], channels: int) -> None:
    bank = FilterBank(ndim, channels)
    found = bank(torch.randn(2, channels, *shape))
    filtered = channels if channels <= 4 else 1
    assert found.shape == (2, bank.n_features, *shape)
    assert bank.n_features == filtered * PER_SCALE * len(bank.scales_px)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(("ndim", "shape"), [(2, (64, 64)), (3, (16, 32, 32))])
def test_turns_and_flips_with_the_image(ndim: int, shape: tuple[int, ...]) -> None:
    bank = FilterBank(ndim, 1)
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    found = bank(image)
    for k in range(1, 4):
        torch.testing.assert_close(
            bank(torch.rot90(image, k, (-2, -1))), torch.rot90(found, k, (-2, -1)), atol=1e-4, rtol=1e-4
        )
    for axis in range(2, 2 + ndim):
        torch.testing.assert_close(bank(image.flip(axis)), found.flip(axis), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (24, 24)), (3, (6, 10, 10))])
def test_sees_nothing_but_the_level_in_a_constant_image(ndim: int, shape: tuple[int, ...]) -> None:
    found = FilterBank(ndim, 1)(torch.full((1, 1, *shape), 0.7)).view(4, PER_SCALE, *shape)
    torch.testing.assert_close(found[:, 0], torch.full((4, *shape), 0.7))
    assert found[:, 1:].abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3), (5, 17), (33, 31), (1, 1, 1), (1, 9, 20), (3, 2, 7)])
def test_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    found = FilterBank(len(shape), 1)(torch.randn(1, 1, *shape))
    assert found.shape[2:] == shape
    assert torch.isfinite(found).all()


def test_samples_and_channels_do_not_mix() -> None:
    bank = FilterBank(2, 2)
    image = torch.randn(3, 2, 16, 16)
    together = bank(image)
    for i in range(3):
        torch.testing.assert_close(bank(image[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)
    changed = image.clone()
    changed[:, 1] = 0
    half = bank.n_features // 2
    after = bank(changed)
    torch.testing.assert_close(after[:, :half], together[:, :half])
    assert after[:, half:].abs().max() == 0


def test_looks_no_farther_than_it_says() -> None:
    bank = FilterBank(2, 1)
    image = torch.randn(1, 1, 128, 128)
    changed = image.clone()
    changed[..., :32] += 10
    away = 32 + bank.margin_px + 8  # the coarser scales work on smaller images
    torch.testing.assert_close(bank(image)[..., away:], bank(changed)[..., away:], atol=1e-4, rtol=1e-4)
