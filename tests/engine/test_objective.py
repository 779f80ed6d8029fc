"""The one objective: every term restricts or persuades, and each published method is a setting of it."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.presets import PRESETS
from napari_weakseg.engine.bags import Boxes
from napari_weakseg.engine.mixing import cut_windows
from napari_weakseg.engine.networks import Outputs
from napari_weakseg.engine.objective import Given, Mix, objective
from napari_weakseg.engine.teacher import PseudoLabel, teacher_target

SHAPES = [(16, 16), (16, 16, 16)]
K = 3
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])

#: Nothing but the marks.
BARE = {
    "dice_weight": 0,
    "exact_dice_weight": 0,
    "claim_weight": 0,
    "approximation_weight": 0,
    "separation_weight": 0,
    "inwardness_weight": 0,
    "rough_weight": 0,
    "bag_weight": 0,
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs(shape: tuple[int, ...], n: int = 2, seed: int = 0, *, second: bool = False) -> Outputs:
    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()

    generator = rng(seed)
    levels = tuple(drawn(n, K, *(size // step for size in shape)) for step in (8, 4, 2, 1))
    return Outputs(
        drawn(n, K, *shape),
        drawn(n, K + 1, *shape),
        drawn(n, 1, *shape),
        (drawn(n, 4, *shape),),
        levels,
        drawn(n, K, *(size // 8 for size in shape)),
        drawn(n, K, *shape) if second else None,
        drawn(n, 1, *shape),
    )


def given(allowed: Tensor, *, exact: int = 0, **fields: Tensor) -> Given:
    n, shape = len(allowed), allowed.shape[2:]
    nothing = torch.zeros(n, *shape, dtype=torch.uint8)
    known = allowed.sum(1) == 1
    usual = {"painted": known, "claim": nothing, "claim_weight": nothing, "interface": nothing + 255}
    return Given(
        allowed,
        {**usual, "approximation": nothing + 255, "inwardness": nothing + 255, **fields},
        torch.zeros(n, K, dtype=torch.int8),
        torch.zeros(n, K, dtype=torch.bool),
        Boxes.of([], len(shape)),
        exact,
        0,
    )


def total(config: TrainConfig, out: Outputs, known: Given, **extra: Any) -> Tensor:
    return torch.stack(list(objective(config, out, known, **extra).values())).sum()


def full_mask(shape: tuple[int, ...], n: int = 2) -> tuple[Tensor, Tensor]:
    y = torch.randint(0, K, (n, *shape), generator=rng(9))
    return y, F.one_hot(y, K).movedim(-1, 1).bool()


@both
def test_full_supervision_is_cross_entropy(shape: tuple[int, ...]) -> None:
    y, allowed = full_mask(shape)
    out = outputs(shape)
    loss = total(TrainConfig(**BARE), out, given(allowed, exact=2))
    torch.testing.assert_close(loss, F.cross_entropy(out.logits, y))


@both
def test_the_overlap_of_complete_classes_has_a_weight_of_its_own(shape: tuple[int, ...]) -> None:
    """Patch 0 is exact, of patch 1 one class is complete, of patch 2 none: direct soft Dice of each."""
    y, allowed = full_mask(shape, n=3)
    known = given(allowed, exact=1)
    known.annotated[1, 2] = True
    out = outputs(shape, n=3)
    config = TrainConfig(**BARE | {"dice_weight": 0.5, "exact_dice_weight": 3.0})
    p, direct = out.logits.softmax(1), []
    for n, weights in enumerate(((3.0, 3.0, 3.0), (0.5, 0.5, 3.0), (0.5, 0.5, 0.5))):
        for c, weight in enumerate(weights):
            there = y[n] == c
            dice = (2 * p[n, c][there].sum() + 1) / (p[n, c].sum() + there.sum() + 1)
            direct.append(weight * (1 - dice))
    torch.testing.assert_close(objective(config, out, known)["overlap"], torch.stack(direct).mean())


@both
def test_every_annotation_counts_equals_a_direct_implementation(shape: tuple[int, ...]) -> None:
    """Cross-entropy and max-pooled multi-label deep supervision (Reiss et al.), plus a filtered pseudo-label."""
    y, allowed = full_mask(shape)
    allowed[1] = True
    allowed[1, 2] = False  # an image of which only an absent tag is known
    out = outputs(shape)
    said = torch.randn(2, K, *shape, generator=rng(3), dtype=torch.float64).mul(4).softmax(1)
    target, weight = teacher_target(said, allowed)
    config = TrainConfig.preset("every-annotation-counts")
    known = given(allowed, exact=1)
    loss = total(config, out, known, teacher=PseudoLabel(target, weight, 0.7))

    def pooled(mask: Tensor, level: Tensor) -> Tensor:
        step = shape[0] // level.shape[2]
        return (F.max_pool2d if len(shape) == 2 else F.max_pool3d)(mask.double(), step)

    def levels(certain: Tensor, possible: Tensor) -> Tensor:
        terms = []
        for level in out.levels:
            there, reachable = pooled(certain, level), pooled(possible, level)
            counted = torch.maximum(there, 1 - reachable)
            nll = F.binary_cross_entropy_with_logits(level, there, reduction="none")
            terms.append((nll * counted).sum() / counted.sum())
        return torch.stack(terms).sum()

    # direct: image 0 has a mask; of image 1 class 2 is ruled out everywhere
    log_p = out.logits.log_softmax(1)
    direct = (F.nll_loss(log_p[:1], y[:1]) - log_p[1:, :2].logsumexp(1).mean()) / 2
    single = allowed.sum(1, keepdim=True) == 1
    direct = direct + levels(allowed & single, allowed)
    kept = torch.zeros_like(allowed).scatter(1, said.masked_fill(~allowed, -1).argmax(1, keepdim=True), True)
    filtered = said * allowed / (said * allowed).sum(1, keepdim=True)
    believed = ((said * allowed).sum(1) >= 0.5) & (filtered.amax(1) >= 0.9)
    direct = direct + 0.7 * (-(filtered * log_p).sum(1) * believed).sum() / believed.numel()
    now = torch.where(believed.unsqueeze(1), kept, allowed)
    direct = direct + 0.7 * levels(now & (now.sum(1, keepdim=True) == 1), now)
    torch.testing.assert_close(loss, direct)
    ours = torch.autograd.grad(loss, [out.logits, *out.levels], retain_graph=True)
    theirs = torch.autograd.grad(direct, [out.logits, *out.levels])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@both
def test_presence_masking_replaces_the_set_loss(shape: tuple[int, ...]) -> None:
    y, _ = full_mask(shape)
    y[y == 2] = 0  # the last class was not annotated
    allowed = F.one_hot(y, K).movedim(-1, 1).bool()
    allowed[:, 2] |= y == 0
    known = replace(given(allowed, painted=y > 0), annotated=torch.tensor([[True, True, False]]).expand(2, K))
    out = outputs(shape)
    loss = total(TrainConfig.preset("presence-masking", presence="base", presence_dice="none"), out, known)
    nll = F.cross_entropy(out.logits, y, reduction="none")
    torch.testing.assert_close(loss, nll[y == 1].mean())


@both
def test_hybrid_supervision_equals_a_direct_implementation(shape: tuple[int, ...]) -> None:
    """Two networks, one weight for each weak image in both losses, cross pseudo labels on mixed images (Pan et al.)."""
    y, allowed = full_mask(shape)
    allowed[1] = True  # the second image is weak: its mask is a claim
    gamma = torch.tensor([1.0, 0.3], dtype=torch.float64).view(2, *[1] * len(shape)).expand(2, *shape)
    rough = torch.zeros(2, *shape, dtype=torch.uint8)
    rough[1] = y[1] + 1
    known = replace(given(allowed, exact=1, rough=rough), trust=gamma)
    out, mixed_out = outputs(shape, second=True), outputs(shape, seed=1, second=True)
    windows = cut_windows(2, shape, generator=rng(2))
    config = TrainConfig.preset("hybrid-supervision")
    loss = total(config, out, known, mix=Mix(mixed_out, windows))

    def cut(x: Tensor) -> Tensor:
        return torch.where(windows if x.ndim == windows.ndim else windows[:, None], x.flip(0), x)

    assert out.second is not None
    assert mixed_out.second is not None
    direct = torch.zeros((), dtype=torch.float64)
    for z in (out.logits, out.second):
        nll = F.cross_entropy(z, y, reduction="none")
        direct = direct + nll[0].mean() + (gamma[1] * nll[1]).mean()
    pairs = ((mixed_out.logits, out.second), (mixed_out.second, out.logits))
    for z, other in pairs:
        said = cut(other.detach()).argmax(1)
        possible = cut(allowed).gather(1, said[:, None]).squeeze(1)
        direct = direct + (cut(gamma) * possible * F.cross_entropy(z, said, reduction="none")).mean()
    torch.testing.assert_close(loss, direct)


@both
def test_the_classifier_alone_is_a_setting(shape: tuple[int, ...]) -> None:
    out = outputs(shape)
    known = replace(
        given(torch.ones(2, K, *shape, dtype=torch.bool)), tags=torch.tensor([[1, -1, 0], [0, 0, 0]], dtype=torch.int8)
    )
    loss = total(TrainConfig.preset("tags-and-masks"), out, known)
    assert out.class_maps is not None
    n = max(1, round(0.1 * out.class_maps[0, 0].numel()))
    score = out.class_maps.flatten(2).topk(n, 2).values.mean(2)[0]
    torch.testing.assert_close(loss, (F.softplus(-score[0]) + F.softplus(score[1])) / 2)


@both
def test_a_claim_of_no_weight_or_against_a_person_changes_nothing(shape: tuple[int, ...]) -> None:
    _, allowed = full_mask(shape, 1)
    free = torch.rand(1, *shape, generator=rng(5)) < 0.5
    allowed = allowed | free.unsqueeze(1)
    rough = torch.randint(1, K + 1, (1, *shape), generator=rng(6)).to(torch.uint8)
    config = TrainConfig(**{**BARE, "rough_weight": 1})
    for trust in (torch.zeros(1, *shape), torch.ones(1, *shape)):
        out = outputs(shape, 1)
        plain = total(config, out, given(allowed))
        claimed = total(config, out, replace(given(allowed, rough=rough), trust=trust))
        a, b = (torch.autograd.grad(loss, out.logits, retain_graph=True)[0] for loss in (plain, claimed))
        contradicts = ~allowed.gather(1, rough.long().unsqueeze(1) - 1).squeeze(1)
        same = torch.ones_like(free) if not trust.any() else contradicts
        assert same.any()
        assert torch.equal(a.movedim(1, -1)[same], b.movedim(1, -1)[same])
        if trust.any():
            assert not torch.equal(a.movedim(1, -1)[free], b.movedim(1, -1)[free])


@both
def test_the_background_of_a_rough_mask_counts_as_far_as_the_network_agrees(shape: tuple[int, ...]) -> None:
    """Its gradient is that of the robust loss 1 - p; the objects keep their cross-entropy and their own weights."""
    out = outputs(shape, 1)
    rough = torch.randint(0, K + 1, (1, *shape), generator=rng(6)).to(torch.uint8)
    trust = torch.rand(1, *shape, generator=rng(7), dtype=torch.float64) * (rough > 0)
    known = replace(given(torch.ones(1, K, *shape, dtype=torch.bool), rough=rough), trust=trust)
    config = TrainConfig(**{**BARE, "rough_weight": 2})
    claimed = 2 * trust / (rough > 0).sum()
    log_p = out.logits.log_softmax(1)
    said = log_p.gather(1, (rough.long() - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
    doubted = torch.where(rough == 1, 1 - said.exp(), -said)
    for loss, direct in (
        (total(config, out, known), (claimed * doubted).sum()),
        (total(config.model_copy(update={"doubt_background": False}), out, known), -(claimed * said).sum()),
    ):
        found, wanted = (torch.autograd.grad(x, out.logits, retain_graph=True)[0] for x in (loss, direct))
        torch.testing.assert_close(found, wanted)


@both
def test_an_unlabelled_image_teaches_nothing_by_itself(shape: tuple[int, ...]) -> None:
    out = outputs(shape, 1)
    config = TrainConfig(multiscale_weight=1, tag_weight=1)
    loss = total(config, out, given(torch.ones(1, K, *shape, dtype=torch.bool)))
    tensors = [out.logits, out.approximation, out.separation, *out.levels, out.class_maps, out.inwardness]
    gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
    assert loss.item() == 0
    assert all(g is None or not g.any() for g in gradients)


def partly_known(shape: tuple[int, ...], n: int, exact: int, seed: int) -> Given:
    """Patches of which something of every kind is known: exact ones first, then marked and claimed ones."""
    g = rng(seed)

    def drawn(high: int) -> Tensor:
        return torch.randint(0, high, (n, *shape), generator=g, dtype=torch.uint8)

    allowed = torch.rand(n, K, *shape, generator=g) < 0.7
    allowed[:exact] = F.one_hot(drawn(K)[:exact].long(), K).movedim(-1, 1).bool()
    box = [(n - 1, 2, [2] * len(shape), [9] * len(shape)), (0, 3, [-3] * len(shape), [6] * len(shape))]
    every = {"claim": K + 1, "claim_weight": 256, "rough": K + 1, "approximation": K + 1}
    every |= {"interface": 2, "inwardness": 201}
    named = {name: drawn(high) for name, high in every.items()}
    return Given(
        allowed,
        {"painted": (allowed.sum(1) == 1) & (drawn(2) > 0), **named},
        torch.randint(-1, 2, (n, K), generator=g).to(torch.int8),
        torch.rand(n, K, generator=g) < torch.tensor([0.5, 1.0, 0.5]),
        Boxes.of(box, len(shape)),
        exact,
        0,
        trust=torch.rand(n, *shape, generator=g) * (named["rough"] > 0),
    )


def with_an_unlabelled_patch(known: Given, *, counted: bool) -> Given:
    """Add a patch of which nothing is known, as the sampler gives it; whether it is counted as unmarked."""
    assert known.trust is not None
    nothing = {"approximation": 255, "interface": 255, "inwardness": 255}

    def longer(x: Tensor, fill: int) -> Tensor:
        return torch.cat([x, torch.full_like(x[:1], fill)])

    return replace(
        known,
        allowed=longer(known.allowed, True),
        fields={name: longer(x, nothing.get(name, 0)) for name, x in known.fields.items()},
        tags=longer(known.tags, 0),
        annotated=longer(known.annotated, False),
        unmarked=int(counted),
        trust=longer(known.trust, 0),
    )


def joined(a: Outputs, b: Outputs) -> Outputs:
    """Outputs of the patches of both."""
    return Outputs(
        *(
            tuple(torch.cat(pair) for pair in zip(x, y, strict=True)) if isinstance(x, tuple) else torch.cat([x, y])
            for x, y in ((getattr(a, field.name), getattr(b, field.name)) for field in fields(Outputs))
        )
    )


def tensors_of(out: Outputs) -> list[Tensor]:
    found = [getattr(out, field.name) for field in fields(Outputs)]
    return [x for value in found for x in (value if isinstance(value, tuple) else [value])]


SWITCHED_ON = {
    "default": TrainConfig(),
    **{name: TrainConfig.preset(name, consistency_weight=0) for name in PRESETS},
    "everything": TrainConfig(multiscale_weight=0.3, bag_weight=0.1, tag_weight=0.2),
    "nearest": TrainConfig.preset("every-annotation-counts", consistency_weight=0, level_targets="nearest"),
    "violation": TrainConfig(weighting="violation"),
    "balanced": TrainConfig(weighting="balanced"),
    "soft": TrainConfig.preset("presence-masking", presence="or", presence_dice="soft"),
}


@both
@pytest.mark.parametrize("name", SWITCHED_ON)
@settings(max_examples=10, deadline=None)
@drawn_from(st.integers(0, 2**20), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_an_unlabelled_patch_beside_others_leaves_every_term_of_theirs(
    shape: tuple[int, ...], name: str, seed: int, n: int, exact: int, counted: bool
) -> None:
    """Pseudo-labels and mixed patches, which such patches are for, left out."""
    config, known = SWITCHED_ON[name], partly_known(shape, n, min(exact, n), seed)
    out, added = outputs(shape, n, seed, second=True), outputs(shape, 1, seed + 1, second=True)
    alone = objective(config, out, known)
    beside = objective(config, joined(out, added), with_an_unlabelled_patch(known, counted=counted))
    assert alone.keys() == beside.keys()
    theirs, its = tensors_of(out), tensors_of(added)
    for term in alone:
        before = torch.autograd.grad(alone[term], theirs, retain_graph=True, materialize_grads=True)
        after = torch.autograd.grad(beside[term], [*theirs, *its], retain_graph=True, materialize_grads=True)
        assert any(x.any() for x in before), term
        for a, b in zip(before, after, strict=False):
            torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12, msg=term)
        assert not any(x.any() for x in after[len(theirs) :]), term


@both
def test_partial_masks_equals_a_direct_implementation(shape: tuple[int, ...]) -> None:
    """One image with an exact mask, one with blobs that have grown (after Ke et al.; the terms are ours)."""
    y, allowed = full_mask(shape)
    blob = torch.rand(shape, generator=rng(4)) < 0.2
    allowed[1] = allowed[1] | ~blob
    claim, weight = torch.zeros(2, *shape, dtype=torch.uint8), torch.zeros(2, *shape, dtype=torch.uint8)
    grown = ~blob & (torch.rand(shape, generator=rng(5)) < 0.3)
    claim[1][grown] = (y[1][grown] + 1).to(torch.uint8)
    weight[1][grown] = 204
    approximation = torch.where(torch.rand(2, *shape, generator=rng(6)) < 0.1, 255, y + 1).to(torch.uint8)
    interface = torch.randint(0, 2, (2, *shape), generator=rng(7), dtype=torch.uint8)
    out = outputs(shape)
    fields = {"claim": claim, "claim_weight": weight, "approximation": approximation, "interface": interface}
    loss = total(TrainConfig.preset("partial-masks"), out, given(allowed, exact=1, **fields))

    nll = F.cross_entropy(out.logits, y, reduction="none")
    direct = (nll[0].mean() + nll[1][blob].mean()) / 2
    direct = direct + 0.5 * 0.8 * nll[1][grown].mean()
    p, dices = out.logits.softmax(1), []
    known = allowed.sum(1) == 1
    for b in range(2):
        for c in range(K):
            true = (y[b] == c) & known[b]
            overlap, size = p[b, c][true].sum(), p[b, c][known[b]].sum() + true.sum()
            dices.append(1 - (2 * overlap + 1) / (size + 1))
    direct = direct + torch.stack(dices).mean()
    counted = approximation != 255
    like = F.cross_entropy(out.approximation, approximation.long() * counted, reduction="none")
    direct = direct + 0.5 * like[counted].mean()
    positive = interface == 1
    ratio = ((~positive).sum() / positive.sum()).clamp(1, 10)
    each = F.binary_cross_entropy_with_logits(out.separation[:, 0], positive.double(), reduction="none")
    balance = torch.where(positive, ratio, 1.0)
    direct = direct + 0.5 * (each * balance).sum() / balance.sum()
    torch.testing.assert_close(loss, direct)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_and_can_be_changed(name: Any) -> None:
    assert TrainConfig.preset(name) != TrainConfig()
    assert TrainConfig.preset(name, width=8).width == 8


def test_a_preset_that_does_not_exist_is_told() -> None:
    with pytest.raises(ValueError, match="there is no preset “best”; there are partial-masks"):
        TrainConfig.preset("best")  # type: ignore[arg-type]
