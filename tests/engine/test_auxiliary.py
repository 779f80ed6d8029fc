"""The losses of the auxiliary heads."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_weakseg.engine.auxiliary import (
    IGNORE,
    approximation_loss,
    multiscale_loss,
    separation_loss,
    tri_pool,
)

SHAPES = [(16, 32), (16, 16, 16)]
K = 3
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full_mask(shape: tuple[int, ...], n: int = 1) -> Tensor:
    y = torch.randint(0, K, (n, *shape), generator=rng())
    return F.one_hot(y, K).movedim(-1, 1).bool()


@both
def test_approximation_loss_is_cross_entropy_outside_the_ring(shape: tuple[int, ...]) -> None:
    z = torch.randn(2, K + 1, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, K + 1, (2, *shape), generator=rng(1), dtype=torch.uint8)
    ring = torch.rand(2, *shape, generator=rng(2)) < 0.3
    target[ring] = IGNORE
    loss = approximation_loss(z, target)
    expected = F.cross_entropy(z, target.long(), reduction="none", ignore_index=IGNORE)[~ring].mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (z.grad.movedim(1, -1)[ring] == 0).all()


@both
def test_an_image_without_targets_adds_nothing(shape: tuple[int, ...]) -> None:
    unknown = torch.full((1, *shape), IGNORE, dtype=torch.uint8)
    for loss_of, channels in ((approximation_loss, K + 1), (separation_loss, 1)):
        z = torch.randn(1, channels, *shape, generator=rng(), requires_grad=True)
        loss = loss_of(z, unknown)
        loss.backward()
        assert loss.item() == 0
        assert (z.grad == 0).all()


@both
@pytest.mark.parametrize("weight", [None, 3.0])
def test_separation_loss_equals_a_direct_mean(shape: tuple[int, ...], weight: float | None) -> None:
    z = torch.randn(2, 1, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    u = torch.rand(2, *shape, generator=rng(1))
    target = torch.where(u < 0.1, 1, torch.where(u < 0.5, 0, IGNORE)).to(torch.uint8)
    p = z.squeeze(1).sigmoid()
    positive, negative = -p[target == 1].log(), -(1 - p[target == 0]).log()
    w = weight if weight is not None else len(negative) / len(positive)
    expected = (w * positive.sum() + negative.sum()) / (w * len(positive) + len(negative))
    loss = separation_loss(z, target, positive_weight=weight)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (z.grad.squeeze(1)[target == IGNORE] == 0).all()


@both
def test_pooled_targets_of_a_full_mask_are_its_max_pooling(shape: tuple[int, ...]) -> None:
    allowed = full_mask(shape)
    pool = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    for window in (1, 2, 8):
        present, weight = tri_pool(allowed, window)
        torch.testing.assert_close(present, pool(allowed.float(), window))
        assert (weight == 1).all()


@both
def test_pooling_twice_by_two_equals_pooling_by_four(shape: tuple[int, ...]) -> None:
    """The two pooled facts (certainly there, still possible) compose; an unknown stays an unknown."""
    u = torch.rand(1, 1, *shape, generator=rng(4))
    allowed = torch.where(u < 0.3, full_mask(shape), torch.rand(1, K, *shape, generator=rng(5)) < 0.7)
    allowed |= ~allowed.any(1, keepdim=True)
    pool = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    fine, fine_weight = tri_pool(allowed, 2)
    coarse, coarse_weight = tri_pool(allowed, 4)
    torch.testing.assert_close(pool(fine, 2), coarse)
    possible = 1 - fine_weight * (1 - fine)
    torch.testing.assert_close(torch.maximum(coarse, 1 - pool(possible, 2)), coarse_weight)
    assert (coarse_weight[coarse == 1] == 1).all()


def test_pooled_target_of_an_unknown_window_is_left_out() -> None:
    allowed = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    allowed[:, 0] = True
    present, weight = tri_pool(allowed, 16)
    assert present.flatten().tolist() == [1, 0]
    assert weight.flatten().tolist() == [1, 1]
    allowed[:, 1, 3, 4] = True
    assert tri_pool(allowed, 16)[1].flatten().tolist() == [1, 0]
    allowed[:, 0, 3, 4] = False
    present, weight = tri_pool(allowed, 16)
    assert present.flatten().tolist() == [1, 1]
    assert weight.flatten().tolist() == [1, 1]
    conflict = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    assert (tri_pool(conflict, 4)[1] == 0).all()


@both
def test_multiscale_loss_of_a_full_mask_is_multi_label_deep_supervision(shape: tuple[int, ...]) -> None:
    allowed = full_mask(shape)
    pool = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    levels = [torch.randn(1, K, *(s // f for s in shape), generator=rng(f), dtype=torch.float64) for f in (16, 4, 1)]
    expected = sum(
        F.binary_cross_entropy(z.sigmoid(), pool(allowed.double(), s // z.shape[2]))
        for z, s in ((z, shape[0]) for z in levels)
    )
    torch.testing.assert_close(multiscale_loss(levels, allowed), expected)


@both
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([1, 2, 8]), st.sampled_from([0.0, 0.01, 0.3]))
def test_a_level_learns_from_what_is_known_of_a_window_and_exactly_nothing_from_the_rest(
    shape: tuple[int, ...], seed: int, window: int, stray: float
) -> None:
    """Each class by itself: that one is in a window says nothing of the others."""
    g, coarse = rng(seed), (2, K, *(size // window for size in shape))
    possible_at_all = F.interpolate((torch.rand(coarse, generator=g) < 0.6).float(), scale_factor=window) > 0
    allowed = possible_at_all | (torch.rand(2, K, *shape, generator=g) < stray)
    z = torch.randn(coarse, generator=g, dtype=torch.float64, requires_grad=True)
    multiscale_loss([z], allowed).backward()
    for b, *at in product(range(2), *(range(size) for size in z.shape[2:])):
        pixels = allowed[(b, slice(None), *(slice(i * window, (i + 1) * window) for i in at))].flatten(1).T.tolist()
        for c, gradient in enumerate(z.grad[(b, slice(None), *at)].tolist()):
            there = any(pixel[c] and sum(pixel) == 1 for pixel in pixels)
            possible = any(pixel[c] or not any(pixel) for pixel in pixels)
            assert gradient < 0 if there else gradient == 0 if possible else gradient > 0


@both
def test_multiscale_loss_of_an_unannotated_image_is_exactly_zero(shape: tuple[int, ...]) -> None:
    z = torch.randn(1, K, *(s // 4 for s in shape), generator=rng(), requires_grad=True)
    loss = multiscale_loss([z], torch.ones(1, K, *shape, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()
