"""The filter bank: sizes, symmetry, and images it must survive."""

from typing import Any

import pytest
import torch

from napari_weakseg.engine.features import FilterBank, _eigenvalues_2d, _eigenvalues_3d


@pytest.mark.parametrize(("ndim", "shape"), [(2, (32, 40)), (3, (8, 12, 16))])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_gives_so_many_responses_a_scale_and_channel(ndim: int, shape: tuple[int, ...], channels: int) -> None:
    bank = FilterBank(ndim, channels)
    found = bank(torch.randn(2, channels, *shape))
    filtered = channels if channels <= 4 else 1
    assert found.shape == (2, bank.n_features, *shape)
    assert bank.n_features == filtered * (2 + 2 * ndim) * len(bank.scales_px)
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
    bank = FilterBank(ndim, 1)
    found = bank(torch.full((1, 1, *shape), 0.7)).view(-1, bank.per_scale, *shape)
    torch.testing.assert_close(found[:, 0], torch.full((len(found), *shape), 0.7))
    assert found[:, 1:].abs().max() < 1e-4


@pytest.mark.parametrize("ndim", [2, 3])
def test_structure_tells_one_direction_from_several(ndim: int) -> None:
    side = 24
    waves = [
        (2 * torch.pi * torch.arange(side) / 6).sin().view([-1 if a == i else 1 for a in range(ndim)]) for i in (0, 1)
    ]
    bank = FilterBank(ndim, 1, (1.0,))
    inner = (slice(None), *[slice(6, -6)] * ndim)
    striped = bank(waves[0].expand([side] * ndim)[None, None])[0][inner][-ndim:]
    crossed = bank((waves[0] + waves[1]).expand([side] * ndim)[None, None])[0][inner][-ndim:]
    assert striped[0].min() > 0.1
    assert striped[1:].max() < 0.05 * striped[0].min()
    assert crossed[1].min() > 0.1
    assert (crossed[2:].numel() == 0) or crossed[2:].max() < 0.05 * crossed[1].min()


@pytest.mark.parametrize(("ndim", "solve"), [(2, _eigenvalues_2d), (3, _eigenvalues_3d)])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_eigenvalues_are_those_of_linear_algebra(ndim: int, solve: Any, rank: int) -> None:
    columns = torch.randn(500, ndim, min(rank, ndim), generator=torch.Generator().manual_seed(rank))
    signs = torch.where(torch.arange(min(rank, ndim)) % 2 == 0, 1.0, -1.0)
    matrices = (columns * signs) @ columns.transpose(1, 2)
    upper = {(i, j): matrices[:, i, j] for i in range(ndim) for j in range(i, ndim)}
    expected = torch.linalg.eigvalsh(matrices).flip(1)
    torch.testing.assert_close(torch.stack(solve(upper), 1), expected, atol=1e-2, rtol=1e-3)


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


@pytest.mark.parametrize("shape", [(70, 53), (9, 40, 33), (3, 4)])
def test_some_pixels_alone_have_the_same_responses(shape: tuple[int, ...]) -> None:
    bank = FilterBank(len(shape), 2)
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    places = torch.stack(torch.meshgrid(*(torch.arange(0, n, 2) for n in shape), indexing="ij"), -1).flatten(0, -2)
    everywhere = bank(image[None])[0]
    torch.testing.assert_close(bank.at(image, places), everywhere[(slice(None), *places.T)].T, atol=1e-4, rtol=1e-4)
