"""What training has made of each block, in a form that can be saved: growth, claims, held-out marks."""

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.engine.blocks import Block, Place, settle_growth, start_claims
from napari_weakseg.engine.growth import GrowthState

__all__ = ["BlockMemory", "Key", "key_of", "recalled", "remembered"]

Key: TypeAlias = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Image, frame, and first pixel of a block."""


def key_of(place: Place) -> Key:
    """Name a place."""
    return place.image, place.frame, tuple(s.start for s in place.region)


@dataclass(frozen=True, slots=True)
class BlockMemory:
    """What cannot be made from the annotations again.

    Attributes
    ----------
    arrays : mapping of str to array
        Of the block (held_out, claim, claim_weight, guess, guess_weight, bare, approximation) and of its growth; only
        those that say anything.
    new_draws : int
    boxes : list of (class id, start, stop)
        That the claims were made with, in lists.
    """

    arrays: Mapping[str, NDArray[Any]]
    new_draws: int
    boxes: list[Any]

    @classmethod
    def of(cls, block: Block) -> "BlockMemory":
        """Take it from a block."""
        arrays: dict[str, NDArray[Any]] = {}
        if block.held_out.any():
            arrays["held_out"] = block.held_out
        if block.guess is not None and block.guess_weight is not None:
            arrays |= {"guess": block.guess, "guess_weight": block.guess_weight}
        if block.bare is not None:
            arrays["bare"] = block.bare
        growth = block.growth
        if growth is not None:
            arrays["seeds"] = growth.seeds
        if growth is not None and (growth.round or block.claim.any()):
            arrays |= {
                "claim": block.claim,
                "claim_weight": block.claim_weight,
                "approximation": block.approximation,
                "seed_class": growth.seed_class,
                "ids": growth.ids,
                "frozen": growth.frozen,
                "slow": growth.slow,
                "areas": np.stack(growth.areas),
                "rounds": growth.rounds,
            }
        return cls(arrays, block.new_draws, _listed(block))

    def give_to(self, block: Block) -> bool:
        """Give it to the block of that place; returns whether its blobs or boxes have changed since."""
        block.new_draws = self.new_draws
        if any(
            self.arrays[name].shape != block.shape
            for name in ("held_out", "ids", "guess", "bare", "seeds")
            if name in self.arrays
        ):
            return True
        block.guess, block.guess_weight = self.arrays.get("guess"), self.arrays.get("guess_weight")
        block.held_out = self.arrays.get("held_out", np.zeros(block.shape, bool))
        block.held_out &= block.knowledge.painted | block.knowledge.complete
        changed = False
        if self.boxes != _listed(block) and not block.exact:
            changed = True
            start_claims(block)
        elif "ids" not in self.arrays:
            changed = (
                not np.array_equal(self.arrays.get("seeds", 0), block.knowledge.seeds) and block.growth is not None
            )
        else:
            seeds, classes, ids, frozen, slow, areas = (
                self.arrays[name] for name in ("seeds", "seed_class", "ids", "frozen", "slow", "areas")
            )
            rounds = self.arrays.get("rounds", np.full(len(classes), len(areas) - 1, np.uint8))
            block.growth = GrowthState(seeds, classes, ids, frozen, slow, tuple(areas), rounds)
            block.claim, block.claim_weight = self.arrays["claim"], self.arrays["claim_weight"]
            block.approximation = self.arrays["approximation"]
            bit = np.left_shift(np.uint32(1), classes.astype(np.uint32))[ids]
            overruled = (ids > 0) & ((block.knowledge.allowed & bit) == 0)
            if overruled.any() or not np.array_equal(seeds, block.knowledge.seeds):
                changed = True
                settle_growth(block)
        block.bare = None if changed else self.arrays.get("bare")  # the forest may see it in another way now
        block.refresh()
        return changed


def remembered(blocks: Sequence[Block]) -> tuple[dict[str, Tensor], list[Any]]:
    """Turn what there is to say of blocks, in their order, into tensors and JSON."""
    tensors: dict[str, Tensor] = {}
    records: list[Any] = []
    for i, block in enumerate(blocks):
        memory = BlockMemory.of(block)
        tensors |= {f"block.{i}.{name}": _packed(array) for name, array in memory.arrays.items()}
        image, frame, start = key_of(block.place)
        records.append([image, list(frame), list(start), memory.new_draws, memory.boxes])
    return tensors, records


def recalled(tensors: Mapping[str, Tensor], records: Sequence[Any]) -> dict[Key, BlockMemory]:
    """Turn it back, in the same order."""
    arrays: list[dict[str, NDArray[Any]]] = [{} for _ in records]
    for key, tensor in tensors.items():
        if key.startswith("block."):
            _, index, name = key.split(".", 2)
            arrays[int(index)][name] = _unpacked(tensor)
    return {
        (image, tuple(frame), tuple(start)): BlockMemory(found, int(new_draws), boxes[0] if boxes else [])
        for (image, frame, start, new_draws, *boxes), found in zip(records, arrays, strict=True)
    }


def _listed(block: Block) -> list[Any]:
    return [[class_id, list(start), list(stop)] for class_id, start, stop in block.boxes]


def _packed(array: NDArray[Any]) -> Tensor:
    """Compress: label arrays shrink to a hundredth."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return torch.frombuffer(bytearray(zlib.compress(file.getvalue(), 1)), dtype=torch.uint8)


def _unpacked(tensor: Tensor) -> NDArray[Any]:
    raw = zlib.decompress(tensor.numpy().tobytes())
    array: NDArray[Any] = np.load(io.BytesIO(raw), allow_pickle=False)
    return array
