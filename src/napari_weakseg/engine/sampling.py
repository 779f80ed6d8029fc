"""Draws training batches from the blocks in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.knowledge import INTERFACE_UNKNOWN
from napari_weakseg.engine.auxiliary import IGNORE
from napari_weakseg.engine.blocks import Block

__all__ = ["Batch", "Sampler"]

_NEW_WEIGHT = 4.0  # how much likelier a block is while its latest strokes are new
_NEW_DRAWS = 12  # and for how many draws
_FEWEST_WITH_BARE = 4  # smaller batches hold no patch without marks
_CENTRED = 0.8  # share of patches that are placed on a marked pixel


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of N blocks: first `exact` ones, then marked, then unmarked ones.

    Attributes
    ----------
    image : float32 Tensor, (N, C, *S)
    fields : mapping of str to Tensor, (N, *S)
        allowed (int32 bit sets), painted (bool), claim and claim_weight (uint8), interface (uint8),
        approximation (uint8).
    exact, unmarked : int
        How many patches come from exact blocks, and from blocks without marks.
    """

    image: Tensor
    fields: dict[str, Tensor]
    exact: int
    unmarked: int


class Sampler:
    """Draws patches in fixed shares, so that shapes never change within a run.

    Half of a batch comes from exact blocks where both exact and partly marked ones exist, so that the many rough
    marks do not drown the few exact ones; an eighth, but at least one patch in a batch of four or more, comes from
    blocks without marks. Patches are centred on a marked pixel most of the time, each class
    being as likely as any other; blocks with new strokes are drawn more often.

    Parameters
    ----------
    patch_px, batch : int
    ndim : int
    rng : numpy Generator
    unmarked : bool
        Whether blocks without a certain pixel are drawn beside others: only where a term learns from them.
    """

    def __init__(
        self, patch_px: int, batch: int, ndim: int, rng: np.random.Generator, *, unmarked: bool = True
    ) -> None:
        self.patch = (patch_px,) * ndim
        self.batch = batch
        self._rng = rng
        self._unmarked = unmarked

    def favour(self, block: Block) -> None:
        """Draw a block more often for a while: its marks are new."""
        block.new_draws = _NEW_DRAWS

    def draw(self, blocks: Sequence[Block]) -> Batch:
        """Draw a batch from at least one block."""
        exact = [block for block in blocks if block.exact and block.marked_at]
        rough = [block for block in blocks if not block.exact and block.marked_at]
        bare = [block for block in blocks if not block.marked_at]
        n_bare = min(len(bare), max(1, self.batch // 8)) if self._unmarked and self.batch >= _FEWEST_WITH_BARE else 0
        if not exact and not rough:
            n_bare = self.batch
        n_marked = self.batch - n_bare
        n_exact = n_marked if not rough else 0
        if exact and rough:
            n_exact = n_marked // 2 if n_marked > 1 else int(self._rng.integers(n_marked + 1))
        groups = [(exact, n_exact), (rough, n_marked - n_exact), (bare, n_bare)]
        picked = [self._pick(group) for group, n in groups for _ in range(n)]
        return self._joined([self._patch(block) for block in picked], n_exact, n_bare)

    def _pick(self, group: Sequence[Block]) -> Block:
        weight = np.array([_NEW_WEIGHT if block.new_draws else 1.0 for block in group])
        block = group[self._rng.choice(len(group), p=weight / weight.sum())]
        block.new_draws = max(0, block.new_draws - 1)
        return block

    def _patch(self, block: Block) -> dict[str, NDArray[np.generic]]:
        start = self._start(block)
        at = tuple(slice(a, min(a + p, size)) for a, p, size in zip(start, self.patch, block.shape, strict=True))
        spared = block.held_out[at]
        fields = {
            "allowed": (block.allowed[at], np.uint32(block.knowledge.full).view(np.int32)),
            "painted": (block.knowledge.painted[at] & ~spared, np.bool_(False)),
            "claim": (block.claim[at], np.uint8(0)),
            "claim_weight": (block.claim_weight[at], np.uint8(0)),
            "interface": (
                np.where(spared, np.uint8(INTERFACE_UNKNOWN), block.interfaces[at]),
                np.uint8(INTERFACE_UNKNOWN),
            ),
            "approximation": (np.where(spared, np.uint8(IGNORE), block.approximation[at]), np.uint8(IGNORE)),
        }
        missing = [(0, p - (s.stop - s.start)) for p, s in zip(self.patch, at, strict=True)]
        patch: dict[str, NDArray[np.generic]] = {}
        image = block.pixels[(slice(None), *at)]
        if any(b for _, b in missing):
            patch["image"] = np.pad(image, [(0, 0), *missing], mode="symmetric")
            for name, (values, fill) in fields.items():
                patch[name] = np.pad(values, missing, constant_values=fill)
        else:
            patch["image"] = image
            patch.update({name: values for name, (values, _) in fields.items()})
        return patch

    def _start(self, block: Block) -> tuple[int, ...]:
        free = [max(0, size - p) for size, p in zip(block.shape, self.patch, strict=True)]
        if block.marked_at and self._rng.random() < _CENTRED:
            classes = list(block.marked_at)
            at = block.marked_at[classes[self._rng.integers(len(classes))]]
            centre = np.unravel_index(at[self._rng.integers(len(at))], block.shape)
            jitter = [self._rng.integers(-p // 4, p // 4 + 1) for p in self.patch]
            return tuple(
                int(np.clip(c + j - p // 2, 0, f)) for c, j, p, f in zip(centre, jitter, self.patch, free, strict=True)
            )
        return tuple(int(self._rng.integers(f + 1)) for f in free)

    def _joined(self, patches: list[dict[str, NDArray[np.generic]]], exact: int, unmarked: int) -> Batch:
        stacked = {name: torch.from_numpy(np.stack([patch[name] for patch in patches])) for name in patches[0]}
        return Batch(stacked.pop("image"), stacked, exact, unmarked)
