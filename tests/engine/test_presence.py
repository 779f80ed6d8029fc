"""Presence masking as published, and how the set loss differs from it."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from napari_weakseg.engine.losses import set_loss
from napari_weakseg.engine.presence import PresenceDice, PresenceMode, presence_dice, presence_loss, presence_mask

SHAPES = [(6, 8), (4, 6, 5)]
K = 4  # background, two annotated classes, one that nobody looked for
ANNOTATED = torch.tensor([[True, True, True, False]])
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])
modes = pytest.mark.parametrize("mode", get_args(PresenceMode))

#: weight by label (annotated class 1, background) and prediction (background, class 1, class 2, the other one)
TABLE = {
    "base": [[1, 1, 1, 1], [0, 0, 0, 0]],
    "or": [[1, 1, 2, 1], [0, 1, 1, 0]],
    "plus": [[1, 2, 2, 1], [0, 1, 1, 0]],
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(shape: tuple[int, ...], n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(n, K, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    return z, torch.randint(0, 3, (n, *shape), generator=rng(1))


@both
@modes
def test_the_mask_is_that_of_the_published_table(shape: tuple[int, ...], mode: PresenceMode) -> None:
    weight = ANNOTATED.double() * torch.tensor([0.0, 1, 1, 1])
    for row, label in enumerate((1, 0)):
        for predicted in range(K):
            labels = torch.full((1, *shape), label)
            logits = F.one_hot(torch.full((1, *shape), predicted), K).movedim(-1, 1).double()
            mask = presence_mask(labels, logits, weight, mode)
            assert (mask == TABLE[mode][row][predicted]).all()


@both
@modes
def test_loss_and_gradient_equal_a_direct_implementation(shape: tuple[int, ...], mode: PresenceMode) -> None:
    z, labels = drawn(shape)
    annotated = torch.tensor([[True, True, True, False], [False, True, False, False]])
    labels[1][labels[1] == 2] = 0
    loss = presence_loss(z, labels, annotated, mode=mode, dice="none")
    mask = torch.zeros(2, *shape, dtype=torch.float64)
    for b in range(2):
        for c in (1, 2, 3):
            if annotated[b, c]:
                is_label, is_seen = (labels[b] == c).double(), (z.detach()[b].argmax(0) == c).double()
                mask[b] += {"base": is_label, "or": torch.maximum(is_label, is_seen), "plus": is_label + is_seen}[mode]
    p = z.detach().softmax(1)
    counted = (mask > 0).sum()
    nll = -p.gather(1, labels[:, None]).squeeze(1).log()
    torch.testing.assert_close(loss, (mask * nll).sum() / counted)
    loss.backward()
    true = F.one_hot(labels, K).movedim(-1, 1)
    torch.testing.assert_close(z.grad, mask[:, None] / counted * (p - true), rtol=1e-9, atol=1e-12)
    assert (z.grad.movedim(1, -1)[mask == 0] == 0).all()


@both
@pytest.mark.parametrize("kind", ["soft", "log"])
def test_dice_equals_a_direct_implementation(shape: tuple[int, ...], kind: str) -> None:
    z, labels = drawn(shape)
    weight = torch.tensor([[0.0, 1, 1, 0], [0, 1, 0, 0]])
    value = presence_dice(z, labels, weight, kind)  # type: ignore[arg-type]
    p, terms = z.detach().softmax(1), []
    for b, c in ((0, 1), (0, 2), (1, 1)):
        i, size = p[b, c][labels[b] == c].sum(), p[b, c].sum() + (labels[b] == c).sum()
        terms.append(1 - 2 * i / size if kind == "soft" else size.log() - (2 * i).log())
    torch.testing.assert_close(value, torch.stack(terms).mean())


@both
def test_base_is_never_above_or_and_or_never_above_plus(shape: tuple[int, ...]) -> None:
    z, labels = drawn(shape)
    weight = torch.tensor([[0.0, 1, 1, 0]]).expand(2, K)
    base, either, plus = (presence_mask(labels, z, weight, mode) for mode in ("base", "or", "plus"))
    assert (base <= either).all()
    assert (either <= plus).all()
    assert (either < plus).any()


@both
@modes
def test_nothing_annotated_teaches_nothing(shape: tuple[int, ...], mode: PresenceMode) -> None:
    z, labels = drawn(shape)
    loss = presence_loss(z, labels * 0, torch.zeros(2, K, dtype=torch.bool), mode=mode)
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


@both
def test_all_annotated_is_cross_entropy_of_the_foreground(shape: tuple[int, ...]) -> None:
    z, _ = drawn(shape)
    labels = torch.randint(1, K, (2, *shape), generator=rng(2))
    loss = presence_loss(z, labels, torch.ones(2, K, dtype=torch.bool), mode="base", dice="none")
    torch.testing.assert_close(loss, F.cross_entropy(z, labels))


@both
@modes
def test_classes_may_be_numbered_in_any_order(shape: tuple[int, ...], mode: PresenceMode) -> None:
    z, labels = drawn(shape)
    order = torch.tensor([0, 3, 1, 2])  # new channel of each old one; the background stays
    back = order.argsort()
    annotated = ANNOTATED.expand(2, K)
    one = presence_loss(z, labels, annotated, mode=mode)
    other = presence_loss(z[:, back], order[labels], annotated[:, back], mode=mode)
    torch.testing.assert_close(one, other)


def test_the_set_loss_lets_a_hidden_class_rise_where_presence_masking_pushes_it_down() -> None:
    z = torch.tensor([[0.0, 2.0, 0.0, 0.5]], dtype=torch.float64).view(1, K, 1, 1).requires_grad_()
    allowed = torch.tensor([True, False, False, True]).view(1, K, 1, 1)
    presence_loss(z, torch.zeros(1, 1, 1, dtype=torch.int64), ANNOTATED, mode="plus", dice="none").backward()
    published = z.grad[0, 3].item()
    z.grad = None
    set_loss(z, allowed, torch.zeros(1, 1, 1, dtype=torch.bool), weighting="plain").backward()
    assert published > 0 > z.grad[0, 3].item()


@pytest.mark.parametrize("mode", ["base", "or", "plus"])
@pytest.mark.parametrize("dice", ["soft", "log"])
def test_pixels_beyond_the_border_have_no_say(mode: PresenceMode, dice: PresenceDice) -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2, K, 6, 8, generator=generator)
    labels = torch.randint(0, K, (2, 6, 8), generator=generator)
    inside = torch.zeros(2, 6, 8, dtype=torch.bool)
    inside[..., :5] = True
    annotated = torch.ones(2, K, dtype=torch.bool)
    whole = presence_loss(z[..., :5], labels[..., :5], annotated, mode=mode, dice=dice)
    z.requires_grad_()
    loss = presence_loss(z, labels * inside, annotated, mode=mode, dice=dice, inside=inside)
    torch.testing.assert_close(loss, whole)
    (gradient,) = torch.autograd.grad(loss, z)
    assert not gradient[..., 5:].any()
    assert gradient[..., :5].any()
