"""What a training step minimises: one sum of terms, from what is known, what is claimed, and what a teacher says.

Sound knowledge restricts, unsound knowledge persuades: what is certainly true is a set of allowed classes at each
pixel and enters by the set loss; everything that may be wrong is a soft target, restricted to that set. Which published
method a setting stands for is told in `core.presets`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.auxiliary import approximation_loss, inwardness_loss, level_loss, separation_loss
from napari_weakseg.engine.bags import Boxes, present_loss, tag_loss, tag_targets, tightness_loss
from napari_weakseg.engine.losses import (
    certain_classes,
    decidable_dice,
    full_precision,
    known_pixels,
    likeliest,
    one_hot,
    project,
    set_loss,
    soft_ce,
    weighted_mean,
)
from napari_weakseg.engine.mixing import cross_pseudo_loss, mixed
from napari_weakseg.engine.networks import Outputs
from napari_weakseg.engine.presence import presence_loss
from napari_weakseg.engine.teacher import PseudoLabel

__all__ = ["Given", "Mix", "objective"]


@dataclass(frozen=True, slots=True)
class Given:
    """What is known and claimed of a batch, N patches of K classes, on the device.

    Attributes
    ----------
    allowed : bool Tensor, (N, K, *S)
    fields : mapping of str to Tensor, (N, *S)
        As in `sampling.Batch`.
    tags : int8 Tensor, (N, K)
    annotated : bool Tensor, (N, K)
    boxes : Boxes
    exact, unmarked : int
        How many patches, from the front and from the back, are exact and have no certain pixel.
    bagged : bool
        Whether some patch has a box or a class that is said to be in it; known on the host, so that nothing waits.
    trust : float32 Tensor, (N, *S), or None
        Weight of the claim that may be wrong at each pixel; None where there is none in the batch.
    """

    allowed: Tensor
    fields: Mapping[str, Tensor]
    tags: Tensor
    annotated: Tensor
    boxes: Boxes
    exact: int
    unmarked: int
    bagged: bool = True
    trust: Tensor | None = None

    @property
    def marked(self) -> slice:
        """Patches with a certain pixel."""
        return slice(0, len(self.allowed) - self.unmarked)


@dataclass(frozen=True, slots=True)
class Mix:
    """Patches that were mixed for co-regularisation.

    Attributes
    ----------
    out : Outputs
        Of the mixed patches.
    windows : bool Tensor, (N, *S)
        What was taken from the next patch.
    """

    out: Outputs
    windows: Tensor


def objective(
    config: TrainConfig, out: Outputs, given: Given, *, teacher: PseudoLabel | None = None, mix: Mix | None = None
) -> dict[str, Tensor]:
    """Every term of the loss by its name, weighted; their sum is minimised.

    Parameters
    ----------
    config : TrainConfig
    out : Outputs
        Of the augmented patches.
    given : Given
    teacher : PseudoLabel, optional
        What the averaged network says of them.
    mix : Mix, optional
        Where there is a second opinion.

    Returns
    -------
    dict of str to Tensor, ()
    """
    terms = {"marks": _both(out, lambda logits: _marks(config, logits, given))}
    if config.dice_weight or config.exact_dice_weight:
        terms["overlap"] = _overlap(config, out.logits, given)
    if config.approximation_weight:
        terms["approximation"] = config.approximation_weight * approximation_loss(
            out.approximation[given.marked], given.fields["approximation"][given.marked]
        )
    if config.separation_weight:
        terms["separation"] = config.separation_weight * separation_loss(
            out.separation[given.marked], given.fields["interface"][given.marked]
        )
    if config.inwardness_weight and out.inwardness is not None:
        terms["inwardness"] = config.inwardness_weight * inwardness_loss(
            out.inwardness[given.marked], given.fields["inwardness"][given.marked]
        )
    if config.claim_weight:
        trust = given.fields["claim_weight"].float() / 255
        terms["grown"] = config.claim_weight * _claimed(out.logits, given, "claim", trust)
    if config.rough_weight and given.trust is not None:
        rough, doubt = given.trust, config.doubt_background
        terms["rough"] = config.rough_weight * _both(out, lambda logits: _rough(logits, given, rough, doubt=doubt))
    if config.multiscale_weight:
        terms["levels"] = config.multiscale_weight * level_loss(out.levels, given.allowed, config.level_targets)
    if config.bag_weight and given.bagged:
        terms["bags"] = config.bag_weight * (
            tightness_loss(out.logits, given.boxes) + present_loss(out.logits, given.tags > 0)
        )
    if config.tag_weight and out.class_maps is not None:
        terms["tags"] = config.tag_weight * tag_loss(out.class_maps, *tag_targets(given.allowed, given.tags))
    if teacher is not None:
        terms["teacher"] = teacher.strength * _taught(config, out, given, teacher)
    if mix is not None and out.second is not None and mix.out.second is not None:
        terms["mixed"] = config.second_weight * _mixed(out.logits, out.second, mix, given)
    return terms


def _both(out: Outputs, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum a loss of the segmentation and of the second one where there is one."""
    return loss_of(out.logits) if out.second is None else loss_of(out.logits) + loss_of(out.second)


