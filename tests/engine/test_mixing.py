"""Two segmentations that teach each other on mixed patches."""

import pytest
import torch
import torch.nn.functional as F

from napari_weakseg.engine.mixing import cross_pseudo_loss, cut_windows, mixed

SHAPES = [(6, 8), (4, 6, 5)]
K = 3
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@both
def test_windows_take_half_of_each_patch(shape: tuple[int, ...]) -> None:
    windows = cut_windows(20, shape, generator=rng())
    share = windows.flatten(1).float().mean(1)
    assert ((share > 0.3) & (share < 0.7)).all()
    assert len({tuple(w.flatten().tolist()) for w in windows}) > 1


@both
def test_mixing_with_nothing_or_everything(shape: tuple[int, ...]) -> None:
    x = torch.randn(3, 2, *shape, generator=rng())
    nothing = torch.zeros(3, *shape, dtype=torch.bool)
    assert torch.equal(mixed(x, nothing), x)
    assert torch.equal(mixed(x, ~nothing), x[[1, 2, 0]])
    assert torch.equal(mixed(x[:, 0], ~nothing), x[[1, 2, 0], 0])


@both
def test_swapping_the_patches_and_the_mask_changes_nothing(shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 1, *shape, generator=rng())
    windows = cut_windows(1, shape, generator=rng()).expand(2, *shape)
    assert torch.equal(mixed(x, windows)[0], mixed(x.flip(0), ~windows)[0])


@both
def test_each_direction_teaches_one_of_the_two_only(shape: tuple[int, ...]) -> None:
    def drawn(seed: int) -> torch.Tensor:
        return torch.randn(2, K, *shape, generator=rng(seed), dtype=torch.float64, requires_grad=True)

    seen, said = (drawn(0), drawn(1)), (drawn(2), drawn(3))
    allowed = torch.ones(2, K, *shape, dtype=torch.bool)
    trust = torch.rand(2, *shape, generator=rng(4), dtype=torch.float64)
    loss = cross_pseudo_loss(seen, said, allowed, trust)
    expected = sum(
        (trust * F.cross_entropy(z, other.argmax(1), reduction="none")).mean()
        for z, other in ((seen[0], said[1]), (seen[1], said[0]))
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert said[0].grad is None
    assert said[1].grad is None
    first = seen[0].grad.clone()
    seen[0].grad = None
    cross_pseudo_loss(seen, (torch.randn_like(said[0]), said[1].detach()), allowed, trust).backward()
    torch.testing.assert_close(seen[0].grad, first)


@both
def test_agreeing_and_sure_networks_have_nothing_to_learn(shape: tuple[int, ...]) -> None:
    z = 50 * F.one_hot(torch.randint(0, K, (2, *shape), generator=rng()), K).movedim(-1, 1).double()
    allowed, trust = torch.ones(2, K, *shape, dtype=torch.bool), torch.ones(2, *shape)
    assert cross_pseudo_loss((z, z), (z, z), allowed, trust).item() == pytest.approx(0, abs=1e-9)


@both
def test_an_impossible_pseudo_label_teaches_nothing(shape: tuple[int, ...]) -> None:
    z = torch.randn(1, K, *shape, generator=rng(), requires_grad=True)
    says_last = torch.zeros(1, K, *shape)
    says_last[:, -1] = 9.0
    allowed = torch.ones(1, K, *shape, dtype=torch.bool)
    allowed[:, -1] = False
    loss = cross_pseudo_loss((z, z), (says_last, says_last), allowed, torch.ones(1, *shape))
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()
