"""Losses that read a set of allowed classes at every pixel.

Symbols: N batch, K classes, ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; channel ``k - 1`` belongs to class id
``k``, that is to bit ``k`` of the stored sets. Two operators carry every loss at full resolution: `project`
restricts a claim to what the person left possible, `soft_ce` compares the network with it. Shapes are
static, nothing waits for the device, and a term without a single pixel is 0, never NaN. Half-precision
logits are raised to float32.

A pixel is *known* when some class is ruled out and some class is left. Pixels where every class is allowed,
and conflicts (none allowed), add exactly 0 to every loss and gradient here.
"""

from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Weighting",
    "certain_classes",
    "decidable_dice",
    "decode",
    "full_precision",
    "known_pixels",
    "likeliest",
    "one_hot",
    "project",
    "set_loss",
    "set_nll",
    "soft_ce",
    "weighted_mean",
]

_FEWEST_VIOLATED = 0.3  # of the pixels of which only some classes are ruled out, as which the violated ones count

Weighting = Literal["certain", "violation", "balanced", "plain"]


def decode(allowed_bits: Tensor, n_classes: int) -> Tensor:
    """Spread bit sets over a class axis.

    Parameters
    ----------
    allowed_bits : int32 or int64 Tensor, (N, *S)
        Bit ``k`` is set where class id ``k`` is possible; bit 0 is ignored.
    n_classes : int
        K, at most 31. Ids run from 1 to K.

    Returns
    -------
    bool Tensor, (N, K, *S)
    """
    bits = torch.arange(1, n_classes + 1, device=allowed_bits.device, dtype=allowed_bits.dtype)
    bits = bits.view(1, -1, *[1] * (allowed_bits.ndim - 1))
    return (allowed_bits.unsqueeze(1) >> bits).bitwise_and(1).bool()


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Spread class ids over a class axis; id 0, no class, looks like id 1 and must not be counted.

    Parameters
    ----------
    labels : int Tensor, (N, *S)
    n_classes : int
        K.

    Returns
    -------
    float32 Tensor, (N, K, *S)
    """
    ids = torch.arange(1, n_classes + 1, device=labels.device, dtype=labels.dtype)
    return (labels.clamp_min(1).unsqueeze(1) == ids.view(-1, *[1] * (labels.ndim - 1))).float()


def project(q: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Restrict a claim to the allowed classes, so that no claim can contradict a person.

    Our construction; with the averaged teacher as `q` it is the filtered pseudo-label of Reiß et al. [1]_ in
    a soft form.

    Parameters
    ----------
    q : float Tensor, (N, K, *S)
        Non-negative, summing to 1 over the classes.
    allowed : bool Tensor, (N, K, *S)

    Returns
    -------
    target : float Tensor, (N, K, *S)
        Exactly 0 for excluded classes; sums to 1 wherever the kept mass is above 1e-8.
    mass : float Tensor, (N, *S)
        How much of the claim was possible; 0 where it contradicts the person altogether.

    References
    ----------
    .. [1] S. Reiß et al., "Every Annotation Counts", CVPR 2021.
    """
    kept = q * allowed
    mass = kept.sum(1)
    return kept / mass.clamp_min(1e-8).unsqueeze(1), mass


def soft_ce(logits: Tensor, target: Tensor, weight: Tensor, norm: Tensor | float) -> Tensor:
    """Cross-entropy with a soft target, ``-sum_x weight(x) sum_c target_c log p_c / norm``.

    Parameters
    ----------
    logits, target : float Tensor, (N, K, *S)
        No gradient flows into the target.
    weight : Tensor, (N, *S)
        Trust in each pixel, 0 to leave it out.
    norm : Tensor or float
        The divisor is part of each method's definition (valid pixels, counted pixels, batch size); 0 counts
        as 1.

    Returns
    -------
    Tensor, ()
    """
    log_p = full_precision(logits).log_softmax(1)
    per_pixel = -(target.detach().to(log_p.dtype) * log_p).sum(1)
    total = (weight.detach().to(log_p.dtype) * per_pixel).sum()
    norm = torch.as_tensor(norm, dtype=log_p.dtype, device=log_p.device)
    return total / torch.where(norm > 0, norm, torch.ones_like(norm))


def set_nll(logits: Tensor, allowed: Tensor) -> Tensor:
    """Negative log-probability that the class is one of the allowed ones, pixel by pixel.

    The set (marginal, label-set) loss, cf. Fidon et al. [1]_: cross-entropy where one class is left,
    ``-log(1 - p_k)`` where only k is ruled out, exactly 0 where nothing is known or the annotations conflict.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    allowed : bool Tensor, (N, K, *S)

    Returns
    -------
    float Tensor, (N, *S)

    References
    ----------
    .. [1] L. Fidon et al., "Label-set loss functions for partial supervision", MICCAI 2021.
    """
    known = known_pixels(allowed)
    z = full_precision(logits)
    open_set = allowed | ~known.unsqueeze(1)  # never empty, so that no -inf meets a gradient
    nll = z.logsumexp(1) - z.masked_fill(~open_set, -torch.inf).logsumexp(1)
    return torch.where(known, nll, torch.zeros_like(nll))


