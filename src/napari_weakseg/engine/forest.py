"""The early pixel forest: a prediction within a second or two, until the network knows better.

A forest on filter responses learns from a few strokes at once where a network needs a minute. It is trained once at
the start (and again when marks change or more images are read while it still counts); its share of the prediction
fades as the network learns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.engine.blocks import Block, Place, areas_told, by_class
from napari_weakseg.engine.features import SCALES_PX, FilterBank
from napari_weakseg.engine.guided_filter import guided_filter
from napari_weakseg.engine.memory import Key, key_of

__all__ = ["PixelForest"]

_MAX_RESPONSES = 2_500_000  # pixels that it learns from times responses of each: 80 000 pixels of one channel
_MAX_FILTERED = 12_000_000  # pixels of the blocks that they are drawn from
_TREES = 30
_LEFT_OUT_ROWS, _LEFT_OUT_TREES = 20_000, 15  # enough to see how often it is right about what it has not seen
_PLACES = 12  # far enough from each other that must be marked, for a scale to be looked at
#: Pixels of a class in a block at most, where areas are not told, by the number of spatial axes: neighbours in a stroke
#: say the same.
_OF_STROKES = {2: 500, 3: 4000}
_LOOKED_AT = 200  # marked pixels of a class in a block that their places are counted by


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was drawn from a block at the last time."""

    revision: int
    count: int
    share: float
    at: NDArray[np.int64]
    rows: NDArray[np.float32]
    classes: NDArray[np.uint8]


