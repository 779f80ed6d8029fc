"""How much smaller the network sees images: large objects need no fine pixels, but sight of their surroundings."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.sampling import Batch

__all__ = ["Factors", "downsampled", "factors_for", "shrunk", "stretched"]

Factors = tuple[int, ...]
"""Pixels along each spatial axis that become one."""

_THICK_PX = {2: 7.0, 4: 20.0}  # from which blobs are seen so many times smaller
_OF_EXACT = 0.5  # a blob is about half as thick as its object
_STROKES = 3.0  # how slender the middle mark of a class is, from which they are strokes


def factors_for(blocks: Iterable[Block], ndim: int, *, spacing: Sequence[float] | None = None) -> Factors:
    """Choose by the thickness of what was painted, which is never more than that of the objects.

    The finest class decides, and of its blobs the thinner quarter. A class that is marked by strokes is left out, for
    a stroke is as thick as the brush, whatever the object is; where there are strokes only, images are seen as they
    are.

    Parameters
    ----------
    blocks : iterable of Block
    ndim : int
    spacing : sequence of float, optional
        Distance of neighbouring pixels along each spatial axis, in units of a pixel along X. Axes that are coarse
        already are shrunk less.

    Returns
    -------
    tuple of int, (ndim,)
    """
    found: dict[int, list[float]] = {}
    painted: dict[int, list[tuple[float, float]]] = {}
    for block in blocks:
        for class_id, values in block.thickness.items():
            if block.exact or class_id in block.annotated:
                found.setdefault(class_id, []).extend(_OF_EXACT * thickness for thickness, _ in values)
            else:
                painted.setdefault(class_id, []).extend(values)
    for class_id, values in painted.items():
        if np.median([slender for _, slender in values]) < _STROKES:
            found.setdefault(class_id, []).extend(thickness for thickness, _ in values)
    thin = min((float(np.percentile(values, 25)) for values in found.values()), default=0.0)
    factor = max((f for f, thick in _THICK_PX.items() if thin >= thick), default=1)
    return tuple(max(1, round(factor / step)) for step in spacing or (1.0,) * ndim)


def downsampled(batch: Batch, factors: Factors, rng: np.random.Generator) -> Batch:
    """Make the patches of a batch smaller: pixels by their mean, what is known by one pixel of each window.

    Which one is drawn anew each time, so that borders are learned to lie where they are on average.
    """
    if max(factors) == 1:
        return batch
    at = [slice(int(rng.integers(f)), None, f) for f in factors]
    boxes = [
        (
            i,
            class_id,
            tuple(a // f for a, f in zip(start, factors, strict=True)),
            tuple(-(-b // f) for b, f in zip(stop, factors, strict=True)),
        )
        for i, class_id, start, stop in batch.boxes
    ]
    return replace(
        batch,
        image=shrunk(batch.image, factors),
        fields={name: x[(slice(None), *at)] for name, x in batch.fields.items()},
        boxes=boxes,
    )


def shrunk(images: Tensor, factors: Factors) -> Tensor:
    """Mean over windows, (N, C, *S) → (N, C, *S / factors)."""
    pool = F.avg_pool2d if len(factors) == 2 else F.avg_pool3d
    return images if max(factors) == 1 else pool(images, factors)


def stretched(scores: Tensor, factors: Factors) -> Tensor:
    """Interpolate linearly, (N, K, *S / factors) → (N, K, *S)."""
    if max(factors) == 1:
        return scores
    mode = "bilinear" if len(factors) == 2 else "trilinear"
    return F.interpolate(scores, scale_factor=[float(f) for f in factors], mode=mode, align_corners=False)
