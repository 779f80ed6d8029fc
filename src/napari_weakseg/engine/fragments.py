"""Pieces of objects and the passes between them: which are joined is decided without any work on pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SPLIT", "FragmentTable", "Fragments", "Ids"]

SPLIT = 0.9
"""How deep the pass between two fragments must be, in shares of the shallower one, for them to be one object."""

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class FragmentTable:
    """Fragments 1 … n, wherever their pixels are; entry 0 of each column stands for the background.

    Attributes
    ----------
    classes : uint8 array, (n + 1,)
        Class id of each fragment.
    depth : float32 array, (n + 1,)
        Greatest depth in each fragment.
    pixels : int64 array, (n + 1,)
    passes : int32 array, (m, 2)
        Fragments of one class that meet.
    pass_depth : float32 array, (m,)
        Where they meet deepest.
    marked : int32 array, (n + 1,)
        Object that a person has marked in each fragment, 0 = none.
    least_px : mapping of int to int
        Size that objects are expected to have at least, by class id; 1 where it is not told.
    """

    classes: NDArray[np.uint8]
    depth: NDArray[np.float32]
    pixels: NDArray[np.int64]
    passes: Ids
    pass_depth: NDArray[np.float32]
    marked: Ids
    least_px: Mapping[int, int]

    def numbers(self, *, split: float | None = None, min_px: int | None = None) -> Ids:
        """Join fragments to objects.

        What a person has marked as one object is one, and as two is two, whatever is asked for.

        Parameters
        ----------
        split : float, optional
            0: whatever touches is one object. 1: every fragment is an object. Between: as `SPLIT`, which is
            the default.
        min_px : int, optional
            Smaller objects of any class are left out, unless a person has marked them; `least_px` where not given.

        Returns
        -------
        int32 array, (n + 1,)
            Object of each fragment, 1 … without gaps; 0 = left out.
        """
        table = self._joined(SPLIT if split is None else split)
        pixels = np.bincount(table, self.pixels, minlength=len(table))
        least = [self.least_px.get(c, 1) if min_px is None else min_px for c in self.classes.tolist()]
        kept = pixels >= np.maximum(1, least)
        kept[table[self.marked > 0]] = True
        kept[0] = False
        number: Ids = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        return number[table]

    def _joined(self, split: float) -> Ids:
        """Fragment that stands for the object of each fragment, (n + 1,)."""
        parent = list(range(len(self.depth)))
        depth, marked = self.depth.tolist(), self.marked.tolist()

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        def join(a: int, b: int) -> None:
            parent[b] = a
            depth[a], marked[a] = max(depth[a], depth[b]), max(marked[a], marked[b])

        first: dict[int, int] = {}
        for i in np.flatnonzero(self.marked).tolist():
            if (other := root(first.setdefault(marked[i], i))) != root(i):
                join(other, root(i))
        for k in np.argsort(-self.pass_depth, kind="stable").tolist():
            a, b = sorted(root(int(i)) for i in self.passes[k])
            both = marked[a] and marked[b]
            if a != b and not both and split < 1 and self.pass_depth[k] >= split * min(depth[a], depth[b]):
                join(a, b)
        return np.array([root(i) for i in range(len(parent))], np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Fragments(FragmentTable):
    """Fragments with their pixels.

    Attributes
    ----------
    ids : int32 array, (*S)
        Fragment of each pixel, 0 = background.
    """

    ids: Ids

    def objects(self, *, split: float | None = None, min_px: int | None = None) -> Ids:
        """Join fragments to objects, see `numbers`: int32 (*S), 1 … n without gaps, 0 = background."""
        return self.numbers(split=split, min_px=min_px)[self.ids]
