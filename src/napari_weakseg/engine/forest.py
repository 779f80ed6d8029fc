"""The early pixel forest: a prediction within a second or two, until the network knows better.

A forest on filter responses learns from a few strokes at once where a network needs a minute. It is trained once at
the start (and again when marks change while it still counts); its share of the prediction fades as the network
learns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.engine.blocks import Block, by_class
from napari_weakseg.engine.features import FilterBank
from napari_weakseg.engine.memory import Key, key_of

__all__ = ["PixelForest"]

_MAX_PIXELS = 40_000
_MAX_BLOCKS = 48
_TREES = 30


class PixelForest:
    """Extremely randomised trees on the responses of a filter bank.

    Ours: not part of any of the published methods. scikit-learn's trees, because they train in a fraction of a
    second on a few ten thousand pixels and need no tuning. Where the coverage of some class is told, the known pixels
    have the shares that the classes have in the images; else each class counts alike, for strokes tell no areas.

    Parameters
    ----------
    ndim, channels, classes : int
    seed : int
    jobs : int
        Threads.
    """

    def __init__(self, ndim: int, channels: int, classes: int, *, seed: int, jobs: int) -> None:
        self._bank = FilterBank(ndim, channels)
        self._classes = classes
        self._seed = seed
        self._jobs = jobs
        self._trees: Any = None
        self._kept: dict[Key, tuple[int, int, NDArray[np.float32], NDArray[np.uint8]]] = {}
        self._learned: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None
        self._areas_tell = False

    @property
    def ready(self) -> bool:
        """Whether it has something to answer with."""
        return self._learned is not None

    def fit(self, blocks: Sequence[Block], rng: np.random.Generator) -> None:
        """Learn from the known pixels of some blocks; nothing happens with fewer than two classes."""
        usable = [block for block in blocks if block.marked_at]
        picked = [usable[i] for i in rng.permutation(len(usable))[:_MAX_BLOCKS]]
        known = [by_class(np.where(block.held_out, 0, block.knowledge.certain)) for block in picked]
        total = sum(len(at) for each in known for at in each.values())
        if not total:
            return
        share = min(1.0, _MAX_PIXELS / total)
        features, labels = [], []
        for block, at in zip(picked, known, strict=True):
            rows, classes = self._rows(block, at, share, rng)
            features.append(rows)
            labels.append(classes)
        targets = np.concatenate(labels)
        if len(np.unique(targets)) < 2:
            return
        self._learned = np.concatenate(features), targets
        self._areas_tell = any((block.knowledge.known & ~block.knowledge.painted).any() for block in picked)
        self._grow()

    def _rows(
        self, block: Block, known: Mapping[int, NDArray[np.int64]], share: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Responses at a share of a block's known pixels; those of an unchanged block are kept from the last time."""
        count = sum(len(at) for at in known.values())
        kept = self._kept.get(key_of(block.place))
        if kept is not None and kept[0] == block.revision and kept[1] == count:
            return kept[2], kept[3]
        taken = [rng.choice(at, int(np.ceil(share * len(at))), replace=False) for at in known.values()]
        classes = [np.full(len(at), c, np.uint8) for at, c in zip(taken, known, strict=True)]
        rows = self._responses(block.pixels)[np.concatenate(taken)], np.concatenate(classes)
        self._kept[key_of(block.place)] = (block.revision, count, *rows)
        return rows

    def save(self) -> dict[str, Tensor]:
        """Give the pixels it learned from; the trees grow from them again the same."""
        if self._learned is None:
            return {}
        features, labels = self._learned
        return {
            "forest.features": torch.from_numpy(features),
            "forest.labels": torch.from_numpy(labels),
            "forest.areas_tell": torch.tensor(self._areas_tell),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `save` gave."""
        if "forest.features" in tensors:
            self._learned = tensors["forest.features"].numpy(), tensors["forest.labels"].numpy()
            self._areas_tell = bool(tensors["forest.areas_tell"])
            self._trees = None

    def _grow(self) -> None:
        from sklearn.ensemble import ExtraTreesClassifier

        assert self._learned is not None
        trees = ExtraTreesClassifier(
            _TREES,
            max_depth=16,
            min_samples_leaf=2,
            class_weight=None if self._areas_tell else "balanced",
            n_jobs=self._jobs,
            random_state=self._seed,
        )
        self._trees = trees.fit(*self._learned)

    def predict(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict class probabilities.

        Parameters
        ----------
        pixels : float32 array, (C, *S)

        Returns
        -------
        float32 array, (K, *S)
        """
        every = np.arange(pixels[0].size)
        return self.predict_at(pixels, every).reshape(self._classes, *pixels.shape[1:])

    def predict_at(self, pixels: NDArray[np.float32], at: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predict some pixels of an image only, by their flat indices: float32 (K, n)."""
        if self._trees is None:
            self._grow()
        found = self._trees.predict_proba(self._responses(pixels)[at])
        result = np.zeros((self._classes, len(at)), np.float32)
        result[self._trees.classes_ - 1] = found.T
        return result

    def _responses(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """One row of filter responses per pixel, image values included."""
        image = torch.from_numpy(np.ascontiguousarray(pixels))[None]
        responses = torch.cat([image, self._bank(image)], 1)[0].flatten(1).T.contiguous().numpy()
        return np.asarray(responses)
