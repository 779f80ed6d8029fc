"""Objects of a frame beyond memory: cut window by window, known again across borders, numbered at the end.

A window reaches over its cell by a halo. A fragment is known by the pixel that lies deepest in it, so that two windows
which both see all of a fragment mean the same one. Where a fragment is larger than the halo they may not agree: then
its parts meet at the border of the cells as fragments do, as deep as the object is there, and are joined like others. A
part is as deep as its own pixels: where it is deepest at the border, it goes on beyond.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region, shifted, start_of
from napari_weakseg.engine.finding import Said, sizes_of
from napari_weakseg.engine.fragments import FragmentTable, Ids
from napari_weakseg.engine.objects import Cut, cut_at_waists, deepest_of, least_told, meetings
from napari_weakseg.engine.predict import Tiles

__all__ = ["WINDOW_PX", "FragmentsByTile"]

WINDOW_PX = {2: (2560, 256), 3: (224, 48)}
"""Side of a window, halo included, and the halo, for 2 and 3 spatial axes."""

_CERTAIN = 0.8  # share of the halo up to which the depth of a pixel of the cell is certain, smoothing included


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What the pixels of a cell tell of the fragments that they belong to: one entry each, ``places`` (n, ndim)."""

    numbers: Ids
    classes: NDArray[np.uint8]
    depth: NDArray[np.float32]
    pixels: NDArray[np.int64]
    marked: NDArray[np.bool_]
    places: NDArray[np.float64]


