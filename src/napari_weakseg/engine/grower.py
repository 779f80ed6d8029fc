"""Decides which blobs grow when and how far, and what is claimed of their surroundings.

Growth is judged by the best that there is: exact marks that were held out (the guard: it finds out how boldly and for
how many rounds growth stays precise, and whether it has to stay within outlines by the edges of the image), else these
edges, where an early forest that sees the looks of pixels only agrees with them (no object leaves its outline). Exact
objects also tell how far such outlines are right. Where nothing can judge, growth is kept short and asks for more
certainty. The stopping rule of Ke et al. (arXiv:2005.13053) could not be verified; this is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.blocks import Block, start_claims
from napari_weakseg.engine.box_shapes import BoxShapes
from napari_weakseg.engine.growing import (
    Guess,
    claim_outline,
    everything_marked,
    grow_block,
    look_for_background,
    outline_accuracy,
    outline_agreement,
    rules_for,
    safe_rounds,
    take_claims,
)
from napari_weakseg.engine.growth import GrowthRules
from napari_weakseg.engine.memory import key_of
from napari_weakseg.engine.outline import Outline
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.voice import Says

__all__ = ["Grower"]

_FROM = 60  # step from which blobs may grow
_EVERY = 4  # steps between two growing blocks, more after a large one:
_PER_STEP = 40_000  # pixels that may grow for each step, so that learning keeps most of the time
_GUARD_EVERY = 60  # steps between two looks at how precise growth is
_BLOCKS = 48  # that grow during training
_BLIND_ROUNDS, _BLIND_TAU = 2, 0.9
_BOLD_TAU, _BOLD_PRECISION = 0.7, 0.95  # tried by the guard before the cautious one
_PRECISION = 0.9  # that the cautious one needs
_CLAIMED_PER_STEP = 300_000  # pixels of the blocks that are claimed around for the first time
_JUDGED, _JUDGED_PIXELS = 8, 1_500_000  # blocks that outlines are judged on, one at least
_ACCURACY = (0.75, 0.9)  # of outlines on exact objects, at which trust begins and is full
_AGREEMENT = (0.65, 0.8)  # of outlines and forest, in the same way
_LEAST_TRUST = 0.25  # in outlines, for growth to be bound by them


class Grower:
    """Lets the blobs of the blocks in memory grow while the network learns.

    Parameters
    ----------
    project : Project
    config : TrainConfig
    store : BlockStore
    rng : numpy Generator

    Attributes
    ----------
    safe : int or None
        Rounds that stayed precise on held-out exact marks; None where there are none to tell.
    tau : float
        Least probability that these rounds were taken with.
    bounded : bool
        Whether these rounds were such that no object left its outline.
    trust : float
        In outlines by the edges of the images, 0 to 1.
    """

    def __init__(self, project: Project, config: TrainConfig, store: BlockStore, rng: np.random.Generator) -> None:
        self._project, self._config, self._store, self._rng = project, config, store, rng
        self.safe: int | None = None
        self.tau, self.bounded = config.tau, False
        self.trust = 1.0
        self._next = _FROM
        self._waiting: list[Block] = []  # for their first claims
        self._claims_next = 0.0  # step, from which the next of them is claimed around
        self._shapes, self._shapes_stale = BoxShapes(project.ndim), False

    @property
    def blocks(self) -> list[Block]:
        """Blocks whose blobs grow."""
        rough = [block for block in self._store.blocks if block.growth is not None and not block.exact]
        return rough[:_BLOCKS]

    def judge_outlines(self, guess: Guess) -> None:
        """Trust the outlines as far as exact objects bear them out, else as a guess from looks alone agrees."""
        exact = _few([block for block in self._store.blocks if block.exact])
        found, (low, high) = [outline_accuracy(block, self._rng) for block in exact], _ACCURACY
        if not np.isfinite(found).any():
            shown = _few([block for block in self._store.blocks if not block.exact and block.growth is not None])
            for block in shown:
                look_for_background(block, guess)
            found = [outline_agreement(b, guess, everywhere=self._everywhere(b), rng=self._rng) for b in shown]
            low, high = _AGREEMENT
        if np.isfinite(found).any():
            self.trust = float(np.clip((np.nanmean(found) - low) / (high - low), 0, 1))

    def take_in(self, blocks: Sequence[Block]) -> None:
        """Let blocks that are new, or have new marks, be looked at before those that wait already."""
        rough = [block for block in blocks if not block.exact]
        self._shapes_stale |= len(rough) < len(blocks)
        if self._config.claim_weight:
            self._waiting = rough + [block for block in self._waiting if block not in rough]

    def step(self, step: int, says: Says, looks: Guess | None = None) -> None:
        """Claim around some blobs and boxes that wait for it, and take a round in one block if it is time for it.

        Parameters
        ----------
        step : int
        says : callable
            The network's answer.
        looks : callable, optional
            The answer of something that knows the looks of all classes already.
        """
        self._claims_next = max(self._claims_next, step)
        while self._waiting and self._claims_next < step + 1:
            block = self._waiting.pop(0)
            self._claim(block, looks)
            self._claims_next += block.allowed.size / _CLAIMED_PER_STEP
        if self._config.growth == "off" or not self._config.rounds or step < _FROM:
            return
        if step % _GUARD_EVERY == 0:
            self._guard(says)
        if step < self._next:
            return
        waiting = [
            block for block in self.blocks if block.growth is not None and block.growth.round < self._rounds(block)
        ]
        if waiting:
            block = min(waiting, key=lambda block: block.growth.round if block.growth else 0)
            self._grow(block, says, looks)
            self._next = step + max(_EVERY, block.allowed.size // _PER_STEP)

    def _claim(self, block: Block, looks: Guess | None) -> None:
        """Claim what the edges say around blobs that have not grown yet, and what boxes show that hold none."""
        if self._outline_weight:
            _look_at(block, looks)
            claim_outline(block, self._outline_weight, everywhere=self._everywhere(block), slopes=self._slopes)
        self._claim_boxes(block)

    def _claim_boxes(self, block: Block) -> None:
        if self._config.box_shapes:
            if self._shapes_stale and self._shapes.concerns(block):  # exact objects are looked at for boxes only
                self._shapes.learn(self._store.blocks)
                self._shapes_stale = False
            self._shapes.claim(block)

    def save(self) -> dict[str, Any]:
        """Give what growth has found out and what waits to be claimed, as JSON."""
        return {
            "safe_rounds": self.safe,
            "tau": self.tau,
            "bounded": self.bounded,
            "outline_trust": self.trust,
            "next": self._next,
            "claims_next": self._claims_next,
            "waiting": [key_of(block.place) for block in self._waiting],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `save` gave."""
        self.safe, self.tau, self.trust = state["safe_rounds"], float(state["tau"]), float(state["outline_trust"])
        self.bounded = bool(state.get("bounded", False))
        self._next = int(state.get("next", _FROM))
        self._claims_next = float(state.get("claims_next", 0))
        blocks = {key_of(block.place): block for block in self._store.blocks}
        keys = [(image, tuple(frame), tuple(start)) for image, frame, start in state.get("waiting", [])]
        self._waiting = [blocks[key] for key in keys if key in blocks]
        self.take_in([b for b in blocks.values() if self._shapes.concerns(b)])  # made again rather than saved

    @property
    def _outline_weight(self) -> float:
        return self._config.outline_weight * self.trust

    @property
    def _slopes(self) -> bool:
        """Whether blurred borders are taken to lie at the crest of the edge: where no exact mask tells."""
        return not any(block.exact for block in self._store.blocks)

    def _everywhere(self, block: Block) -> bool:
        image = self._project.images.get(block.place.image)
        return image is not None and everything_marked(block, image.annotations, self._project.classes)

    @property
    def _trusts_outlines(self) -> bool:
        return bool(self._config.outline_weight) and self.trust >= _LEAST_TRUST

    def _bound(self, block: Block) -> Outline | None:
        """Outlines that no object of a block may leave; None where the guard needs none or the edges tell little."""
        return block.outline if self._trusts_outlines and (self.safe is None or self.bounded) else None

    def _rounds(self, block: Block) -> int:
        rounds = self._config.rounds
        if self.safe is not None:
            return 0 if self.bounded and self._bound(block) is None else min(self.safe, rounds)
        return rounds if self._bound(block) is not None else min(_BLIND_ROUNDS, rounds)

    def _tau(self, block: Block) -> float:
        if self.safe is not None:
            return self.tau
        return self._config.tau if self._bound(block) is not None else max(self._config.tau, _BLIND_TAU)

    def _rules(self, block: Block, tau: float) -> GrowthRules:
        return rules_for(block, mode=self._config.growth, tau=tau)

    def _guard(self, says: Says) -> None:
        """Find out on held-out exact marks how boldly growth may go; what grew for too long starts again."""
        for block in self._store.blocks:
            if block.exact and block.held_out.any() and self._guarded_by(block, says):
                break
        if self.safe is None:
            return
        for block in self.blocks:
            if block.growth is not None and block.growth.rounds.max() > self.safe:
                start_claims(block)
                block.refresh()
                self.take_in([block])

    def _guarded_by(self, block: Block, says: Says) -> bool:
        """Take the bold growth if it stays precise for all rounds, else the cautious one for as long as it does.

        Where even that one ends early, objects are kept in their outlines if it lasts longer then.
        """
        probabilities = says(block.pixels)[0]
        rounds, cautious = self._config.rounds, self._config.tau
        ways = [(_BOLD_TAU, _BOLD_PRECISION, False)] if cautious > _BOLD_TAU else []
        ways += [(cautious, _PRECISION, bounded) for bounded in (False, True)]
        best: tuple[int, float, bool] | None = None
        for tau, precision, bounded in ways[: None if self._trusts_outlines else -1]:
            rules = self._rules(block, tau)
            safe = safe_rounds(block, probabilities, rules, rounds, precision, self._rng, bounded=bounded)
            if safe is None:
                return False
            if best is None or not bounded or safe > best[0]:
                best = safe, tau, bounded
            if safe == rounds:
                break
        assert best is not None
        self.safe, self.tau, self.bounded = best
        return True

    def _grow(self, block: Block, says: Says, looks: Guess | None) -> None:
        probabilities, separation = says(block.pixels)
        if self._trusts_outlines:
            _look_at(block, looks)
        taught = any(len(b.knowledge.seed_class) > 2 for b in self._store.blocks)
        bound = self._bound(block)
        rules = replace(self._rules(block, self._tau(block)), rounds=self._rounds(block))
        grow_block(block, probabilities, separation if taught else None, rules, bound)
        take_claims(
            block,
            probabilities,
            everywhere=self._everywhere(block),
            outline_weight=self._outline_weight,
            slopes=self._slopes,
        )
        self._claim_boxes(block)


def _look_at(block: Block, looks: Guess | None) -> None:
    """Look for background once where there are blobs, if something can be asked."""
    if block.bare is None and block.growth is not None and looks is not None:
        look_for_background(block, looks)


def _few(blocks: Sequence[Block]) -> list[Block]:
    """Give the first blocks, as many as are soon looked at."""
    before = np.cumsum([0] + [block.allowed.size for block in blocks])
    return [block for block, n in zip(blocks[:_JUDGED], before, strict=False) if n < _JUDGED_PIXELS]
