"""Growth of all blobs of a block in rounds: what has grown, what has stopped, and how it goes on.

See `growth_step` for the step itself and its source. The network learns between rounds; a round is taken
when the trainer says so, and `stopping` judges from outside whether to go on.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.engine.growth_step import Evidence, Flags, GrowthRules, Ids, connected, grow

__all__ = ["Evidence", "GrowthRules", "GrowthState", "Ids", "grow"]


@dataclass(frozen=True, slots=True)
class GrowthState:
    """Growth of one block so far. Immutable: `advanced` returns the next one.

    Parameters
    ----------
    seeds, ids : int32 array, (*S)
        The blobs, and the masks they have grown to.
    seed_class : uint8 array, (n + 1,)
        Class id of each object; entry 0 is 0.
    frozen : bool array, (n + 1,)
        Objects that have stopped.
    slow : uint8 array, (n + 1,)
        Rounds running in which the object hardly changed.
    areas : tuple of int64 array, (n + 1,)
        Pixels of each object, one entry per round since blobs last changed.
    rounds : uint8 array, (n + 1,)
        Rounds that each object has taken since its own blob changed; entry 0 is of the block.
    """

    seeds: Ids
    seed_class: NDArray[np.uint8]
    ids: Ids
    frozen: Flags
    slow: NDArray[np.uint8]
    areas: tuple[NDArray[np.int64], ...]
    rounds: NDArray[np.uint8]

    @classmethod
    def start(cls, seeds: Ids, seed_class: NDArray[np.uint8]) -> "GrowthState":
        """Begin at the blobs."""
        n = len(seed_class)
        areas = np.bincount(seeds.ravel(), minlength=n)
        return cls(seeds, seed_class, seeds, np.zeros(n, bool), np.zeros(n, np.uint8), (areas,), np.zeros(n, np.uint8))

    @property
    def round(self) -> int:
        """Rounds that every object has taken, 0 at the blobs."""
        return int(self.rounds.min())

    @property
    def growth(self) -> NDArray[np.float64]:
        """Relative change of each object's area in the last round, (n,)."""
        if len(self.areas) < 2:
            return np.full(len(self.seed_class) - 1, np.inf)
        before, now = self.areas[-2][1:], self.areas[-1][1:]
        change: NDArray[np.float64] = np.abs(now - before) / np.maximum(before, 1)
        return change

    def finished(self, min_growth: float = 0.01) -> bool:
        """Whether every object has stopped, or the middle one hardly changes."""
        return bool(self.frozen[1:].all() or np.median(self.growth) < min_growth)

    def advanced(self, evidence: Evidence, rules: GrowthRules) -> "GrowthState":
        """Take one round, in the mode of the rules; objects that have taken all of theirs rest."""
        rests = self.frozen | (self.rounds >= rules.rounds)
        taken = int(self.rounds[~rests].max(initial=0))  # by the object that has taken most of those that go on
        if rules.mode == "monotone":
            ids = grow(self.ids, self.seeds, self.seed_class, evidence, rules.in_round(taken + 1), frozen=rests)
        else:
            ids = np.where((self.seeds == 0) & rests[self.ids], self.ids, self.seeds)
            for n in range(taken + 1):
                waits = rests | (self.rounds < n)
                ids = grow(ids, self.seeds, self.seed_class, evidence, rules.in_round(n + 1), frozen=waits)
        return self._settled(ids, rests, rules)

    def _settled(self, ids: Ids, rests: Flags, rules: GrowthRules) -> "GrowthState":
        n = len(self.seed_class)
        before = self.areas[-1]
        cap = np.array([rules.area_cap.get(int(c), np.inf) for c in self.seed_class])
        over = (np.bincount(ids.ravel(), minlength=n) > cap) & ~self.frozen
        over[0] = False
        if over.any():
            kept = np.where(over[self.ids], self.ids, 0)
            ids = np.where(over[ids], 0, ids)
            ids = _rooted(np.where((ids == 0) & (kept > 0), kept, ids), self.seeds)
        now = np.bincount(ids.ravel(), minlength=n)
        calm = np.abs(now - before) < rules.min_growth * np.maximum(before, 1)
        slow = np.where(rests, self.slow, np.where(calm, self.slow + 1, 0)).astype(np.uint8)
        rounds = np.where(self.rounds < rules.rounds, self.rounds + 1, self.rounds).astype(np.uint8)
        frozen = self.frozen | over | (slow >= 2)
        return replace(self, ids=ids, frozen=frozen, slow=slow, areas=(*self.areas, now), rounds=rounds)

    def reseeded(self, seeds: Ids, seed_class: NDArray[np.uint8], allowed: NDArray[np.uint32]) -> "GrowthState":
        """Carry the masks over to changed blobs.

        An object goes on where its old blob meets exactly one new blob of the same class; pixels that the
        person has since painted or ruled out, or that lost their connection, are given up. Objects whose blob
        is as it was stay frozen if they were, and keep their rounds; all others begin theirs.
        """
        table = np.zeros(len(self.seed_class), np.int32)
        same: list[tuple[int, int]] = [(0, 0)]
        sizes = np.bincount(seeds.ravel())
        for i, place in enumerate(ndimage.find_objects(self.seeds), 1):
            if place is not None:
                met = seeds[place][self.seeds[place] == i]
                heirs = np.unique(met[met > 0])
                if len(heirs) == 1 and seed_class[heirs[0]] == self.seed_class[i]:
                    table[i] = heirs[0]
                    if met.all() and len(met) == sizes[heirs[0]]:
                        same.append((i, int(heirs[0])))
        carried = table[self.ids]
        bit = np.left_shift(np.uint32(1), seed_class.astype(np.uint32))[carried]
        ids = np.where((seeds == 0) & ((allowed & bit) != 0), carried, seeds)
        ids = _rooted(ids, seeds)
        begun, (before, now) = GrowthState.start(seeds, seed_class), np.array(same).T
        begun.frozen[now], begun.slow[now] = self.frozen[before], self.slow[before]
        begun.rounds[now] = self.rounds[before]
        return replace(begun, ids=ids, areas=(np.bincount(ids.ravel(), minlength=len(seed_class)),))


def _rooted(ids: Ids, seeds: Ids) -> Ids:
    """Give up the pixels of each object that are not connected to its blob."""
    ids = ids.copy()
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is not None:
            mine = ids[place] == i
            ids[place][mine & ~connected(mine, seeds[place] == i)] = 0
    return ids
