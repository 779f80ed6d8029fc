"""Objects that are found tile by tile are those that are found in the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.regions import Region
from napari_weakseg.engine.finding import Said
from napari_weakseg.engine.fragments import FragmentTable
from napari_weakseg.engine.object_tiles import FragmentsByTile
from napari_weakseg.engine.objects import fragments_of
from napari_weakseg.engine.predict import Tiles

both = pytest.mark.parametrize(("shape", "window"), [((120, 150), (96, 24)), ((40, 44, 60), (40, 12))])


def scene(shape: tuple[int, ...], rng: np.random.Generator, *, radius: float, n: int) -> Said:
    """Touching balls of two classes, with some doubt, some of them marked."""
    at = np.indices(shape)
    classes, marked = np.ones(shape, np.uint8), np.zeros(shape, np.int32)
    for i in range(1, n + 1):
        middle = np.array([rng.uniform(0, size) for size in shape]).reshape(-1, *[1] * len(shape))
        away = np.sqrt(((at - middle) ** 2).sum(0))
        ball = (away < rng.uniform(0.4, 1) * radius) & (classes == 1)
        classes[ball] = rng.integers(2, 4)
        if rng.random() < 0.3:
            marked[ball & (away < 2)] = i
    doubt = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    certainty = np.clip(0.97 + 0.1 * doubt / doubt.std(), 0.4, 0.999).astype(np.float32)
    inwardness = np.clip(0.5 + 0.3 * ndimage.gaussian_filter(rng.normal(size=shape), 3), 0.05, 1).astype(np.float32)
    return Said(classes, np.where(marked > 0, np.float32(1), certainty), inwardness, marked, np.zeros(shape, bool))


def surely(classes: NDArray[np.uint8], marked: NDArray[np.int32]) -> Said:
    """Nothing is known of how far inside a pixel lies."""
    shape = classes.shape
    return Said(classes, np.full(shape, 0.999, np.float32), np.zeros(shape), marked, np.zeros(shape, bool))


def by_tile(said: Said, tiles: Tiles) -> tuple[NDArray[np.int32], FragmentTable, FragmentsByTile]:
    found, ids = FragmentsByTile(tiles, None), np.full(tiles.shape, -1, np.int32)

    def before(region: Region) -> NDArray[np.int32]:
        assert (ids[region] >= 0).all(), "asked for what is not there yet"
        return ids[region]

    for index in np.ndindex(*tiles.counts):
        window = tiles.window(index)
        part = Said(*(x[window] for x in (said.classes, said.certainty, said.inwardness, said.marked, said.exact)))
        ids[tiles.cell(index)] = found.take(index, part, found.cut(part), before)
    return ids, found.table(), found


def same_parts(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    """Whether two maps part the pixels alike, whatever the numbers."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    one_to_one = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    return one_to_one and bool(((a == 0) == (b == 0)).all())


@both
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(0, 60))
def test_tiled_is_whole(shape: tuple[int, ...], window: tuple[int, int], seed: int, split: float, min_px: int) -> None:
    said = scene(shape, np.random.default_rng(seed), radius=window[1] / 3, n=40)
    whole = fragments_of(said.classes, certainty=said.certainty, inwardness=said.inwardness, marked=said.marked)
    tiles = Tiles(shape, *window)
    assert max(tiles.counts) > 1
    ids, table, _ = by_tile(said, tiles)
    assert same_parts(ids, whole.ids)
    assert same_parts(table.numbers(split=split, min_px=min_px)[ids], whole.objects(split=split, min_px=min_px))
    assert set(table.least_px) == set(np.unique(said.classes[said.marked > 0]).tolist())


@both
def test_a_frame_that_fits_into_one_window_is_the_whole(shape: tuple[int, ...], window: tuple[int, int]) -> None:
    said = scene(shape, np.random.default_rng(0), radius=30, n=12)
    whole = fragments_of(said.classes, certainty=said.certainty, inwardness=said.inwardness, marked=said.marked)
    ids, table, found = by_tile(said, Tiles(shape, 200, 10))
    assert same_parts(ids, whole.ids)
    np.testing.assert_array_equal(np.sort(table.depth), np.sort(whole.depth))
    middles = found.places[1:] / table.pixels[1:, None]
    expected = ndimage.center_of_mass(np.ones(shape, bool), ids, np.arange(1, len(table.classes)))
    np.testing.assert_allclose(middles, expected)


@both
@pytest.mark.parametrize("everywhere", [True, False])
def test_what_is_larger_than_a_window_is_one_object(
    shape: tuple[int, ...], window: tuple[int, int], everywhere: bool
) -> None:
    """A class everywhere, and a thick one across all tiles."""
    classes = np.full(shape, 2, np.uint8)
    if not everywhere:
        classes[..., :3] = classes[:2] = 1
    said = surely(classes, np.zeros(shape, np.int32))
    ids, table, _ = by_tile(said, Tiles(shape, *window))
    objects = table.numbers()[ids]
    np.testing.assert_array_equal(objects, classes == 2)
    assert table.pixels[1:].sum() == (classes == 2).sum()


@both
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 2), st.floats(0.1, 0.99))
def test_what_is_larger_than_a_halo_is_one_object(
    shape: tuple[int, ...], window: tuple[int, int], seed: int, halos: float, split: float
) -> None:
    rng = np.random.default_rng(seed)
    middle = np.array([rng.uniform(0, size) for size in shape]).reshape(-1, *[1] * len(shape))
    ball = ((np.indices(shape) - middle) ** 2).sum(0) < (halos * window[1]) ** 2
    said = surely(np.where(ball, np.uint8(2), np.uint8(1)), np.zeros(shape, np.int32))
    ids, table, _ = by_tile(said, Tiles(shape, *window))
    np.testing.assert_array_equal(table.numbers(split=split)[ids], ball)


@both
def test_a_mark_across_a_border_makes_one_object(shape: tuple[int, ...], window: tuple[int, int]) -> None:
    """A long thread with a mark all along it and one waist after another."""
    classes, marked = np.ones(shape, np.uint8), np.zeros(shape, np.int32)
    middle = tuple(size // 2 for size in shape[:-1])
    for x in range(shape[-1]):
        width = 2 + (x // 4) % 2
        classes[(*(slice(m - width, m + width + 1) for m in middle), x)] = 2
    marked[(*middle, slice(2, shape[-1] - 2))] = 7
    said = surely(classes, marked)
    for split in (0.0, 1.0):
        ids, table, _ = by_tile(said, Tiles(shape, *window))
        np.testing.assert_array_equal(table.numbers(split=split)[ids], classes == 2)
    assert table.least_px[2] >= shape[-1] // 3
