"""Draws training batches from the blocks in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.knowledge import INTERFACE_UNKNOWN
from napari_weakseg.core.regions import Region
from napari_weakseg.engine.auxiliary import IGNORE
from napari_weakseg.engine.blocks import Block, never_shown

__all__ = ["Batch", "Sampler"]

_NEW_WEIGHT = 4.0  # how much likelier a block is while its latest strokes are new
_NEW_DRAWS = 12  # and for how many draws
_FEWEST_WITH_BARE = 4  # smaller batches hold no patch without marks beside others
_HINTED, _BARE = 4, 8  # one patch in so many has boxes, tags or rough masks only; one in so many has nothing
_INFERRED = 6  # one patch in so many comes from where nothing is shown, but tags or coverage rule classes out
_CENTRED = 0.8  # share of patches that are placed on a marked pixel


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of N blocks: first `exact` ones, then marked, then unmarked ones.

    The last have no certain pixel: some have boxes, tags or masks that may be wrong, others nothing.

    Attributes
    ----------
    image : float32 Tensor, (N, C, *S)
    fields : mapping of str to Tensor, (N, *S)
        allowed (int32 bit sets), painted (bool), claim and claim_weight (uint8), interface (uint8),
        inwardness (uint8), approximation (uint8); where some block has masks that may be wrong also rough (uint8) and
        rough_id (int32).
    exact, unmarked : int
        How many patches come from exact blocks, and from blocks without a certain pixel.
    tags : int8 Tensor, (N, K)
        1 where a class is said to be in the patch, -1 where not, 0 unknown.
    annotated : bool Tensor, (N, K)
        Classes that are annotated exactly in the whole patch.
    boxes : list of (image of the batch, class id, start, stop)
        In pixels of the patch; may reach beyond it.
    """

    image: Tensor
    fields: dict[str, Tensor]
    exact: int
    unmarked: int
    tags: Tensor
    annotated: Tensor
    boxes: list[tuple[int, int, tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class _Patch:
    arrays: dict[str, NDArray[np.generic]]
    tags: NDArray[np.int8]
    annotated: NDArray[np.bool_]
    boxes: list[tuple[int, tuple[int, ...], tuple[int, ...]]]


class Sampler:
    """Draws patches in fixed shares, so that shapes never change within a run.

    Half of a batch comes from exact blocks where both exact and partly marked ones exist, so that the many rough marks
    do not drown the few exact ones. In a batch of four or more a quarter, but at least one patch, comes from blocks
    that have boxes, tags or rough masks only, and an eighth, but at least one, from blocks with nothing. A sixth comes
    from blocks where nothing is shown but tags or coverage rule classes out: these are known to the last pixel, and
    many would drown the marks. Where a class is known from these alone, they are like any other. Patches are centred on
    a marked pixel most of the time, each class being as likely as any other; blocks with new strokes are drawn more
    often. A block of which only tags are known is seen as a whole, made smaller: its tags hold for no part.

    Parameters
    ----------
    patch : sequence of int
        Size of the patches along each spatial axis.
    batch : int
    rng : numpy Generator
    unmarked, tagged : bool
        Whether blocks of which nothing is known, and those of which nothing but tags are, are drawn beside others:
        only where a term learns from them, for they take the place of others.
    """

    def __init__(
        self,
        patch: Sequence[int],
        batch: int,
        rng: np.random.Generator,
        *,
        unmarked: bool = True,
        tagged: bool = True,
    ) -> None:
        self.patch = tuple(patch)
        self.batch = batch
        self._rng = rng
        self._unmarked, self._tagged = unmarked, tagged

    def favour(self, block: Block) -> None:
        """Draw a block more often for a while: its marks are new."""
        block.new_draws = _NEW_DRAWS

    def draw(self, blocks: Sequence[Block]) -> Batch:
        """Draw a batch from at least one block."""
        inferred = [] if never_shown(blocks) else [block for block in blocks if self._inferred(block)]
        others = [block for block in blocks if block not in inferred] if inferred else blocks
        exact = [block for block in others if block.exact and block.marked_at]
        rough = [block for block in others if not block.exact and block.marked_at]
        bare = [block for block in others if not block.marked_at]
        hinted = [block for block in bare if self._hinted(block)]
        bare = [block for block in bare if not self._hinted(block)]
        n_hinted, n_bare = self._weak_shares(hinted, bare) if exact or rough or inferred else (self.batch, 0)
        if not exact and not rough and not inferred and not hinted:
            n_hinted, n_bare = 0, self.batch
        n_marked = self.batch - n_hinted - n_bare
        n_inferred = self._inferred_share(inferred) if exact or rough else n_marked
        n_shown = n_marked - n_inferred
        n_exact = n_shown if not rough else 0
        if exact and rough:
            n_exact = n_shown // 2 if n_shown > 1 else int(self._rng.integers(n_shown + 1))
        n_rough = n_shown - n_exact
        groups = [(exact, n_exact), (rough, n_rough), (inferred, n_inferred), (hinted, n_hinted), (bare, n_bare)]
        picked = [self._pick(group) for group, n in groups for _ in range(n)]
        claimed = any(block.rough is not None for block in blocks)
        return _joined([self._patch(block, claimed) for block in picked], n_exact, n_hinted + n_bare)

    def _hinted(self, block: Block) -> bool:
        return block.hinted and (self._tagged or not block.only_tagged)

    def _inferred(self, block: Block) -> bool:
        """Whether nothing is shown in a block, but tags or coverage rule classes out."""
        if block.shown or block.boxes:
            return False
        return bool(block.marked_at) or (block.narrowed and not self._hinted(block))

    def _inferred_share(self, inferred: Sequence[Block]) -> int:
        """How many patches come from blocks where nothing is shown, beside others."""
        if not inferred:
            return 0
        if self.batch < _INFERRED:
            return int(self._rng.random() < self.batch / _INFERRED)
        return self.batch // _INFERRED

    def _weak_shares(self, hinted: Sequence[Block], bare: Sequence[Block]) -> tuple[int, int]:
        """How many patches come from blocks with hints only, and from those with nothing."""
        if self.batch < _FEWEST_WITH_BARE:
            return 0, 0
        n_hinted = max(1, self.batch // _HINTED) if hinted else 0
        return n_hinted, max(1, self.batch // _BARE) if bare and self._unmarked else 0

    def _pick(self, group: Sequence[Block]) -> Block:
        weight = np.array([_NEW_WEIGHT if block.new_draws else 1.0 for block in group])
        block = group[self._rng.choice(len(group), p=weight / weight.sum())]
        block.new_draws = max(0, block.new_draws - 1)
        return block

    def _patch(self, block: Block, claimed: bool) -> _Patch:
        if self._tagged and not block.marked_at and block.only_tagged:
            return self._overview(block, claimed)
        start = self._start(block)
        at = tuple(slice(a, min(a + p, size)) for a, p, size in zip(start, self.patch, block.shape, strict=True))
        boxes = [
            (
                c,
                tuple(x - o for x, o in zip(lo, start, strict=True)),
                tuple(x - o for x, o in zip(hi, start, strict=True)),
            )
            for c, lo, hi in block.boxes
            if all(a < s.stop and b > s.start for a, b, s in zip(lo, hi, at, strict=True))
        ]
        arrays = self._filled(block.pixels[(slice(None), *at)], _fields(block, at, claimed))
        everything = block.whole and all(p >= size for p, size in zip(self.patch, block.shape, strict=True))
        return _Patch(arrays, _tags(block, everything), _annotated(block), boxes)

    def _overview(self, block: Block, claimed: bool) -> _Patch:
        """See all of a block, made so much smaller that it fits."""
        step = max(-(-size // p) for size, p in zip(block.shape, self.patch, strict=True))
        missing = [(0, -size % step) for size in block.shape]
        image = np.pad(block.pixels, [(0, 0), *missing], mode="symmetric")
        parts = [n for size in image.shape[1:] for n in (size // step, step)]
        image = image.reshape(len(image), *parts).mean(tuple(range(2, 2 * len(block.shape) + 1, 2)), dtype=np.float32)
        at = tuple(slice(step // 2 if size > step // 2 else 0, None, step) for size in block.shape)
        fields = _fields(block, at, claimed)
        extra = [(0, n - m) for n, m in zip(image.shape[1:], next(iter(fields.values()))[0].shape, strict=True)]
        fields = {name: (np.pad(x, extra, constant_values=fill), fill) for name, (x, fill) in fields.items()}
        return _Patch(self._filled(image, fields), _tags(block, True), _annotated(block), [])

    def _filled(
        self, image: NDArray[np.float32], fields: dict[str, tuple[NDArray[np.generic], np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        """Fill up to the size of a patch: the image by its mirror, the rest by what says nothing."""
        missing = [(0, p - size) for p, size in zip(self.patch, image.shape[1:], strict=True)]
        if not any(n for _, n in missing):
            return {"image": image, **{name: values for name, (values, _) in fields.items()}}
        filled = {name: np.pad(x, missing, constant_values=fill) for name, (x, fill) in fields.items()}
        return {"image": np.pad(image, [(0, 0), *missing], mode="symmetric"), **filled}

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


def _fields(block: Block, at: Region, claimed: bool) -> dict[str, tuple[NDArray[np.generic], np.generic]]:
    """All that is known and claimed at some pixels of a block, each with the value that says nothing."""
    spared = block.held_out[at]
    claim, weight = block.claimed(at)
    fields: dict[str, tuple[NDArray[np.generic], np.generic]] = {
        "allowed": (block.allowed[at], np.uint32(block.knowledge.full).view(np.int32)),
        "painted": (block.knowledge.painted[at] & ~spared, np.bool_(False)),
        "claim": (np.where(spared, np.uint8(0), claim), np.uint8(0)),
        "claim_weight": (weight, np.uint8(0)),
        "interface": (
            np.where(spared, np.uint8(INTERFACE_UNKNOWN), block.interfaces[at]),
            np.uint8(INTERFACE_UNKNOWN),
        ),
        "inwardness": (np.where(spared, np.uint8(IGNORE), block.inwardness[at]), np.uint8(IGNORE)),
        "approximation": (np.where(spared, np.uint8(IGNORE), block.approximation[at]), np.uint8(IGNORE)),
    }
    if claimed:
        nothing = np.zeros(spared.shape, np.int32)
        labels, ids = (nothing.astype(np.uint8), nothing) if block.rough is None else block.rough.at(at)
        fields |= {"rough": (np.where(spared, 0, labels), np.uint8(0)), "rough_id": (ids, np.int32(0))}
    return fields


def _tags(block: Block, everything: bool) -> NDArray[np.int8]:
    """Tell what is said of the classes in a patch: one that is in the image need not be in a part of it."""
    tags = np.zeros(block.knowledge.full.bit_length() - 1, np.int8)
    for class_id, present in block.tags.items():
        if class_id <= len(tags):
            tags[class_id - 1] = int(everything) if present else -1
    return tags


def _annotated(block: Block) -> NDArray[np.bool_]:
    return np.isin(np.arange(1, block.knowledge.full.bit_length()), list(block.annotated))


def _joined(patches: Sequence[_Patch], exact: int, unmarked: int) -> Batch:
    stacked = {
        name: torch.from_numpy(np.stack([patch.arrays[name] for patch in patches])) for name in patches[0].arrays
    }
    return Batch(
        stacked.pop("image"),
        stacked,
        exact,
        unmarked,
        torch.from_numpy(np.stack([patch.tags for patch in patches])),
        torch.from_numpy(np.stack([patch.annotated for patch in patches])),
        [(i, *box) for i, patch in enumerate(patches) for box in patch.boxes],
    )
