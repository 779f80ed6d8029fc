"""Learns, while the network does, how far each object of a rough, imported or machine-made mask can be trusted.

See `trust` for the rule and its source. The exact gradient is a running mean over the exact patches of the batches; the
authors of Pan et al. (arXiv:2203.05956) take it over the whole exact set, or from one batch. Two things are ours. Each
object is compared with exact marks of its own class: the sum over all classes is that of the class which is learned
worst. And as nearly all gradients of a class agree a little, those of wrong masks too, for they share the mean of the
features, an object is asked whether it agrees nearly as far as exact marks do with each other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.losses import likeliest, one_hot, project
from napari_weakseg.engine.networks import Outputs
from napari_weakseg.engine.objective import Given
from napari_weakseg.engine.protocol import ClaimTrust
from napari_weakseg.engine.rough import Key
from napari_weakseg.engine.trust import ClaimWeights, agreement, balanced_weight, last_layer_gradient

__all__ = ["TrustLearner"]

_FROM = 60  # step from which weights move: before, gradients tell little
_FEWEST_EXACT = 3  # exact blocks; with fewer of them the weights would fit these alone
_KEPT = 0.9  # share of the old exact gradient, and of what is usual, that stays at each step
_OF_USUAL = 0.85  # of the agreement of exact marks, above which an object of a claim gains weight
_OF_USUAL_BACKGROUND = 0.6  # less: it is right for the most part where some objects were forgotten in it


class TrustLearner:
    """Weights of all claims that were read so far.

    Parameters
    ----------
    config : TrainConfig
    """

    def __init__(self, config: TrainConfig) -> None:
        self._learns = config.trust
        self._weights = ClaimWeights()
        self._rows: dict[Key, int] = {}
        self._index: list[int] = []  # of each row: place of its weight, of its image's, and its pixels
        self._parent: list[int] = []
        self._pixels: list[int] = []
        self._exact: Tensor | None = None  # gradient of the exact marks of each class, (K, D)
        self._usual = np.zeros(0, np.float32)  # how far exact marks of a patch agree with it, (K,)
        self._table: Tensor | None = None

    def take_in(self, blocks: Sequence[Block]) -> None:
        """Give the claims of blocks their places."""
        for block in blocks:
            if block.rough is None:
                continue
            own, parents = self._weights.index(block.rough.keys), self._weights.index(block.rough.parents)
            for i, key in enumerate(block.rough.keys):
                if key not in self._rows:
                    self._rows[key] = len(self._rows)
                    self._index.append(int(own[i]))
                    self._parent.append(int(parents[i]))
                    self._pixels.append(int(block.rough.pixels[i]))
                block.rough.place[i + 1] = self._rows[key] + 1
            self._table = None

    def of_pixels(self, places: Tensor) -> Tensor:
        """Weight of the claim at each pixel, 0 where there is none.

        Parameters
        ----------
        places : int32 Tensor, (N, *S)
            As in the field "rough_id" of a batch.

        Returns
        -------
        float32 Tensor, (N, *S)
        """
        if self._table is None or self._table.device != places.device:
            self._table = torch.from_numpy(np.append(np.float32(0), self._joined())).to(places.device)
        return self._table[places.long()]

    def by_object(self, blocks: Sequence[Block]) -> list[ClaimTrust]:
        """Weight of each object in some blocks, the least trusted first."""
        there = {key for block in blocks if block.rough is not None for key in block.rough.keys}
        found = [
            ClaimTrust(*key[:4], pixels, float(weight))
            for key, pixels, weight in zip(self._rows, self._pixels, self._joined(), strict=True)
            if key in there
        ]
        return sorted(found, key=lambda claim: claim.weight)

    @torch.no_grad()
    def learn(self, step: int, out: Outputs, given: Given, n_exact: int) -> None:
        """Move the weights of the claims in a batch once gradients tell something; changes nothing of the network."""
        if not self._learns or given.trust is None or not given.exact or n_exact < _FEWEST_EXACT:
            return
        if step < _FROM:
            return
        self._see_exact(out, given)
        if self._exact is None or not self._usual.any():  # nothing to compare with yet
            return
        rows, classes, gradients = _of_claims(out, given)
        if not len(rows):
            return
        index, parent = np.array(self._index)[rows], np.array(self._parent)[rows]
        asked = np.where(classes == BACKGROUND, _OF_USUAL_BACKGROUND, _OF_USUAL)
        found = agreement(gradients, self._exact[classes - 1]) - asked * self._usual[classes - 1]
        self._weights.update(index, found)
        parents, member = np.unique(parent, return_inverse=True)
        pixels = np.where(np.isfinite(found), np.array(self._pixels)[rows], 0)
        seen = np.bincount(member, pixels)
        together = np.bincount(member, pixels * np.nan_to_num(found)) / np.maximum(1, seen)
        self._weights.update(parents, np.where(seen > 0, together, np.nan))
        self._table = None

    def save(self) -> dict[str, Any]:
        """Give everything that cannot be made again, as JSON."""
        exact = None if self._exact is None else self._exact.tolist()
        return {"weights": self._weights.save(), "exact": exact, "usual": [float(x) for x in self._usual]}

    def restore(self, saved: dict[str, Any], blocks: Sequence[Block], device: torch.device) -> None:
        """Take back what `save` gave."""
        self._weights.restore(saved["weights"])
        self._exact = None if saved["exact"] is None else torch.tensor(saved["exact"], device=device)
        self._usual = np.array(saved.get("usual", []), np.float32)
        self._rows, self._index, self._parent, self._pixels = {}, [], [], []
        self.take_in(blocks)

    def _joined(self) -> NDArray[np.float32]:
        if not self._rows:
            return np.zeros(0, np.float32)
        return self._weights.joined(np.array(self._index), np.array(self._parent), np.array(self._pixels))

    def _see_exact(self, out: Outputs, given: Given) -> None:
        patches, classes = slice(0, given.exact), given.allowed.shape[1]
        allowed = given.allowed[patches]
        certain = allowed.sum(1) == 1
        labels = torch.where(certain, likeliest(allowed.float()) + 1, 0)
        patch = torch.arange(given.exact, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
        gradients = last_layer_gradient(
            out.features[-1][patches],
            out.logits[patches].float().softmax(1),
            allowed.float(),
            balanced_weight(labels, classes),
            torch.where(certain, patch * classes + labels - 1, -1),
            given.exact * classes,
        ).view(given.exact, classes, -1)
        together = gradients.sum(0)
        if self._exact is None or self._exact.shape != together.shape:
            self._exact, self._usual = together, np.zeros(classes, np.float32)
            return
        found = agreement(gradients, self._exact)
        seen = np.isfinite(found)
        mean = np.where(seen, found, 0).sum(0) / np.maximum(1, seen.sum(0))
        before = np.where(self._usual == 0, mean, self._usual)
        self._usual = np.where(seen.any(0), _KEPT * before + (1 - _KEPT) * mean, before).astype(np.float32)
        there = together.abs().sum(1, keepdim=True) > 0
        begun = self._exact.abs().sum(1, keepdim=True) > 0
        moved = torch.where(begun, self._exact.lerp(together, 1 - _KEPT), together)
        self._exact = torch.where(there, moved, self._exact)


def _of_claims(out: Outputs, given: Given) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor]:
    """Rows of the claims in a batch, their class ids and their gradients."""
    labels = given.fields["rough"]
    target, mass = project(one_hot(labels, given.allowed.shape[1]), given.allowed)
    places = torch.where((labels > 0) & (mass > 0), given.fields["rough_id"].long(), 0)
    found, group = places.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    some = int(found[0] == 0)  # pixels without a claim are the first group
    gradients = last_layer_gradient(
        out.features[-1], out.logits.float().softmax(1), target, torch.ones_like(mass), group - some, len(found) - some
    )
    classes = torch.zeros_like(found).index_put_((group.flatten(),), labels.flatten().long())
    return (found[some:] - 1).cpu().numpy(), classes[some:].cpu().numpy(), gradients
