"""Presence masking: learning from images in which only some of the classes were annotated, as published.

Wong et al. [1]_ mask the cross-entropy where it cannot be known whether a pixel belongs to a class that was not
annotated in its image. Losses and modes follow the authors' released code. The default of this package is the set loss
(`losses.set_loss`), which says the same with sets: unpainted means "background or one of the others".

Symbols: N batch, K classes with the background first, ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``.

References
----------
.. [1] K. C. L. Wong et al., "Training CNN classifiers for semantic segmentation using partially annotated images: with
   application on human thigh and calf MRI", arXiv:2008.07030.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from napari_weakseg.engine.losses import full_precision, likeliest, weighted_mean

__all__ = ["PresenceDice", "PresenceMode", "presence_dice", "presence_loss", "presence_mask"]

PresenceMode = Literal["base", "or", "plus"]
PresenceDice = Literal["none", "soft", "log"]

_TINY = 1e-10
_DICE_WEIGHT = 0.1


def presence_mask(labels: Tensor, logits: Tensor, weight: Tensor, mode: PresenceMode) -> Tensor:
    """Weight of each pixel in the cross-entropy.

    Parameters
    ----------
    labels : int64 Tensor, (N, *S)
        Channel of the annotated class, 0 = background or not annotated.
    logits : float Tensor, (N, K, *S)
        Only their largest entry counts; no gradient flows.
    weight : float Tensor, (N, K)
        Weight of a class where it was annotated completely in the image, else 0. As published, the background's is 0.
    mode : {"base", "or", "plus"}
        "base": weight of the label. "or": also that of the current prediction, so that an annotated class which is
        predicted wrongly is punished. "plus": the sum of both.

    Returns
    -------
    Tensor, (N, *S)
    """
    n_classes = logits.shape[1]
    said = F.one_hot(labels, n_classes).movedim(-1, 1)
    seen = F.one_hot(likeliest(logits.detach()), n_classes).movedim(-1, 1)
    chosen = {"base": said, "or": said | seen, "plus": said + seen}[mode]
    each = weight.view(*weight.shape, *[1] * (logits.ndim - 2))
    return (each * chosen).sum(1)


def presence_dice(
    logits: Tensor, labels: Tensor, weight: Tensor, kind: PresenceDice, inside: Tensor | None = None
) -> Tensor:
    """Soft or logarithmic Dice loss of the annotated classes, over all pixels of the image.

    As published, except that a class without a pixel in the patch is left out: its logarithm would be unbounded.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    labels : int64 Tensor, (N, *S)
    weight : float Tensor, (N, K)
    kind : {"none", "soft", "log"}
    inside : bool Tensor, (N, *S), optional
        Pixels of which something can be known; all if left out.

    Returns
    -------
    Tensor, ()
    """
    p = full_precision(logits).softmax(1).flatten(2)
    true = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).flatten(2).to(p.dtype)
    if inside is not None:
        p, true = (x * inside.flatten(1).unsqueeze(1) for x in (p, true))
    shared, size = (p * true).sum(2), true.sum(2)
    numerator, denominator = 2 * shared + _TINY, p.sum(2) + size + _TINY
    value = 1 - numerator / denominator if kind == "soft" else denominator.log() - numerator.log()
    return weighted_mean(value, weight.to(p.dtype) * (size > 0)) * float(kind != "none")


def presence_loss(
    logits: Tensor,
    labels: Tensor,
    annotated: Tensor,
    *,
    mode: PresenceMode = "plus",
    dice: PresenceDice = "log",
    inside: Tensor | None = None,
) -> Tensor:
    """Masked cross-entropy over the pixels that count, and a tenth of a Dice loss.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    labels : int64 Tensor, (N, *S)
        Channel of the annotated class, 0 = background or not annotated.
    annotated : bool Tensor, (N, K)
        Classes that were annotated completely in the image, whether they occur or not. The background is never counted.
    mode : {"base", "or", "plus"}
    dice : {"none", "soft", "log"}
    inside : bool Tensor, (N, *S), optional
        Pixels of which something can be known: not those beyond the border of the image, which the paper has no notion
        of. All if left out.

    Returns
    -------
    Tensor, ()
    """
    z = full_precision(logits)
    weight = annotated.to(z.dtype)
    weight = weight * (weight.new_ones(weight.shape[1]).cumsum(0) > 1)
    mask = presence_mask(labels, z, weight, mode)
    if inside is not None:
        mask = mask * inside
    nll = F.cross_entropy(z, labels, reduction="none")
    counted = (mask > 0).sum().clamp_min(1)
    return (mask * nll).sum() / counted + _DICE_WEIGHT * presence_dice(z, labels, weight, dice, inside)