def set_loss(
    logits: Tensor,
    allowed: Tensor,
    painted: Tensor,
    *,
    weighting: Weighting = "certain",
    floor: float = 0.1,
) -> Tensor:
    """Mean set loss over the known pixels, concentrated where it matters.

    With F the painted pixels and R the other known ones:

    - ``violation``: mean over F and V, those of R whose current prediction is ruled out, plus `floor` times the
      mean over R. Our construction; it joins the hard mining of Wong et al. [1]_ (where to punish) with a
      set target (towards what). V counts as if it were three tenths of R at least: where nothing is painted, the last
      few wrong pixels would else have all the say, and a rare class is soon answered nowhere.
    - ``certain``: the same with all certain pixels in F, painted or inferred, so that hard mining is left to those of
      which only some classes are ruled out.
    - ``balanced``: mean over F and mean over R, averaged (whichever has pixels).
    - ``plain``: mean over F and R together.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    allowed : bool Tensor, (N, K, *S)
    painted : bool Tensor, (N, *S)
        Painted by a person, background included.
    weighting : {"certain", "violation", "balanced", "plain"}
    floor : float
        Share of the plain mean over R that stays once every prediction is allowed.

    Returns
    -------
    Tensor, ()

    References
    ----------
    .. [1] K. K. Wong et al., "Training CNN classifiers for semantic segmentation using partially annotated
       images", arXiv:2008.07030.
    """
    nll = set_nll(logits, allowed)
    known = known_pixels(allowed)
    first = painted | certain_classes(allowed).any(1) if weighting == "certain" else painted
    marked, rest = known & first, known & ~first
    weight, remainder = marked.to(nll.dtype), rest.to(nll.dtype)
    if weighting == "plain":
        return weighted_mean(nll, weight + remainder)
    if weighting == "balanced":
        groups = marked.any().to(nll.dtype) + rest.any().to(nll.dtype)
        return (weighted_mean(nll, weight) + weighted_mean(nll, remainder)) / groups.clamp_min(1)
    violated = (rest & ~allowed.gather(1, likeliest(logits.detach()).unsqueeze(1)).squeeze(1)).to(nll.dtype)
    counted = weight.sum() + violated.sum()
    punished = (nll * violated).sum() / torch.maximum(counted, _FEWEST_VIOLATED * remainder.sum()).clamp_min(1)
    return (nll * weight).sum() / counted.clamp_min(1) + punished + floor * weighted_mean(nll, remainder)


def decidable_dice(logits: Tensor, allowed: Tensor, weight: Tensor | None = None) -> Tensor:
    """Soft Dice of each class over the pixels where it is decided: certain, or ruled out.

    ``1 - (2 sum_pos p_c + 1) / (sum_{pos u neg} p_c + |pos| + 1)``, averaged over the (image, class) pairs
    with a certain pixel. Our construction: for a completely annotated class it is the masked soft Dice of
    Wong et al. (arXiv:2008.07030); a pixel where class c is undecided gets exactly 0 from the Dice of c.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    allowed : bool Tensor, (N, K, *S)
    weight : float Tensor, (N, K), optional
        What each pair is multiplied by; it does not change what the sum is divided by.

    Returns
    -------
    Tensor, ()
    """
    p = full_precision(logits).softmax(1).flatten(2)
    possible = allowed.flatten(2)
    certain = certain_classes(possible).to(p.dtype)
    decided = certain + (~possible & possible.any(1, keepdim=True)).to(p.dtype)
    size = certain.sum(2)
    dice = (2 * (p * certain).sum(2) + 1) / ((p * decided).sum(2) + size + 1)
    missed = 1 - dice if weight is None else weight.to(p.dtype) * (1 - dice)
    return weighted_mean(missed, (size > 0).to(p.dtype))


def certain_classes(allowed: Tensor) -> Tensor:
    """Find the class of each pixel where just one is left, (N, K, *S)."""
    return allowed & (allowed.sum(1, keepdim=True) == 1)


def known_pixels(allowed: Tensor) -> Tensor:
    """Find where some class is ruled out and some class is left, (N, *S)."""
    return allowed.any(1) & ~allowed.all(1)


def likeliest(scores: Tensor) -> Tensor:
    """Find the largest score along the class axis, (N, K, *S) → int64 (N, *S) from 0.

    As `Tensor.argmax`, which is slow over a middle axis on processors.
    """
    return scores.max(1).indices


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; exactly 0 without weight."""
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def full_precision(x: Tensor) -> Tensor:
    """Raise half precision to float32; leave float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