class FragmentsByTile:
    """Collects the fragments of a frame, cell by cell in the order of `Tiles`.

    Parameters
    ----------
    tiles : Tiles
    spacing : sequence of float, optional
        Distance of neighbouring pixels along each axis.
    """

    def __init__(self, tiles: Tiles, spacing: Sequence[float] | None) -> None:
        self._tiles = tiles
        self._spacing = tuple(spacing or (1.0,) * len(tiles.shape))
        self._count = 1  # with the background
        self._parts: list[_Part] = []
        self._known: dict[int, int] = {}  # deepest pixel → fragment, of those that reach over their cell
        self._pairs: list[Ids] = []
        self._depths: list[NDArray[np.float32]] = []
        self._same: list[Ids] = []  # fragments that share a mark
        self._sizes: list[tuple[int, int]] = []  # of the marks, with their classes

    def cut(self, said: Said) -> Cut:
        """Cut the window of a cell; changes nothing, so that several threads can."""
        deepest = _CERTAIN * self._tiles.halo * min(self._spacing)
        return cut_at_waists(
            said.classes,
            certainty=said.certainty,
            inwardness=said.inwardness,
            marked=said.marked,
            spacing=self._spacing,
            deepest=None if said.classes.shape == self._tiles.shape else deepest,
        )

    def take(self, index: tuple[int, ...], said: Said, cut: Cut, before: Callable[[Region], Ids]) -> Ids:
        """Take in a cell.

        Parameters
        ----------
        index : tuple of int
            The cell, in the order of rows.
        said : Said
            About its window.
        cut : Cut
            Of its window.
        before : callable
            Gives what this gave for regions of cells before this one, int32.

        Returns
        -------
        int32 array
            Fragments of the cell's pixels, 0 = background.
        """
        cell, origin = self._tiles.cell(index), start_of(self._tiles.window(index))
        inner = shifted(cell, origin)
        numbers = self._numbered(cut, inner, origin)
        ids: Ids = numbers[cut.ids[inner]]
        self._meet(ids, cut.depth[inner], said.classes[inner])
        for axis in range(len(cell)):
            if cell[axis].start > 0:
                self._meet_at_border(axis, cell, inner, cut, said, numbers, before)
        self._measure_marks(said, inner)
        return ids

    def _numbered(self, cut: Cut, inner: Region, origin: Sequence[int]) -> Ids:
        """Give each fragment of a window that has part in its cell a number; those known from before keep theirs."""
        n = len(cut.classes)
        here = np.bincount(cut.ids[inner].ravel(), minlength=n)
        over = here < np.bincount(cut.ids.ravel(), minlength=n)  # reaches over its cell
        over[0] = False
        present = np.flatnonzero(here[1:]) + 1
        fresh, known = present[~over[present]], present[over[present]]
        numbers = np.zeros(n, np.int32)
        numbers[fresh] = self._count + np.arange(len(fresh))
        self._count += len(fresh)
        keys = self._keys(cut, over, origin)
        for i in known.tolist():
            numbers[i] = self._known.setdefault(keys[i], self._count)
            self._count += int(numbers[i] == self._count)
        depth = np.zeros(n, np.float32)
        np.maximum.at(depth, cut.ids[inner].ravel(), cut.depth[inner].ravel())
        places = self._places(cut.ids[inner], [s.start + o for s, o in zip(inner, origin, strict=True)], n)
        self._parts.append(
            _Part(
                numbers[present],
                cut.classes[present],
                depth[present],
                here[present],
                cut.marked[present] > 0,
                places[present],
            )
        )
        return numbers

    def _keys(self, cut: Cut, wanted: NDArray[np.bool_], origin: Sequence[int]) -> dict[int, int]:
        """First of the deepest pixels of each wanted fragment, counted over the frame."""
        at = np.flatnonzero(wanted[cut.ids] & (cut.depth == cut.deepest[cut.ids]))
        fragments, first = np.unique(cut.ids.ravel()[at], return_index=True)
        place = np.unravel_index(at[first], cut.ids.shape)
        moved = [axis + o for axis, o in zip(place, origin, strict=True)]
        keys = np.ravel_multi_index(moved, self._tiles.shape)
        return dict(zip(fragments.tolist(), keys.tolist(), strict=True))

    @staticmethod
    def _places(ids: Ids, start: Sequence[int], n: int) -> NDArray[np.float64]:
        """Sum of the coordinates of the pixels of each fragment, (n, ndim)."""
        found = np.zeros((n, ids.ndim))
        for axis, (size, first) in enumerate(zip(ids.shape, start, strict=True)):
            along = np.arange(first, first + size, dtype=float)
            along = along.reshape([-1 if a == axis else 1 for a in range(ids.ndim)])
            found[:, axis] = np.bincount(ids.ravel(), np.broadcast_to(along, ids.shape).ravel(), minlength=n)
        return found

    def _meet(self, ids: Ids, depth: NDArray[np.float32], classes: NDArray[np.uint8]) -> None:
        pairs, depths = deepest_of(*meetings(ids, depth, classes))
        self._pairs.append(pairs)
        self._depths.append(depths)

    def _meet_at_border(
        self,
        axis: int,
        cell: Region,
        inner: Region,
        cut: Cut,
        said: Said,
        numbers: Ids,
        before: Callable[[Region], Ids],
    ) -> None:
        """Let the first pixels of a cell along an axis meet those of the cell before it."""
        two = _along(inner, axis, slice(inner[axis].start - 1, inner[axis].start + 1))
        there = before(_along(cell, axis, slice(cell[axis].start - 1, cell[axis].start)))
        here = numbers[cut.ids[_along(inner, axis, slice(inner[axis].start, inner[axis].start + 1))]]
        self._meet(np.concatenate([there, here], axis), cut.depth[two], said.classes[two])
        a, b = np.split(said.marked[two], 2, axis)
        shared = (a == b) & (a > 0) & (there > 0) & (here > 0) & (there != here)
        self._same.append(np.unique(np.stack([there[shared], here[shared]], 1), axis=0).astype(np.int32))

    def _measure_marks(self, said: Said, inner: Region) -> None:
        """Note the sizes of the marks that begin in a cell."""
        marked = said.marked
        at = np.flatnonzero(marked)
        if not len(at):
            return
        numbers, first = np.unique(marked.ravel()[at], return_index=True)
        place = np.stack(np.unravel_index(at[first], marked.shape), 1)
        mine = np.all([(s.start <= p) & (p < s.stop) for s, p in zip(inner, place.T, strict=True)], 0)
        begun = np.where(np.isin(marked, numbers[mine]), marked, 0).astype(np.int32)
        self._sizes += sizes_of(begun, said.exact, said.classes)

    def table(self, least: Mapping[int, int] | None = None) -> FragmentTable:
        """All fragments and passes; `least` pixels are expected of objects, by class, else what the marks tell."""
        classes, depth = np.zeros(self._count, np.uint8), np.zeros(self._count, np.float32)
        pixels = np.zeros(self._count, np.int64)
        for part in self._parts:
            classes[part.numbers] = part.classes
            np.maximum.at(depth, part.numbers, part.depth)
            np.add.at(pixels, part.numbers, part.pixels)
        pairs = np.concatenate([np.zeros((0, 2), np.int32), *self._pairs])
        depths = np.concatenate([np.zeros(0, np.float32), *self._depths])
        passes = deepest_of(pairs, depths)
        return FragmentTable(classes, depth, pixels, *passes, self._marks(), least or least_told(self._sizes))

    def _marks(self) -> Ids:
        """Name the marked object of each fragment by the first fragment that it shares a mark with; 0 = none."""
        marks = np.zeros(self._count, np.int32)
        for part in self._parts:
            marks[part.numbers[part.marked]] = part.numbers[part.marked]
        for a, b in np.concatenate([np.zeros((0, 2), np.int32), *self._same]).tolist():
            marks[marks == marks[b]] = marks[a]
        return marks

    @property
    def places(self) -> NDArray[np.float64]:
        """Sum of the coordinates of the pixels of each fragment, (n + 1, ndim)."""
        total = np.zeros((self._count, len(self._tiles.shape)))
        for part in self._parts:
            np.add.at(total, part.numbers, part.places)
        return total


def _along(region: Region, axis: int, piece: slice) -> Region:
    return (*region[:axis], piece, *region[axis + 1 :])
