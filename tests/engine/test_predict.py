"""Tiled prediction: every pixel once, the same as the whole, in the wanted order, in bounded memory."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region, intersection, region_of, shape_of
from napari_weakseg.engine.predict import Tiles, predict_tiles


def pointwise(frame: NDArray[np.float32]) -> Any:
    def predicted(region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        p = frame[region]
        assert p.shape == shape_of(region)
        return np.stack([p, 1 - p]), p / 2

    return predicted


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.lists(st.integers(1, 40 if ndim == 2 else 14), min_size=ndim, max_size=ndim)))

    def region() -> Region:
        starts = [draw(st.integers(0, n - 1)) for n in shape]
        return tuple(slice(a, draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True))

    return {
        "grid": Tiles(shape, draw(st.integers(1, 20)), draw(st.integers(0, 6))),
        "region": region() if draw(st.booleans()) else None,
        "first": region() if draw(st.booleans()) else None,
    }


@settings(max_examples=120, deadline=None)
@given(cases(), st.integers(0, 2**20))
def test_gives_every_pixel_once_and_as_the_whole_would(case: dict[str, Any], seed: int) -> None:
    shape = case["grid"].shape
    frame = np.random.default_rng(seed).integers(0, 65, shape).astype(np.float32) / 64
    times = np.zeros(shape, int)
    result = np.full((2, *shape), np.nan, np.float32)
    for tile in predict_tiles(pointwise(frame), **case):
        place = region_of(tile.start, tile.stop)
        assert tile.probabilities.shape == (2, *shape_of(place))
        assert tile.probabilities.dtype == np.float16
        times[place] += 1
        result[(slice(None), *place)] = tile.probabilities
        np.testing.assert_allclose(tile.inwardness, tile.probabilities[0] / 2, atol=1e-3)
    asked = case["region"] or tuple(slice(0, n) for n in shape)
    wanted = np.zeros(shape, int)
    wanted[asked] = 1
    np.testing.assert_array_equal(times, wanted)
    np.testing.assert_allclose(result[0][asked], frame[asked], atol=1e-3)  # float16
    np.testing.assert_allclose(result[1][asked], 1 - frame[asked], atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 2**20))
def test_parts_of_the_tiles_are_the_same_as_all_at_once(case: dict[str, Any], seed: int) -> None:
    grid: Tiles = case["grid"]
    rng = np.random.default_rng(seed)
    window = pointwise(rng.random(grid.shape, np.float32))
    at_once = {tile.start: tile.probabilities for tile in predict_tiles(window, grid)}
    assert list(at_once) == grid.starts
    someone = {start for start in grid.starts if rng.random() < 0.5}
    for done in (someone, set(grid.starts) - someone):
        found = {tile.start: tile.probabilities for tile in predict_tiles(window, grid, done=done)}
        assert set(found) == set(grid.starts) - done
        for start, said in found.items():
            np.testing.assert_array_equal(said, at_once[start])


def test_what_is_on_the_screen_comes_first() -> None:
    first = (slice(30, 60), slice(70, 94))
    window = pointwise(np.zeros((128, 128), np.float32))
    tiles = list(predict_tiles(window, Tiles((128, 128), 24, 4), first=first))
    touch = [intersection(region_of(t.start, t.stop), first) is not None for t in tiles]
    assert 0 < sum(touch) < len(touch)
    assert touch == sorted(touch, reverse=True)
    assert all(a <= m < b for a, m, b in zip(tiles[0].start, (45, 82), tiles[0].stop, strict=True))


def test_can_be_left_at_any_moment() -> None:
    asked = []

    def window(region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        asked.append(region)
        return np.full((2, *shape_of(region)), 0.5, np.float32), np.ones(shape_of(region), np.float32)

    tiles = predict_tiles(window, Tiles((1000, 1000), 32, 8))
    next(tiles)
    tiles.close()
    assert len(asked) <= 4


@pytest.mark.parametrize("first", [None, (slice(480, 520), slice(480, 520))])
def test_memory_grows_with_a_row_and_not_with_the_frame(first: Region | None) -> None:
    window_px = 32
    calls = 0

    def window(region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        nonlocal calls
        calls += 1
        return np.full((2, *shape_of(region)), 0.5, np.float32), np.ones(shape_of(region), np.float32)

    tiles = predict_tiles(window, Tiles((1000, 1000), window_px, 8), first=first)
    kept = 0
    for _ in tiles:
        kept = max(kept, len(tiles.gi_frame.f_locals["kept"]))  # type: ignore[attr-defined]
    row = -(-1000 // 16)
    assert calls == row**2  # no window twice
    assert kept <= (3 if first is None else 8) * row


def test_a_frame_that_fits_is_one_window() -> None:
    tiles = list(predict_tiles(pointwise(np.zeros((30, 20), np.float32)), Tiles((30, 20), 32, 8)))
    assert [(t.start, t.stop) for t in tiles] == [((0, 0), (30, 20))]
