"""The losses against plain loops, and the promises they make about what a person left open."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_weakseg.engine.losses import (
    decidable_dice,
    decode,
    project,
    set_loss,
    set_nll,
    soft_ce,
)

SHAPES = [(5, 6), (3, 4, 5)]
K = 4
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def scene(shape: tuple[int, ...], seed: int = 0, n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, sets (singletons, full ones, conflicts) and painted pixels (singletons only)."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, K, *shape, generator=g, dtype=torch.float64) * 2
    allowed = torch.rand(n, K, *shape, generator=g) < 0.5
    kind = torch.randint(0, 4, (n, *shape), generator=g)
    single = F.one_hot(torch.randint(0, K, (n, *shape), generator=g), K).movedim(-1, 1).bool()
    allowed = torch.where((kind == 0).unsqueeze(1), single, allowed)
    allowed = allowed | (kind == 1).unsqueeze(1)
    painted = (kind == 0) & (torch.rand(n, *shape, generator=g) < 0.7)
    return z, allowed, painted


def pixels(z: Tensor, allowed: Tensor, painted: Tensor) -> list[tuple[Tensor, Tensor, bool]]:
    zz, aa = z.movedim(1, -1).reshape(-1, K), allowed.movedim(1, -1).reshape(-1, K)
    return list(zip(zz, aa, painted.reshape(-1).tolist(), strict=True))


def direct_nll(z: Tensor, a: Tensor) -> Tensor:
    return -torch.log(z.softmax(0)[a].sum())


@both
def test_decode_reads_one_bit_per_class(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (2, *shape), dtype=np.int64)
    for tensor in (torch.from_numpy(bits), torch.from_numpy(bits.astype(np.uint32).view(np.int32))):
        sets = decode(tensor, 31)
        assert sets.shape == (2, 31, *shape)
        for k in range(1, 32):
            np.testing.assert_array_equal(sets[:, k - 1].numpy(), (bits >> k) & 1 == 1)


@both
def test_projection_is_a_distribution_over_the_allowed_classes(shape: tuple[int, ...]) -> None:
    z, allowed, _ = scene(shape)
    q = z.softmax(1)
    t, m = project(q, allowed)
    assert (t[~allowed] == 0).all()
    some = allowed.any(1)
    torch.testing.assert_close(t.sum(1)[some], torch.ones_like(m[some]))
    torch.testing.assert_close(m, (q * allowed).sum(1))
    torch.testing.assert_close(project(t, allowed)[0], t)
    assert (t.sum(1)[~some] == 0).all()
    assert (m[~some] == 0).all()


@both
def test_set_nll_equals_cross_entropy_where_one_class_is_left(shape: tuple[int, ...]) -> None:
    z, _, _ = scene(shape)
    y = torch.randint(0, K, (2, *shape), generator=torch.Generator().manual_seed(1))
    allowed = F.one_hot(y, K).movedim(-1, 1).bool()
    torch.testing.assert_close(set_nll(z, allowed), F.cross_entropy(z, y, reduction="none"))
    everything = torch.ones(2, *shape, dtype=torch.bool)
    torch.testing.assert_close(set_loss(z, allowed, everything, weighting="violation"), F.cross_entropy(z, y))
    torch.testing.assert_close(set_loss(z, allowed, ~everything, weighting="plain"), F.cross_entropy(z, y))


@both
def test_set_nll_gradient_is_prediction_minus_its_projection(shape: tuple[int, ...]) -> None:
    z, allowed, _ = scene(shape)
    z.requires_grad_()
    set_nll(z, allowed).sum().backward()
    p = z.detach().softmax(1)
    known = (allowed.any(1) & ~allowed.all(1)).unsqueeze(1)
    expected = torch.where(known, p - project(p, allowed)[0], 0.0)
    torch.testing.assert_close(z.grad, expected, atol=1e-12, rtol=0)
    assert (z.grad[allowed] <= 1e-15).all()
    assert (z.grad[~allowed & known] >= 0).all()
    assert (z.grad[~known.expand_as(z)] == 0).all()


@both
def test_soft_ce_with_its_own_projection_has_the_gradient_of_the_set_loss(shape: tuple[int, ...]) -> None:
    z, allowed, _ = scene(shape)
    z.requires_grad_()
    target, mass = project(z.softmax(1), allowed)
    known = allowed.any(1) & ~allowed.all(1)
    (by_claim,) = torch.autograd.grad(soft_ce(z, target, known & (mass > 0), known.sum()), z)
    (by_set,) = torch.autograd.grad(set_loss(z, allowed, known, weighting="plain"), z)
    torch.testing.assert_close(by_claim, by_set, atol=1e-10, rtol=0)


@both
@pytest.mark.parametrize("weighting", ["certain", "violation", "balanced", "plain"])
def test_set_loss_equals_a_plain_loop(shape: tuple[int, ...], weighting: str) -> None:
    z, allowed, painted = scene(shape)
    marked, rest, violated = [], [], []
    for zx, ax, is_painted in pixels(z, allowed, painted):
        if ax.all() or not ax.any():
            continue
        nll = direct_nll(zx, ax)
        if is_painted or (weighting == "certain" and ax.sum() == 1):
            marked.append(nll)
        else:
            rest.append(nll)
            if not ax[zx.argmax()]:
                violated.append(nll)

    def mean(group: list[Tensor]) -> Tensor:
        return torch.stack(group).mean()

    def mined() -> Tensor:
        counted = len(marked) + len(violated)
        punished = torch.stack(violated).sum() / max(counted, 0.3 * len(rest))
        return torch.stack(marked).sum() / counted + punished + 0.1 * mean(rest)

    expected = {
        "certain": mined(),
        "violation": mined(),
        "balanced": (mean(marked) + mean(rest)) / 2,
        "plain": mean(marked + rest),
    }[weighting]
    torch.testing.assert_close(set_loss(z, allowed, painted, weighting=weighting), expected)


@both
@pytest.mark.parametrize("weighting", ["certain", "violation", "balanced", "plain"])
def test_an_unannotated_image_and_a_conflict_teach_exactly_nothing(shape: tuple[int, ...], weighting: str) -> None:
    for fill in (True, False):
        z = scene(shape)[0].requires_grad_()
        allowed = torch.full((2, K, *shape), fill)
        painted = torch.full((2, *shape), not fill)
        loss = set_loss(z, allowed, painted, weighting=weighting) + decidable_dice(z, allowed)
        loss.backward()
        assert loss.item() == 0
        assert (z.grad == 0).all()


@both
def test_a_single_wrong_pixel_where_nothing_is_painted_has_not_all_the_say(shape: tuple[int, ...]) -> None:
    z, _, _ = scene(shape)
    z = z.requires_grad_()
    allowed = F.one_hot(z.argmax(1), K).movedim(-1, 1).bool()
    allowed |= allowed.roll(1, 1)
    at = (0, slice(None), *(0 for _ in shape))
    allowed[at] = ~allowed[at]
    (gradient,) = torch.autograd.grad(set_loss(z, allowed, torch.zeros(2, *shape, dtype=torch.bool)), z)
    known = 2 * np.prod(shape)
    assert gradient[at].abs().max() <= (1 / 0.3 + 0.1) / known + 1e-6


@both
def test_only_the_floor_is_left_once_every_prediction_is_allowed(shape: tuple[int, ...]) -> None:
    z, _, _ = scene(shape)
    top = F.one_hot(z.argmax(1), K).movedim(-1, 1).bool()
    other = top.roll(1, 1)
    allowed, painted = top | other, torch.zeros(2, *shape, dtype=torch.bool)
    expected = 0.1 * set_nll(z, allowed).mean()
    torch.testing.assert_close(set_loss(z, allowed, painted), expected)
    assert set_loss(z, allowed, painted, floor=0.0).item() == 0


@both
def test_a_larger_set_costs_less(shape: tuple[int, ...]) -> None:
    z, allowed, _ = scene(shape)
    wider = allowed | scene(shape, seed=7)[1]
    some = allowed.any(1)
    assert (set_nll(z, wider)[some] <= set_nll(z, allowed)[some] + 1e-12).all()


@both
def test_permuting_the_classes_permutes_the_gradient(shape: tuple[int, ...]) -> None:
    z, allowed, painted = scene(shape)
    order = torch.tensor([2, 0, 3, 1])

    def gradient(z: Tensor, allowed: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        (set_loss(z, allowed, painted) + decidable_dice(z, allowed)).backward()
        return z.grad

    torch.testing.assert_close(gradient(z[:, order], allowed[:, order]), gradient(z, allowed)[:, order])


@both
def test_turning_image_and_knowledge_together_leaves_the_loss(shape: tuple[int, ...]) -> None:
    z, allowed, painted = scene(shape)
    turned = [x.rot90(1, (-2, -1)).flip(-1) for x in (z, allowed, painted)]
    torch.testing.assert_close(set_loss(*turned), set_loss(z, allowed, painted))
    torch.testing.assert_close(decidable_dice(*turned[:2]), decidable_dice(z, allowed))


@both
def test_no_weight_means_exactly_no_gradient(shape: tuple[int, ...]) -> None:
    z, allowed, _ = scene(shape)
    z.requires_grad_()
    target, _ = project(torch.ones_like(z) / K, allowed)
    loss = soft_ce(z, target, torch.zeros(2, *shape), 0.0)
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


@both
def test_a_claim_against_a_painted_pixel_changes_nothing_there(shape: tuple[int, ...]) -> None:
    z, _, _ = scene(shape)
    y = torch.zeros(2, *shape, dtype=torch.long)
    allowed = F.one_hot(y, K).movedim(-1, 1).bool()
    claim = F.one_hot(y + 1, K).movedim(-1, 1).double()
    target, mass = project(claim, allowed)
    assert (mass == 0).all()
    assert (target == 0).all()
    assert soft_ce(z, target, mass, 1.0).item() == 0


def test_decidable_dice_equals_a_plain_loop() -> None:
    for shape in SHAPES:
        z, allowed, _ = scene(shape, seed=3)
        p, terms = z.softmax(1), []
        for b in range(len(z)):
            for c in range(K):
                pos = allowed[b, c] & (allowed[b].sum(0) == 1)
                neg = ~allowed[b, c] & allowed[b].any(0)
                if pos.any():
                    denominator = p[b, c][pos | neg].sum() + pos.sum() + 1
                    terms.append(1 - (2 * p[b, c][pos].sum() + 1) / denominator)
        torch.testing.assert_close(decidable_dice(z, allowed), torch.stack(terms).mean())


@both
def test_dice_of_a_complete_class_is_soft_dice_and_undecided_pixels_get_nothing(
    shape: tuple[int, ...],
) -> None:
    z, _, _ = scene(shape)
    z.requires_grad_()
    inside = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2)) < 0.4
    allowed = torch.ones(2, K, *shape, dtype=torch.bool)
    allowed[:, 1] = inside
    for other in (0, 2, 3):
        allowed[:, other] = ~inside
    p = z.softmax(1)[:, 1]
    both_axes = tuple(range(1, p.ndim))
    dice = (2 * (p * inside).sum(both_axes) + 1) / (p.sum(both_axes) + inside.sum(both_axes) + 1)
    torch.testing.assert_close(decidable_dice(z, allowed), (1 - dice).mean())

    undecided = torch.ones_like(allowed)
    undecided[:, :, ..., :2] = False
    undecided[:, 0, ..., :2] = True
    decidable_dice(z, undecided).backward()
    assert (z.grad[..., 2:] == 0).all()
    assert (z.grad[..., :2] != 0).any()


@both
def test_gradients_are_numerically_right(shape: tuple[int, ...]) -> None:
    z, allowed, painted = scene(shape, n=1)
    z = z[..., :3].clone().requires_grad_()
    allowed, painted = allowed[..., :3], painted[..., :3]
    target, mass = project(z.detach().softmax(1), allowed)
    assert torch.autograd.gradcheck(lambda z: set_nll(z, allowed), z)
    assert torch.autograd.gradcheck(lambda z: set_loss(z, allowed, painted), z)
    assert torch.autograd.gradcheck(lambda z: decidable_dice(z, allowed), z)
    assert torch.autograd.gradcheck(lambda z: soft_ce(z, target, mass, 3.0), z)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.floats(1, 80), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_extreme_logits_stay_finite(seed: int, scale: float, dtype: torch.dtype) -> None:
    z, allowed, painted = scene((4, 4), seed=seed)
    z = (z * scale).to(dtype).requires_grad_()
    loss = set_loss(z, allowed, painted) + decidable_dice(z, allowed)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(z.grad).all()