def _marks(config: TrainConfig, logits: Tensor, given: Given) -> Tensor:
    """Learn from known pixels; exact patches and others have one mean each, that the many do not drown the few.

    Where one of the two groups knows nothing, the other is not halved.
    """
    painted = given.fields["painted"]
    if config.presence != "set":
        certain = certain_classes(given.allowed) & painted.unsqueeze(1)
        annotated = given.annotated.view(*given.annotated.shape, *[1] * (logits.ndim - 2))
        labels = likeliest((certain & annotated).float())
        inside = ~given.allowed.all(1)  # beyond the border, and of what is held out, nothing is known
        return presence_loss(
            logits, labels, given.annotated, mode=config.presence, dice=config.presence_dice, inside=inside
        )
    n = len(logits)
    parts = [slice(a, b) for a, b in ((0, given.exact), (given.exact, n)) if b > a]
    losses = [set_loss(logits[s], given.allowed[s], painted[s], weighting=config.weighting) for s in parts]
    known = [known_pixels(given.allowed[s]).any() for s in parts]
    return weighted_mean(torch.stack(losses), torch.stack(known).to(losses[0].dtype))


def _overlap(config: TrainConfig, logits: Tensor, given: Given) -> Tensor:
    """Dice of the marked patches: most of all of classes that are annotated completely, for only these have an area.

    Cross-entropy counts pixels, so that a class of one pixel in a hundred is learned late; its overlap is not.
    """
    complete = given.annotated.clone()
    complete[: given.exact] = True
    weight = torch.where(complete, config.exact_dice_weight, config.dice_weight)
    return decidable_dice(logits[given.marked], given.allowed[given.marked], weight[given.marked])


def _claimed(logits: Tensor, given: Given, name: str, trust: Tensor) -> Tensor:
    """Claims times trust, divided by the claimed pixels as such, so that distrust lowers their say."""
    claim = given.fields[name]
    target, mass = project(one_hot(claim, given.allowed.shape[1]), given.allowed)
    held = (claim > 0) & (mass > 0)
    return soft_ce(logits, target, trust * held, held.sum())


def _rough(logits: Tensor, given: Given, trust: Tensor, *, doubt: bool) -> Tensor:
    """Masks that may be wrong; with `doubt` their background times how probable the network finds it.

    The latter is ours. A weight of the target's own probability is the robust loss ``1 - p`` of Ghosh et al. ("Robust
    loss functions under label noise for deep neural networks", AAAI 2017), here for one class and by its gradient.
    """
    if doubt:
        background = full_precision(logits.detach()).softmax(1)[:, BACKGROUND - 1]
        trust = torch.where(given.fields["rough"] == BACKGROUND, trust * background, trust)
    return _claimed(logits, given, "rough", trust)


def _taught(config: TrainConfig, out: Outputs, given: Given, teacher: PseudoLabel) -> Tensor:
    """Pseudo-labels at every pixel, and pooled for the levels."""
    loss = soft_ce(out.logits, teacher.target, teacher.weight, float(teacher.weight.numel()))
    if config.multiscale_weight:
        believed = teacher.weight.unsqueeze(1) > 0
        best = torch.zeros_like(teacher.target).scatter(1, likeliest(teacher.target).unsqueeze(1), 1.0) > 0
        allowed = torch.where(believed, best, given.allowed)
        loss = loss + config.multiscale_weight * level_loss(out.levels, allowed, config.level_targets)
    return loss


def _mixed(logits: Tensor, second: Tensor, mix: Mix, given: Given) -> Tensor:
    assert mix.out.second is not None
    trust = torch.ones_like(logits[:, 0]) if given.trust is None else _patch_trust(given)
    return cross_pseudo_loss(
        (mix.out.logits, mix.out.second),
        (mixed(logits.detach(), mix.windows), mixed(second.detach(), mix.windows)),
        mixed(given.allowed, mix.windows),
        mixed(trust, mix.windows),
    )


def _patch_trust(given: Given) -> Tensor:
    """Trust in what is claimed, 1 elsewhere."""
    assert given.trust is not None
    return torch.where(given.fields["rough"] > 0, given.trust, torch.ones_like(given.trust))
