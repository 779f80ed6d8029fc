"""Co-regularisation: two segmentations of a mixed image teach each other.

CutMix (Yun et al., ICCV 2019) cuts a window out of one patch into another. Cross pseudo supervision (Chen et al., CVPR
2021) takes the hard prediction of each of two networks as the target of the other; Pan et al. [1]_ join both and weigh
them by the trust in the patches, which is what their released code does and what is done here. That the pseudo-labels
are restricted to the allowed classes is ours.

Symbols as in `losses`.

References
----------
.. [1] J. Pan, Q. Bi, Y. Yang, P. Zhu, C. Bian, "Label-efficient hybrid-supervised learning for medical image
   segmentation", AAAI 2022, arXiv:2203.05956.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_weakseg.engine.losses import likeliest, project, soft_ce

__all__ = ["cross_pseudo_loss", "cut_windows", "mixed"]


def cut_windows(n: int, shape: Sequence[int], *, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Draw a window in each patch that is taken from its neighbour in the batch.

    Parameters
    ----------
    n : int
    shape : sequence of int
        ``*S``.
    generator : torch.Generator
        On the host.
    share : float
        Of the pixels that a window takes.

    Returns
    -------
    bool Tensor, (n, *S)
    """
    windows = torch.zeros(n, *shape, dtype=torch.bool)
    side = [max(1, round(size * share ** (1 / len(shape)))) for size in shape]
    for window in windows:
        start = [int(torch.randint(size - s + 1, (), generator=generator)) for size, s in zip(shape, side, strict=True)]
        window[tuple(slice(a, a + s) for a, s in zip(start, side, strict=True))] = True
    return windows


def mixed(x: Tensor, windows: Tensor) -> Tensor:
    """Take the windows from the next patch of the batch, the last one's from the first.

    Parameters
    ----------
    x : Tensor, (N, *S) or (N, C, *S)
    windows : bool Tensor, (N, *S)
    """
    at = windows if x.ndim == windows.ndim else windows.unsqueeze(1)
    return torch.where(at, x.roll(-1, 0), x)


def cross_pseudo_loss(
    seen: tuple[Tensor, Tensor], said: tuple[Tensor, Tensor], allowed: Tensor, trust: Tensor
) -> Tensor:
    """Cross-entropy of each segmentation of the mixed patches with the other one's prediction.

    Parameters
    ----------
    seen : two float Tensors, (N, K, *S)
        Logits of the mixed patches.
    said : two float Tensors, (N, K, *S)
        Logits of the patches, mixed afterwards; no gradient flows.
    allowed : bool Tensor, (N, K, *S)
        Mixed alike. A pixel is left out where its pseudo-label is impossible.
    trust : float Tensor, (N, *S)
        In each pixel's patch, mixed alike.

    Returns
    -------
    Tensor, ()
        Sum of both directions, each a mean over all pixels.
    """
    total = seen[0].sum() * 0
    for z, other in zip(seen, reversed(said), strict=True):
        best = torch.zeros_like(other).scatter(1, likeliest(other.detach()).unsqueeze(1), 1.0)
        target, mass = project(best, allowed)
        total = total + soft_ce(z, target, trust * (mass > 0), float(trust.numel()))
    return total
