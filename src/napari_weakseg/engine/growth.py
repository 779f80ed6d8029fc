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
        Pixels of each object, one entry per round; the first is the blobs.
    """

    seeds: Ids
    seed_class: NDArray[np.uint8]
    ids: Ids
    frozen: Flags
    slow: NDArray[np.uint8]
    areas: tuple[NDArray[np.int64], ...]

    @classmethod
    def start(cls, seeds: Ids, seed_class: NDArray[np.uint8]) -> "GrowthState":
        """Begin at the blobs."""
        n = len(seed_class)
        areas = np.bincount(seeds.ravel(), minlength=n)
        return cls(seeds, seed_class, seeds, np.zeros(n, bool), np.zeros(n, np.uint8), (areas,))

    @property
    def round(self) -> int:
        """Rounds taken, 0 at the blobs."""
        return len(self.areas) - 1

    @property
    def growth(self) -> NDArray[np.float64]:
        """Relative change of each object's area in the last round, (n,)."""
        if not self.round:
            return np.full(len(self.seed_class) - 1, np.inf)
        before, now = self.areas[-2][1:], self.areas[-1][1:]
        change: NDArray[np.float64] = np.abs(now - before) / np.maximum(before, 1)
        return change

    def finished(self, min_growth: float = 0.01) -> bool:
        """Whether every object has stopped, or the middle one hardly changes."""
        return bool(self.frozen[1:].all() or np.median(self.growth) < min_growth)

    def advanced(self, evidence: Evidence, rules: GrowthRules) -> "GrowthState":
        """Take one round, in the mode of the rules."""
        if rules.mode == "monotone":
            step = rules.in_round(self.round + 1)
            ids = grow(self.ids, self.seeds, self.seed_class, evidence, step, frozen=self.frozen)
        else:
            ids = np.where((self.seeds == 0) & self.frozen[self.ids], self.ids, self.seeds)
            for n in range(1, self.round + 2):
                ids = grow(ids, self.seeds, self.seed_class, evidence, rules.in_round(n), frozen=self.frozen)
        return self._settled(ids, rules)

    def _settled(self, ids: Ids, rules: GrowthRules) -> "GrowthState":
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
        slow = np.where(calm, self.slow + 1, 0).astype(np.uint8)
        return replace(self, ids=ids, frozen=self.frozen | over | (slow >= 2), slow=slow, areas=(*self.areas, now))

    def reseeded(self, seeds: Ids, seed_class: NDArray[np.uint8], allowed: NDArray[np.uint32]) -> "GrowthState":
        """Carry the masks over to changed blobs.

        An object goes on where its old blob meets exactly one new blob of the same class; pixels that the
        person has since painted or ruled out, or that lost their connection, are given up. Nothing stays
        frozen.
        """
        table = np.zeros(len(self.seed_class), np.int32)
        for i, place in enumerate(ndimage.find_objects(self.seeds), 1):
            if place is not None:
                heirs = np.unique(seeds[place][self.seeds[place] == i])
                heirs = heirs[heirs > 0]
                if len(heirs) == 1 and seed_class[heirs[0]] == self.seed_class[i]:
                    table[i] = heirs[0]
        carried = table[self.ids]
        bit = np.left_shift(np.uint32(1), seed_class.astype(np.uint32))[carried]
        ids = np.where((seeds == 0) & ((allowed & bit) != 0), carried, seeds)
        ids = _rooted(ids, seeds)
        n = len(seed_class)
        areas = (*(np.zeros(n, np.int64) for _ in self.areas[:-1]), np.bincount(ids.ravel(), minlength=n))
        return GrowthState(seeds, seed_class, ids, np.zeros(n, bool), np.zeros(n, np.uint8), areas)


def _rooted(ids: Ids, seeds: Ids) -> Ids:
    """Give up the pixels of each object that are not connected to its blob."""
    ids = ids.copy()
    for i, place in enumerate(ndimage.find_objects(ids), 1):
        if place is not None:
            mine = ids[place] == i
            ids[place][mine & ~connected(mine, seeds[place] == i)] = 0
    return ids
