"""How large patches, batches and tiles are, and how much smaller the network sees images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine import device as devices
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.downsampling import Factors, factors_for
from napari_weakseg.engine.networks import padded_size

__all__ = ["Sizes"]

_MEASURED = 24  # blocks, of the first and of the last, whose blobs tell how large objects are
_LARGER_TILES = 2  # times, at most, where the network sees images smaller


class Sizes:
    """Sizes that suit a device, the objects that were marked, and the memory that there turns out to be.

    Parameters
    ----------
    device : torch.device
    ndim : {2, 3}
    config : TrainConfig
        What it sets is not chosen.

    Attributes
    ----------
    width : int
        Channels of the network at half resolution.
    batch : int
        Patches in a step.
    factors : tuple of int, (ndim,)
        How many pixels of an image are one that the network sees, along each spatial axis.
    """

    def __init__(self, device: torch.device, ndim: int, config: TrainConfig) -> None:
        self._ndim, self._config = ndim, config
        self._plan = devices.plan_for(device, ndim)
        self._patch_px = config.patch_px or self._plan.patch_px
        self.width = config.width or self._plan.width
        self.batch = config.batch or self._plan.batch
        self.factors: Factors = (config.downsample or 1,) * ndim

    def move(self, device: torch.device) -> None:
        """Use the tiles of another device; patches stay as they are."""
        self._plan = devices.plan_for(device, self._ndim)

    def look_at(self, blocks: Sequence[Block], *, spacing: Sequence[float] | None, trained: bool) -> bool:
        """Choose the factors by what is marked, unless the settings tell; returns whether they changed.

        Once the network has learned something, it sees images larger only.
        """
        measured = [*blocks[:_MEASURED], *blocks[_MEASURED:][-_MEASURED:]]
        if self._config.downsample is not None or not any(block.thickness for block in measured):
            return False
        before, chosen = self.factors, factors_for(measured, self._ndim, spacing=spacing)
        self.factors = tuple(map(min, chosen, before)) if trained else chosen
        return self.factors != before

    def patch(self, blocks: Sequence[Block], multiple: int) -> tuple[int, ...]:
        """Shape of a patch in pixels of the image: along no axis larger than the largest block needs.

        Y and X are alike, so that patches can be turned, unless images are so thin that half of a patch would be empty.
        """
        largest = np.max([block.shape for block in blocks], axis=0).tolist()
        seen = [min(self._patch_px, -(-n // f)) for n, f in zip(largest, self.factors, strict=True)]
        if self.batch == 1:  # batch normalisation needs more than one value at the coarsest level
            seen[-1] = max(seen[-1], 2 * multiple)
        seen = list(padded_size(seen, [multiple] * self._ndim))
        if 2 * min(seen[-2:]) > max(seen[-2:]):
            seen[-2:] = [max(seen[-2:])] * 2
        return tuple(n * f for n, f in zip(seen, self.factors, strict=True))

    @property
    def tile_px(self) -> int:
        """Side of a prediction tile, its halo included."""
        return self._plan.tile_px * min(max(self.factors), _LARGER_TILES)

    def halo_px(self, reach_px: int) -> int:
        """How far tiles overlap, for a network that sees so many of its pixels far."""
        return min(reach_px * max(self.factors), self.tile_px // (2 * self._ndim))

    def shrink(self, smallest_px: int) -> str:
        """Need less memory: half the batch, then half the patch, smaller tiles each time.

        Returns
        -------
        str
            What is smaller now, in words; empty where neither batch nor patch can be.
        """
        tile_px = self._plan.tile_px
        self._plan = replace(self._plan, tile_px=max(tile_px // 2, min(tile_px, 4 * smallest_px)))
        if self.batch > 1:
            self.batch //= 2
            return f"{self.batch} patches at a time" if self.batch > 1 else "one patch at a time"
        if self._patch_px > smallest_px:
            self._patch_px = max(smallest_px, self._patch_px // 2)
            return f"patches of {self._patch_px} pixels"
        return ""
