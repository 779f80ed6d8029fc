"""Losses of bags: somewhere in here is a pixel of the class, nobody knows where.

Tags and boxes give them. Symbols and promises as in `losses`: N batch, K classes, channel ``k - 1`` is class id ``k``,
``*S`` = ``(Y, X)`` or ``(Z, Y, X)``; a term without a bag is 0, never NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_weakseg.engine.auxiliary import tri_pool
from napari_weakseg.engine.losses import full_precision, weighted_mean

__all__ = ["Boxes", "present_loss", "tag_loss", "tag_targets", "tightness_loss", "top_share"]

_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes in a batch, M of them along D spatial axes.

    Attributes
    ----------
    image, channel : int64 Tensor, (M,)
        Which image of the batch, and class id - 1.
    start, stop : int64 Tensor, (M, D)
        Half-open, in pixels; may reach beyond the patch.
    """

    image: Tensor
    channel: Tensor
    start: Tensor
    stop: Tensor

    @staticmethod
    def of(boxes: Sequence[tuple[int, int, Sequence[int], Sequence[int]]], ndim: int) -> "Boxes":
        """Take boxes as (image of the batch, class id, start, stop)."""
        corners = torch.tensor([[*start, *stop] for _, _, start, stop in boxes], dtype=torch.int64)
        corners = corners.reshape(len(boxes), 2 * ndim)
        return Boxes(
            torch.tensor([image for image, *_ in boxes], dtype=torch.int64),
            torch.tensor([class_id - 1 for _, class_id, *_ in boxes], dtype=torch.int64),
            corners[:, :ndim],
            corners[:, ndim:],
        )

    def to(self, device: torch.device) -> "Boxes":
        """Copy to a device."""
        return Boxes(*(x.to(device) for x in (self.image, self.channel, self.start, self.stop)))


def top_share(values: Tensor, share: float) -> Tensor:
    """Mean of the largest values over all spatial axes, at least one of them.

    Parameters
    ----------
    values : float Tensor, (N, K, *S)
    share : float
        Of the pixels, 0 to 1.

    Returns
    -------
    Tensor, (N, K)
    """
    flat = values.flatten(2)
    return flat.topk(max(1, round(share * flat.shape[2])), dim=2).values.mean(2)


def present_loss(logits: Tensor, present: Tensor, *, share: float = 0.005) -> Tensor:
    """Penalise a class that is said to be in the image and that the network sees nowhere.

    ``-log`` of the mean over the most probable pixels. Our construction: the mean over all pixels, which the authors of
    Reiß et al. use in later code, would push areas up.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    present : bool Tensor, (N, K)
        Classes that are somewhere in the patch: not every tag of an image holds for its patches.
    share : float
        Of the pixels that count.

    Returns
    -------
    Tensor, ()
    """
    best = top_share(full_precision(logits).softmax(1), share)
    return weighted_mean(-best.clamp_min(_TINY).log(), present.to(best.dtype))


def tightness_loss(logits: Tensor, boxes: Boxes) -> Tensor:
    """Penalise lines across a box that meet no pixel of its object (planes in 3-D).

    ``-log((sum of the maxima over all lines) / (number of lines))`` along all axes together, averaged over the boxes:
    the projection term that the authors of Reiß et al. (CVPR 2021) use in later code; cf. the tightness prior of
    Kervadec et al. (MIDL 2020). Lines that the patch cuts off do not count.

    Parameters
    ----------
    logits : float Tensor, (N, K, *S)
    boxes : Boxes

    Returns
    -------
    Tensor, ()
    """
    if not len(boxes.image):
        return logits.sum() * 0
    shape = logits.shape[2:]
    within = []  # of each axis: which of its places each box takes, (M, S_axis)
    for axis, size in enumerate(shape):
        place = torch.arange(size, device=logits.device)
        within.append((place >= boxes.start[:, axis, None]) & (place < boxes.stop[:, axis, None]))
    whole = (boxes.start >= 0) & (boxes.stop <= torch.tensor(shape, device=logits.device))
    inside = within[0].view(-1, shape[0], *[1] * (len(shape) - 1))
    for axis in range(1, len(shape)):
        inside = inside & within[axis].view(-1, *[1] * axis, shape[axis], *[1] * (len(shape) - axis - 1))
    p = full_precision(logits).softmax(1)[boxes.image, boxes.channel] * inside
    met, lines = p.new_zeros(len(p)), p.new_zeros(len(p))
    for axis in range(len(shape)):
        others = [a for a in range(len(shape)) if a != axis]
        counts = within[axis] & whole[:, others].all(1, keepdim=True)
        met = met + (p.amax([a + 1 for a in others]) * counts).sum(1)
        lines = lines + counts.sum(1)
    share = met / lines.clamp_min(1)
    return weighted_mean(-share.clamp_min(_TINY).log(), (lines > 0).to(p.dtype))


def tag_targets(allowed: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Three-state tags of patches: a class is there, is not there, or nobody knows.

    The coarsest level of `auxiliary.tri_pool`, with the patch as the window, joined with what the person said about the
    image.

    Parameters
    ----------
    allowed : bool Tensor, (N, K, *S)
    tags : int8 Tensor, (N, K)
        1 = said to be in this patch, -1 = said not to be, 0 = unknown.

    Returns
    -------
    present : float32 Tensor, (N, K)
        1 where the class is there.
    weight : float32 Tensor, (N, K)
        1 where it is known.
    """
    there, known = (x.flatten(1) > 0 for x in tri_pool(allowed, allowed.shape[2:]))
    present = there | (tags > 0)
    return present.float(), (known | (tags != 0)).float()


def tag_loss(maps: Tensor, present: Tensor, weight: Tensor, *, share: float = 0.1) -> Tensor:
    """Binary cross-entropy of pooled class activation maps, over the known tags.

    Pooling over the strongest tenth of a map follows the classifier of Belharbi et al. (WACV 2021) [1]_, which has one
    class for each image; independent tags, of which some are unknown, are ours.

    Parameters
    ----------
    maps : float Tensor, (N, K, *s)
        Class activation maps.
    present, weight : float Tensor, (N, K)
        As from `tag_targets`.
    share : float
        Of the map that is pooled.

    Returns
    -------
    Tensor, ()

    References
    ----------
    .. [1] S. Belharbi, I. Ben Ayed, L. McCaffrey, E. Granger, "Deep active learning for joint classification &
       segmentation with weak annotator", WACV 2021, arXiv:2010.04889.
    """
    scores = top_share(full_precision(maps), share)
    nll = F.binary_cross_entropy_with_logits(scores, present.to(scores.dtype), reduction="none")
    return weighted_mean(nll, weight.to(scores.dtype))
