"""Losses of the auxiliary heads: approximation, separation of touching objects, inwardness, coarser decoder levels.

Symbols and promises as in `losses`: static shapes, no wait for the device, a term without a pixel is 0.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_weakseg.engine.inwardness import MOST_INWARD
from napari_weakseg.engine.losses import certain_classes, full_precision, set_loss, weighted_mean
from napari_weakseg.engine.targets import IGNORE

__all__ = [
    "IGNORE",
    "approximation_loss",
    "inwardness_loss",
    "level_loss",
    "multiscale_loss",
    "separation_loss",
    "tri_pool",
]


def approximation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the approximation head, which learns how the partial masks look.

    The head follows Ke et al. (arXiv:2005.13053); its exact form, and the ignored ring around a grown mask,
    are ours.

    Parameters
    ----------
    logits : float Tensor, (N, K + 1, *S)
        Channel 0 = not in the current approximation, channel k = class id k.
    target : uint8 or int Tensor, (N, *S)
        As made by `targets.approximation_target`; `IGNORE` is left out.

    Returns
    -------
    Tensor, ()
    """
    z = full_precision(logits)
    total = F.cross_entropy(z, target.long(), ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp_min(1)


def separation_loss(logits: Tensor, target: Tensor, *, positive_weight: float | None = None) -> Tensor:
    """Binary cross-entropy of the separation head, which learns the interfaces between touching objects.

    The task follows Ke et al. (arXiv:2005.13053, and arXiv:1906.12177 on sparse interface marks); the
    balance is ours.

    Parameters
    ----------
    logits : float Tensor, (N, 1, *S) or (N, *S)
    target : uint8 Tensor, (N, *S)
        1 interface, 0 certainly none, `IGNORE` unknown.
    positive_weight : float, optional
        Weight of an interface pixel. By default as many times as they are rarer in this batch, between 1 and
        10.

    Returns
    -------
    Tensor, ()
    """
    z = full_precision(logits).reshape(target.shape)
    positive, negative = (target == 1).to(z.dtype), (target == 0).to(z.dtype)
    if positive_weight is None:
        ratio = (negative.sum() / positive.sum().clamp_min(1)).clamp(1, 10)
    else:
        ratio = z.new_full((), positive_weight)
    nll = F.binary_cross_entropy_with_logits(z, positive, reduction="none")
    return weighted_mean(nll, ratio * positive + negative)


def inwardness_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy with a soft target: how far inside its object a pixel lies.

    Parameters
    ----------
    logits : float Tensor, (N, 1, *S) or (N, *S)
    target : uint8 Tensor, (N, *S)
        As made by `inwardness.inwardness_target`; `IGNORE` is left out.

    Returns
    -------
    Tensor, ()
    """
    z = full_precision(logits).reshape(target.shape)
    known = target != IGNORE
    nll = F.binary_cross_entropy_with_logits(z, (target.to(z.dtype) / MOST_INWARD).clamp_max(1), reduction="none")
    return weighted_mean(nll, known.to(z.dtype))


def tri_pool(allowed: Tensor, window: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """Three-state targets of a coarser level: certainly there, impossible in the whole window, or not known.

    Generalises the max-pooled multi-label targets of Reiß et al. (CVPR 2021) to incomplete labels; the
    generalisation is ours and equals theirs on a full mask.

    Parameters
    ----------
    allowed : bool Tensor, (N, K, *S)
    window : int or one int per spatial axis
        Shape of a coarse pixel; must divide ``*S``.

    Returns
    -------
    present : float32 Tensor, (N, K, *S / window)
        1 where some pixel of the window is certainly of this class.
    weight : float32 Tensor, same shape
        1 where the answer is known, else 0.
    """
    pool = F.max_pool2d if allowed.ndim == 4 else F.max_pool3d
    size = [window] * (allowed.ndim - 2) if isinstance(window, int) else list(window)
    certain = certain_classes(allowed)
    possible = allowed | ~allowed.any(1, keepdim=True)  # a conflict says nothing
    present = pool(certain.float(), size)
    reachable = pool(possible.float(), size)
    return present, torch.maximum(present, 1 - reachable)


def multiscale_loss(logits: Sequence[Tensor], allowed: Tensor) -> Tensor:
    """Sum over decoder levels of the multi-label cross-entropy with `tri_pool` targets.

    After Reiß et al. (CVPR 2021), with the mean over known entries in place of their mean over all.

    Parameters
    ----------
    logits : sequence of float Tensor, (N, K, *S / window)
        Multi-label scores of each level.
    allowed : bool Tensor, (N, K, *S)

    Returns
    -------
    Tensor, ()
    """
    terms = []
    for level in logits:
        window = [full // coarse for full, coarse in zip(allowed.shape[2:], level.shape[2:], strict=True)]
        present, weight = tri_pool(allowed, window)
        z = full_precision(level)
        nll = F.binary_cross_entropy_with_logits(z, present.to(z.dtype), reduction="none")
        terms.append(weighted_mean(nll, weight.to(z.dtype)))
    return torch.stack(terms).sum()


def level_loss(logits: Sequence[Tensor], allowed: Tensor, targets: Literal["pooled", "nearest"]) -> Tensor:
    """Deep supervision of the decoder levels.

    Parameters
    ----------
    logits : sequence of float Tensor, (N, K, *S / window)
    allowed : bool Tensor, (N, K, *S)
    targets : {"pooled", "nearest"}
        "pooled": every class that is in a window, by `multiscale_loss`. "nearest": the class of one of its pixels, as
        is usual and as Reiß et al. compare theirs with.

    Returns
    -------
    Tensor, ()
    """
    if targets == "pooled":
        return multiscale_loss(logits, allowed)
    terms = []
    for level in logits:
        steps = [full // coarse for full, coarse in zip(allowed.shape[2:], level.shape[2:], strict=True)]
        near = allowed[(slice(None), slice(None), *(slice(step // 2, None, step) for step in steps))]
        terms.append(set_loss(level, near, near[:, 0], weighting="plain"))
    return torch.stack(terms).sum()
