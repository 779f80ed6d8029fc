"""Objects of a prediction on disk: found by tile, written beside the class ids, listed in a table."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, shifted, start_of
from napari_weakseg.core.tables import object_rows, write_table
from napari_weakseg.engine.finding import Said
from napari_weakseg.engine.fragments import FragmentTable, Ids
from napari_weakseg.engine.object_tiles import WINDOW_PX, FragmentsByTile
from napari_weakseg.engine.objects import Cut
from napari_weakseg.engine.predict import Tiles

__all__ = ["TABLE", "find_stored_objects"]

TABLE = "objects.csv"
_THREADS = min(4, os.cpu_count() or 1)  # that cut windows: each takes some hundred megabytes
_ANSWERS_S = 0.2  # to a person who wants to stop

Frame = tuple[int, ...]


def find_stored_objects(
    project: Project,
    image: ProjectImage,
    store: PredictionStore,
    least_px: Mapping[int, int] | None = None,
    *,
    split: float | None = None,
    min_px: int | None = None,
) -> Iterator[float]:
    """Find the objects of a prediction that is complete, and write their ids and a table (`TABLE`) into its folder.

    Memory grows with the number of objects and the size of a window, not with the image.

    Parameters
    ----------
    project : Project
    image : ProjectImage
    store : PredictionStore
    least_px : mapping of int to int, optional
        Pixels that an object of each class has at least, where `min_px` does not say; else what the marks of the image
        tell.
    split : float, optional
        How readily touching objects are told apart, 0 (never) to 1 (at any waist).
    min_px : int, optional
        Smaller objects of any class are left out.

    Yields
    ------
    float
        The share that is done.
    """
    store.begin_objects()
    frames = list(image.frames())
    sizes = image.pixel_size or {}
    rows: list[dict[str, object]] = []
    for i, frame in enumerate(frames):
        tiles = Tiles(image.label_shape[-project.ndim :], *WINDOW_PX[project.ndim])
        found = FragmentsByTile(tiles, image.spacing)
        for share in _cut(store, image, frame, tiles, found):
            yield (i + 0.9 * share) / len(frames)
        table = found.table(least_px)
        numbers = table.numbers(split=split, min_px=min_px)
        before = len(rows)
        rows += object_rows(
            _objects(table, found.places, numbers, frame, after=before),
            project.classes.names,
            axes=image.label_axes,
            ndim=project.ndim,
            pixel_size=sizes,
        )
        numbers[numbers > 0] += before
        for cell in tiles.cells:
            if (ids := store.read_objects(frame, cell)).any():
                store.write_objects(frame, start_of(cell), numbers[ids])
        yield (i + 1) / len(frames)
    write_table(store.path / TABLE, rows)
    store.end_objects()


def _cut(
    store: PredictionStore, image: ProjectImage, frame: Frame, tiles: Tiles, found: FragmentsByTile
) -> Iterator[float]:
    """Cut the windows of a frame, some at a time, and write the fragments of their cells in order."""
    indices, total = np.ndindex(*tiles.counts), prod(tiles.counts)
    waiting: deque[tuple[tuple[int, ...], Said, Future[Cut] | None]] = deque()
    before = partial(store.read_objects, frame)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for n in range(total):
            for index in islice(indices, 1 + _THREADS - len(waiting)):
                said = _said(store, image, frame, tiles.window(index))
                inner = shifted(tiles.cell(index), start_of(tiles.window(index)))
                any_object = (said.classes[inner] > BACKGROUND).any()
                waiting.append((index, said, pool.submit(found.cut, said) if any_object else None))
            index, said, cut = waiting.popleft()
            while cut is not None and not wait([cut], timeout=_ANSWERS_S).done:
                yield n / total
            if cut is not None:
                ids = found.take(index, said, cut.result(), before)
                store.write_objects(frame, start_of(tiles.cell(index)), ids)
            yield (n + 1) / total
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _said(store: PredictionStore, image: ProjectImage, frame: Frame, window: Region) -> Said:
    labels, *percent = store.read(frame, window)
    certainty, inwardness = (share / np.float32(100) for share in percent)
    return Said.about(image, frame, window, labels, certainty, inwardness)


def _objects(
    table: FragmentTable, places: NDArray[np.float64], numbers: Ids, frame: Frame, *, after: int
) -> Iterator[tuple[int, int, int, tuple[float, ...]]]:
    """Give number, class, pixels and middle of each object of a frame."""
    n = int(numbers.max(initial=0)) + 1
    pixels = np.bincount(numbers, table.pixels, minlength=n)
    of_class = np.zeros(n, np.uint8)
    of_class[numbers] = table.classes
    sums = np.stack([np.bincount(numbers, along, minlength=n) for along in places.T], 1)
    middles = sums / np.maximum(1, pixels)[:, None]
    for i in range(1, n):
        yield after + i, int(of_class[i]), int(pixels[i]), (*frame, *middles[i].tolist())
