"""The early forest beside the network: when it learns, how much it has to say, when it is left out."""

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from napari_weakseg.engine.blending import best_share, judging_windows, mean_right, tells_classes
from napari_weakseg.engine.blocks import areas_told
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.growing import Guess
from napari_weakseg.engine.growth_step import Floats
from napari_weakseg.engine.guesses import Guesses
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.unseen_images import UnseenImages

__all__ = ["EarlyForest"]

_HALF = 38.0  # steps for each class until the forest counts half: to tell more classes apart takes more steps
_SLOPE = 5.0  # of its fading
_LEAST = 0.03  # share from which it is left out
_MANY_TIMES, _NOTABLY = 4, 1.2  # as many blocks as it has learned from, for it to learn again
_UNSEEN_EVERY = 10  # steps between two looks at images that are left out
_JUDGED_EVERY = 5 * _UNSEEN_EVERY  # steps between two looks at whether it still helps
_JUDGES = 8  # windows that this is judged on
_OUTDONE = 0.1  # by so much more must the network be right where it is not judged by held-out marks
_TAUGHT = 0.3  # weight of what it says of unmarked pixels as a claim, with a few marks
_WINDOW_PX = {2: 256, 3: 48}  # their side, by the number of spatial axes


class EarlyForest:
    """Answers in the first seconds, until the network knows better.

    Parameters
    ----------
    store : BlockStore
    rng : numpy Generator
    seed : int
    wanted : bool
        If not, it never learns and has no share.
    """

    def __init__(self, store: BlockStore, rng: np.random.Generator, *, seed: int, wanted: bool) -> None:
        self._store, self._rng, self._seed, self._wanted = store, rng, seed, wanted
        self._forest: PixelForest | None = None
        self._classes, self._side = 2, _WINDOW_PX[2]
        self._blocks = 0  # that it has learned from
        if wanted:  # it takes seconds, which the images are read in
            threading.Thread(target=importlib.import_module, args=("sklearn.ensemble",), daemon=True).start()
        self.judged_share: float | None = None
        self._hopeless, self._exact = False, False
        self._unseen = UnseenImages(seed=seed)
        self._guesses = Guesses()

    def begin(self, ndim: int, channels: int, classes: int) -> None:
        """Begin anew, for so many classes."""
        self._classes, self._side = classes, _WINDOW_PX[ndim]
        jobs = torch.get_num_threads()
        self._forest = PixelForest(ndim, channels, classes, seed=self._seed, jobs=jobs)
        self._unseen, self._guesses = UnseenImages(seed=self._seed), Guesses()
        self.judged_share, self._hopeless = None, False

    @property
    def ready(self) -> PixelForest | None:
        """The forest, if it has learned something."""
        return self._forest if self._forest is not None and self._forest.ready else None

    def share(self, step: int) -> float:
        """Share of the forest in the prediction: by the number of steps and, as much again, by what was judged.

        Without exact images and where few are marked, it stays as far as it is right about unseen ones: other held-out
        marks lie in images that were learned from. One that tells held-out marks no better than chance has none.
        """
        if not self._wanted or self._hopeless:
            return 0.0
        fading = self._fading(step)
        if self.judged_share is not None:
            judged = (fading + self.judged_share) / 2
            return judged if self._any_exact() else max(judged, self._unseen.share)
        return max(fading, self._unseen.share)

    def _any_exact(self) -> bool:
        """Whether there are exact images; as they were saved while none are read."""
        blocks = self._store.blocks
        return any(block.exact for block in blocks) if blocks else self._exact

    def _fading(self, step: int) -> float:
        return float(expit(_SLOPE * (1 - step / (_HALF * self._classes))))

    def looks(self, step: int) -> Guess | None:
        """Give what it says of some pixels of an image, by their flat indices, as long as it follows the marks."""
        forest = self.ready if self.counts(step) else None
        return None if forest is None else forest.predict_at

    def counts(self, step: int) -> bool:
        """Whether it has anything to say still."""
        return self.share(step) > _LEAST

    def learn(self, step: int) -> None:
        """Learn from all blocks in memory, if it still counts."""
        if self.counts(step) and self._forest is not None:
            self._blocks = len(self._store.blocks)
            self._forest.fit(self._store.blocks, self._rng)

    def read_on(self, step: int) -> None:
        """Learn again from many times as many blocks, or from all of them if these are notably more."""
        blocks = len(self._store.blocks)
        if blocks >= (_NOTABLY if self._store.complete else _MANY_TIMES) * self._blocks:
            self.learn(step)

    def judge(self, step: int, says: Callable[[Floats], Floats]) -> None:
        """Find out which share held-out marks of several classes speak for.

        Where areas are told, exact images only speak against it: there the network learns more about borders than the
        held-out part of one exact image can judge, and the forest was kept where it did harm. Where nothing is held
        out, as with few marks of each class, what the network is right about in many images that it learns from is
        compared with what the forest is right about in those that it has not learned from.
        """
        if not self._wanted or self._hopeless or self._forest is None or not step or step % _UNSEEN_EVERY:
            return
        silent = not self.counts(step)
        self._unseen.look(self._store.blocks, self._forest, counts=not silent)
        if silent:  # it may have been asked again, because other images are marked or there is another class
            self.learn(step)
        forest = self.ready
        if step % _JUDGED_EVERY or not self.counts(step) or forest is None:
            return
        blocks = self._store.blocks
        against = any(b.exact and b.held_at for b in blocks) and areas_told(blocks)
        share = None
        places, of_network, labels = self._asked(says, held_out=True)
        if places:
            of_forest = forest.predict_places(places)
            self._hopeless = not tells_classes(of_forest, labels)
            share = best_share(of_forest, of_network, labels)
            self.judged_share = min(share, self._fading(step)) if against and share is not None else share
        if share is None and self._unseen.right_from_many is not None:
            _, of_network, labels = self._asked(says, held_out=False)
            self._hopeless |= mean_right(of_network, labels) > self._unseen.right_from_many + _OUTDONE

    def _asked(
        self, says: Callable[[Floats], Floats], *, held_out: bool
    ) -> tuple[list[tuple[Floats, NDArray[np.int64]]], Floats, NDArray[np.uint8]]:
        """Windows to compare in, what the network says there (K, n), and the classes that are right (n,)."""
        places, of_network, labels = [], [np.zeros((self._classes, 0), np.float32)], [np.zeros(0, np.uint8)]
        windows = judging_windows(self._store.blocks, self._rng, most=_JUDGES, side=self._side, held_out=held_out)
        for block, window, at in windows:
            pixels = block.pixels[(slice(None), *window)]
            said = says(pixels)
            places.append((pixels, at))
            of_network.append(said.reshape(len(said), -1)[:, at])
            labels.append(block.knowledge.certain[window].ravel()[at])
        return places, np.concatenate(of_network, 1), np.concatenate(labels)

    def teach(self, step: int) -> None:
        """Claim what it says of unmarked pixels, while there are a few marks only."""
        weight = 0.0 if self._hopeless else _TAUGHT * self._unseen.few
        self._guesses.step(step, self._store.blocks, self.ready, weight)

    def joined(self, step: int, pixels: Floats, said: Floats) -> Floats:
        """Add its share to what the network says of an image, (K, *S)."""
        forest, share = self.ready, self.share(step)
        if forest is None or not self.counts(step):
            return said
        joined: Floats = (1 - share) * said + share * forest.predict(pixels)
        return joined

    def save(self, step: int) -> dict[str, Tensor]:
        """Give what it learned from, if it still counts."""
        return self._forest.save() if self._forest is not None and self.counts(step) else {}

    def judged(self) -> dict[str, Any]:
        """Give what was found out about the forest, as JSON."""
        found = {"share": self.judged_share, "hopeless": self._hopeless, "exact": self._any_exact()}
        return {**found, "unseen": self._unseen.save()}

    def restore(self, tensors: Mapping[str, Tensor], judged: Mapping[str, Any]) -> None:
        """Take back what `save` and `judged` gave; the pixels only where it has not learned already."""
        self.judged_share, self._hopeless = judged["share"], judged.get("hopeless", False)
        self._exact = judged.get("exact", False)
        if "unseen" in judged:
            self._unseen.restore(judged["unseen"])
        if self._forest is not None and not self._forest.ready:
            self._forest.restore(tensors)
