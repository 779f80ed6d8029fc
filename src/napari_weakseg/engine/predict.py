"""Prediction of frames of any size, tile by tile, as a generator that can be left at any moment."""

from collections.abc import Callable, Container, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region, intersection, shape_of, shifted, start_of, stop_of, whole
from napari_weakseg.engine.protocol import Tile

__all__ = ["Tiles", "predict_tiles"]

Window = tuple[int, ...]


def predict_tiles(
    predicted: Callable[[Region], tuple[NDArray[np.float32], NDArray[np.float32]]],
    grid: "Tiles",
    *,
    region: Region | None = None,
    first: Region | None = None,
    done: Container[tuple[int, ...]] = (),
) -> Iterator[Tile]:
    """Predict by overlapping windows, blended with Gaussian weights; each pixel is given once, when final.

    Parameters
    ----------
    predicted : callable
        Takes a region of the frame, gives its probabilities, float32 (K, *window), and inwardness, float32 (*window).
    grid : Tiles
    region : Region, optional
        The part of the frame to predict; all of it if not given.
    first : Region, optional
        Cells that touch it come first (what is on the screen), the nearest to its middle before the others.
    done : container of tuple of int
        Tiles that start at one of these are left out.

    Yields
    ------
    Tile
        float16.

    Notes
    -----
    Windows are kept only until all cells they reach into are given, so memory grows with a row of windows, not with
    the frame.
    """
    asked = whole(grid.shape) if region is None else region
    touching = ((cell, grid.part(cell, asked)) for cell in grid.cells_touching(asked))
    parts = {cell: part for cell, part in touching if start_of(part) not in done}
    order = list(parts)
    if first is not None:
        middle = [(s.start + s.stop) / 2 for s in first]
        order.sort(key=lambda cell: grid.rank(cell, first, middle))
    needed = {cell: grid.windows_into(cell, part) for cell, part in parts.items()}
    uses: dict[Window, int] = {}
    for windows in needed.values():
        for window in windows:
            uses[window] = uses.get(window, 0) + 1
    kept: dict[Window, NDArray[np.float16]] = {}
    for cell in order:
        part = parts[cell]
        for window in needed[cell]:
            if window not in kept:
                probabilities, inwardness = predicted(grid.window(window))
                kept[window] = np.concatenate([probabilities, inwardness[None]]).astype(np.float16)
        blended = _blended(grid, needed[cell], kept, part)
        yield Tile(start_of(part), stop_of(part), blended[:-1], blended[-1])
        for window in needed[cell]:
            uses[window] -= 1
            if not uses[window]:
                del kept[window]


class Tiles:
    """Cells that part a frame, and the windows around them.

    Parameters
    ----------
    shape : sequence of int
        Of the frame, (*S).
    tile_px : int
        Side of a window, halo included; a frame up to this size is one window.
    halo_px : int
        How far windows reach over the cell they are for.
    """

    def __init__(self, shape: Sequence[int], tile_px: int, halo_px: int) -> None:
        self.shape, self.halo = tuple(shape), halo_px
        core = max(1, tile_px - 2 * halo_px)
        self.counts = tuple(1 if size <= tile_px else -(-size // core) for size in shape)

    @property
    def cells(self) -> list[Region]:
        """Regions of the cells, neighbours one after another."""
        return [self.cell(index) for index in np.ndindex(*self.counts)]

    @property
    def starts(self) -> list[tuple[int, ...]]:
        """First pixels of the cells, as `cells`."""
        return [start_of(cell) for cell in self.cells]

    def cell(self, index: Window) -> Region:
        """Give the region of a cell."""
        sizes = zip(index, self.counts, self.shape, strict=True)
        return tuple(slice(n * i // c, n * (i + 1) // c) for i, c, n in sizes)

    def part(self, index: Window, region: Region) -> Region:
        """Cut out what a region has of a cell that touches it."""
        found = intersection(self.cell(index), region)
        assert found is not None
        return found

    def window(self, index: Window) -> Region:
        """Give the region that is looked at for a cell."""
        return tuple(
            slice(max(0, s.start - self.halo), min(n, s.stop + self.halo))
            for s, n in zip(self.cell(index), self.shape, strict=True)
        )

    def cells_touching(self, region: Region) -> list[Window]:
        """List the cells that have part in a region."""
        return [index for index in np.ndindex(*self.counts) if intersection(self.cell(index), region) is not None]

    def windows_into(self, index: Window, part: Region) -> list[Window]:
        """Windows that reach into a part of a cell."""
        ranges = [range(max(0, i - 1), min(c, i + 2)) for i, c in zip(index, self.counts, strict=True)]
        near = [tuple(r[j] for r, j in zip(ranges, at, strict=True)) for at in np.ndindex(*map(len, ranges))]
        return [other for other in near if intersection(self.window(other), part) is not None]

    def rank(self, index: Window, first: Region, middle: Sequence[float]) -> tuple[bool, float]:
        """Order cells: those that touch a region first, the nearest to its middle before others."""
        cell = self.cell(index)
        away = sum(((s.start + s.stop) / 2 - m) ** 2 for s, m in zip(cell, middle, strict=True))
        return intersection(cell, first) is None, away


def _blended(
    grid: Tiles, windows: Sequence[Window], kept: dict[Window, NDArray[np.float16]], part: Region
) -> NDArray[np.float16]:
    if len(windows) == 1:
        where = shifted(part, start_of(grid.window(windows[0])))
        return kept[windows[0]][(slice(None), *where)]
    total: NDArray[np.float32] | None = None
    weights = np.zeros(shape_of(part), np.float32)
    for index in windows:
        window = grid.window(index)
        common = intersection(window, part)
        if common is None:
            continue
        there, here = shifted(common, start_of(window)), shifted(common, start_of(part))
        said = kept[index][(slice(None), *there)].astype(np.float32)
        if total is None:
            total = np.zeros((len(said), *weights.shape), np.float32)
        importance = _importance(shape_of(window))[there]
        total[(slice(None), *here)] += said * importance
        weights[here] += importance
    assert total is not None
    return (total / weights).astype(np.float16)


def _importance(shape: Sequence[int]) -> NDArray[np.float32]:
    """Gaussian around the middle of a window, a quarter of its side wide; never 0."""
    result = np.ones((1,) * len(shape), np.float32)
    for axis, size in enumerate(shape):
        x = (np.arange(size) - (size - 1) / 2) / (size / 4)
        line = np.exp(-0.5 * x**2).astype(np.float32) + np.float32(1e-3)
        result = result * line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return result