class PixelForest:
    """Extremely randomised trees on the responses of a filter bank.

    Ours: not part of any of the published methods. scikit-learn's trees, because they train in a fraction of a
    second on a few ten thousand pixels and need no tuning. Where the coverage of some class is told, the known pixels
    have the shares that the classes have in the images; else each class counts alike, for strokes tell no areas, and a
    long stroke in an image counts no more than a short one.
    A broad filter tells places rather than looks where there are a few strokes only, so broad ones are used as soon as
    there are marks in enough places.

    Parameters
    ----------
    ndim, channels, classes : int
        Of more channels, those of neighbouring planes, the first ones are looked at.
    seed : int
    jobs : int
        Threads.

    Attributes
    ----------
    times_learned : int
        How often it has learned something.
    """

    def __init__(self, ndim: int, channels: int, classes: int, *, seed: int, jobs: int) -> None:
        self._ndim, self._channels = ndim, channels
        self._bank = FilterBank(ndim, channels)
        self._classes = classes
        self._seed = seed
        self._jobs = jobs
        self._trees: Any = None
        self._kept: dict[Key, _Kept] = {}
        self._learned: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None
        self._learned_at: list[tuple[Place, NDArray[np.int64]]] = []
        self._areas_tell = False
        self.times_learned = 0

    @property
    def ready(self) -> bool:
        """Whether it has something to answer with."""
        return self._learned is not None

    def fit(self, blocks: Sequence[Block], rng: np.random.Generator) -> None:
        """Learn from the known pixels of some blocks.

        Nothing happens with fewer than two classes, or where much is known to be none of some class but nothing to be
        background: the forest would take all of it for one of the classes that it has seen.
        """
        usable = [block for block in blocks if _usable(block)]
        picked = _within([usable[i] for i in rng.permutation(len(usable))], _MAX_FILTERED)
        known = [by_class(np.where(block.held_out, 0, block.knowledge.certain)) for block in picked]
        areas_tell = areas_told(picked)
        if areas_tell != self._areas_tell:
            self._areas_tell = areas_tell
            self._kept.clear()
        total = sum(self._counting(len(at)) for each in known for at in each.values())
        if not total:
            return
        self._look_at(_scales_told(picked, known))
        share = min(1.0, _MAX_RESPONSES / (self._channels + self._bank.n_features) / total)
        kept = [self._rows(block, at, share, rng) for block, at in zip(picked, known, strict=True)]
        targets = np.concatenate([each.classes for each in kept])
        if len(np.unique(targets)) < 2 or _lacks_background(picked, targets):
            return
        self._learned = np.concatenate([each.rows for each in kept]), targets
        self._learned_at = [(block.place, each.at) for block, each in zip(picked, kept, strict=True)]
        self._trees = self._grown(*self._learned)
        self.times_learned += 1

    def knows(self, blocks: Sequence[Block]) -> bool:
        """Whether it has learned from these blocks as they are, from all of them and nothing else."""
        keys = [key_of(place) for place, _ in self._learned_at]
        learned = {key: (self._kept[key].revision, self._kept[key].count) for key in keys if key in self._kept}
        return learned == {key_of(block.place): (block.revision, _known(block)) for block in blocks if _usable(block)}

    def right_without(self, left_out: Callable[[Place, NDArray[np.int64]], NDArray[np.bool_]]) -> dict[int, float]:
        """How often it would be right about some of the pixels that it learned from, had it not seen them.

        Parameters
        ----------
        left_out : callable
            Place of a block, flat indices of pixels (n,) → which ones are left out, bool (n,).

        Returns
        -------
        dict of int to float
            Share of right answers by class id; empty where nothing or all is left out.
        """
        if self._learned is None or not self._learned_at:
            return {}
        rows, classes = self._learned
        out = np.concatenate([left_out(place, at) for place, at in self._learned_at])
        if len(rows) > _LEFT_OUT_ROWS:
            some = np.random.default_rng(self._seed).choice(len(rows), _LEFT_OUT_ROWS, replace=False)
            rows, classes, out = rows[some], classes[some], out[some]
        if len(np.unique(classes[~out])) < 2 or not out.any():
            return {}
        trees = self._grown(rows[~out], classes[~out], _LEFT_OUT_TREES)
        right, asked = trees.predict(rows[out]) == classes[out], classes[out]
        return {int(c): float(right[asked == c].mean()) for c in np.unique(asked)}

    def _counting(self, count: int) -> int:
        """How many of so many known pixels of a class in a block are learned from, where there is room for all."""
        return count if self._areas_tell else min(count, _OF_STROKES[self._ndim])

    def _look_at(self, scales_px: tuple[float, ...]) -> None:
        """Use so many scales from now on."""
        if scales_px != self._bank.scales_px:
            self._bank = FilterBank(self._ndim, self._channels, scales_px)
            self._kept.clear()

    def _rows(
        self, block: Block, known: Mapping[int, NDArray[np.int64]], share: float, rng: np.random.Generator
    ) -> _Kept:
        """Responses at a share of a block's known pixels; those of an unchanged block are kept from the last time."""
        count = sum(len(at) for at in known.values())
        kept = self._kept.get(key_of(block.place))
        if kept is None or kept.revision != block.revision or kept.count != count or kept.share < share:
            sizes = [int(np.ceil(share * self._counting(len(at)))) for at in known.values()]
            taken = [rng.choice(at, size, replace=False) for at, size in zip(known.values(), sizes, strict=True)]
            classes = [np.full(len(at), c, np.uint8) for at, c in zip(taken, known, strict=True)]
            at = np.concatenate(taken)
            kept = _Kept(block.revision, count, share, at, self._rows_at(block.pixels, at), np.concatenate(classes))
        elif kept.share > share:  # more blocks than last time share the pixels that are learned from
            fewer = rng.permutation(len(kept.rows))[: int(np.ceil(share / kept.share * len(kept.rows)))]
            kept = replace(kept, share=share, at=kept.at[fewer], rows=kept.rows[fewer], classes=kept.classes[fewer])
        self._kept[key_of(block.place)] = kept
        return kept

    def save(self) -> dict[str, Tensor]:
        """Give the pixels it learned from; the trees grow from them again the same."""
        if self._learned is None:
            return {}
        features, labels = self._learned
        return {
            "forest.responses": torch.from_numpy(features),
            "forest.labels": torch.from_numpy(labels),
            "forest.areas_tell": torch.tensor(self._areas_tell),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `save` gave."""
        if "forest.responses" in tensors:
            self._learned = tensors["forest.responses"].numpy(), tensors["forest.labels"].numpy()
            responses = self._learned[0].shape[1] - self._channels
            self._look_at(SCALES_PX[: responses // (self._bank.filtered * self._bank.per_scale)])
            self._areas_tell = bool(tensors["forest.areas_tell"])
            self._trees = None

    def _grown(self, rows: NDArray[np.float32], classes: NDArray[np.uint8], count: int = _TREES) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier

        trees = ExtraTreesClassifier(
            count,
            max_features=0.5,  # of a few dozen responses most say little
            min_samples_leaf=5,
            class_weight=None if self._areas_tell else "balanced",
            n_jobs=self._jobs,
            random_state=self._seed,
        )
        return trees.fit(rows, classes)

    def predict(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict class probabilities, smoothed between the edges of the image: trees judge each pixel alone.

        Parameters
        ----------
        pixels : float32 array, (C, *S)

        Returns
        -------
        float32 array, (K, *S)
        """
        found = self._answer(self._responses(pixels)).reshape(self._classes, *pixels.shape[1:])
        return guided_filter(found, pixels[: self._channels])

    def predict_at(self, pixels: NDArray[np.float32], at: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predict some pixels of an image only, by their flat indices: float32 (K, n)."""
        return self.predict_places([(pixels, at)])

    def predict_places(self, places: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> NDArray[np.float32]:
        """Predict some pixels of several images, one after another: float32 (K, n)."""
        return self._answer(np.concatenate([self._rows_at(pixels, at) for pixels, at in places]))

    def _answer(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._trees is None:
            assert self._learned is not None
            self._trees = self._grown(*self._learned)
        found = self._trees.predict_proba(rows)
        result = np.zeros((self._classes, len(rows)), np.float32)
        result[self._trees.classes_ - 1] = found.T
        return result

    def _rows_at(self, pixels: NDArray[np.float32], at: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `_responses`, at some pixels."""
        pixels = pixels[: self._channels]
        places = np.stack(np.unravel_index(at, pixels.shape[1:]), 1)
        found = self._bank.at(torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(places))
        return np.concatenate([pixels.reshape(len(pixels), -1)[:, at].T, found.numpy()], 1)

    def _responses(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """One row of filter responses per pixel, image values included."""
        image = torch.from_numpy(np.ascontiguousarray(pixels[: self._channels]))[None]
        responses = torch.cat([image, self._bank(image)], 1)[0].flatten(1).T.contiguous().numpy()
        return np.asarray(responses)


def _usable(block: Block) -> bool:
    """Tell whether the class of some pixel is certain that is not held out: boxes claim only."""
    return bool(block.marked_at) and _known(block) > 0


def _known(block: Block) -> int:
    return int(np.count_nonzero((block.knowledge.certain > 0) & ~block.held_out))


def _lacks_background(blocks: Sequence[Block], targets: NDArray[np.uint8]) -> bool:
    return any(block.narrowed for block in blocks) and not (targets == BACKGROUND).any()


def _within(blocks: Sequence[Block], pixels: int) -> list[Block]:
    """Give the first blocks that have so many pixels together, at least one."""
    before = np.cumsum([0] + [block.pixels.size for block in blocks])[:-1]
    return [block for block, n in zip(blocks, before, strict=True) if n < pixels]


def _scales_told(blocks: Sequence[Block], known: Sequence[Mapping[int, NDArray[np.int64]]]) -> tuple[float, ...]:
    """Scales of the filter bank at which the marks lie in enough different places; the finest at least."""
    cells: dict[float, set[tuple[int, ...]]] = {scale: set() for scale in SCALES_PX}
    for i, (block, by_class_) in enumerate(zip(blocks, known, strict=True)):
        for at in by_class_.values():
            places = np.stack(np.unravel_index(at[:: max(1, len(at) // _LOOKED_AT)], block.shape), 1)
            for scale, found in cells.items():
                if len(found) < _PLACES:
                    found.update((i, *cell) for cell in (places // (4 * scale)).astype(int).tolist())
        if len(cells[SCALES_PX[-1]]) >= _PLACES:
            break
    told = [scale for scale, found in cells.items() if len(found) >= _PLACES]
    return SCALES_PX[: max(1, len(told))]
