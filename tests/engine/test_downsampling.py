"""How much smaller the network sees images: chosen by what was painted, unbiased, undone in predictions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.blocks import Block, Place
from napari_weakseg.engine.downsampling import downsampled, factors_for, shrunk, stretched
from napari_weakseg.engine.sampling import Batch

FULL = 0b1110


def block(
    *sides: int, class_ids: tuple[int, ...] = (), exact: bool = False, depth: int | None = None, long: int = 1
) -> Block:
    """Squares of some sides beside each other, of class 2 if nothing else is said; in 3-D in one slice only.

    `long`: strokes instead, so many times as long as thick.
    """
    seeds = np.zeros((long * max(sides) + 2, sum(sides) + 2 * len(sides)), np.int32)
    x = 1
    for i, side in enumerate(sides, 1):
        seeds[1 : long * side + 1, x : x + side] = i
        x += side + 2
    if depth is not None:
        volume = np.zeros((depth, *seeds.shape), np.int32)
        volume[depth // 2] = seeds
        seeds = volume
    shape = seeds.shape
    seed_class = np.array([0, *(class_ids or (2,) * len(sides))], np.uint8)
    allowed = np.where(seeds > 0, np.uint32(1) << seed_class[seeds].astype(np.uint32), np.uint32(FULL))
    known = Knowledge(allowed, seeds > 0, seeds, seed_class, np.full(shape, exact), (), FULL)
    nothing = np.zeros(shape, np.uint8)
    place = Place("a", (), tuple(slice(0, n) for n in shape), marked=True)
    made = Block(place, np.zeros((1, *shape), np.float32), known, nothing, seeds < 0, nothing, nothing, nothing, 0)
    made.refresh()
    return made


@pytest.mark.parametrize(("side", "factor"), [(2, 1), (6, 1), (10, 2), (14, 2), (18, 2), (22, 4), (90, 4)])
def test_thick_blobs_are_seen_smaller(side: int, factor: int) -> None:
    assert factors_for([block(side, side, side)], 2) == (factor, factor)


def test_exact_objects_count_half() -> None:
    assert factors_for([block(12, exact=True)], 2) == (1, 1)
    assert factors_for([block(20, exact=True)], 2) == (2, 2)


def test_the_finest_class_and_the_thinner_blobs_decide() -> None:
    assert factors_for([block(30, 30, 3, class_ids=(2, 2, 3))], 2) == (1, 1)
    assert factors_for([block(30, 30, 3, 3)], 2) == (1, 1)
    assert factors_for([block(30, 30, 30, 30, 30, 3)], 2) == (4, 4)


def test_strokes_tell_nothing_for_they_are_as_thick_as_the_brush() -> None:
    blobs, strokes = block(12, 12), block(3, 3, class_ids=(3, 3), long=8)
    assert factors_for([strokes], 2) == (1, 1)
    assert factors_for([blobs, strokes], 2) == (2, 2)
    assert factors_for([blobs, block(3, 3, class_ids=(3, 3))], 2) == (1, 1)


def test_an_exact_object_tells_its_thickness_however_long_it_is() -> None:
    assert factors_for([block(20), block(6, class_ids=(3,), exact=True, long=5)], 2) == (1, 1)
    assert factors_for([block(18, exact=True, long=5)], 2) == (2, 2)


def test_nothing_painted_leaves_images_as_they_are() -> None:
    bare = block(20)
    bare.knowledge.seeds[:] = 0
    assert not bare.thickness
    assert factors_for([bare], 2) == (1, 1)
    assert factors_for([], 3) == (1, 1, 1)


def test_marks_on_one_slice_tell_as_much_and_coarse_axes_are_shrunk_less() -> None:
    marks = [block(22, depth=5)]
    assert factors_for(marks, 3) == (4, 4, 4)
    assert factors_for(marks, 3, spacing=(4.0, 1.0, 1.0)) == (1, 4, 4)
    assert factors_for(marks, 3, spacing=(2.1, 1.0, 1.0)) == (2, 4, 4)


def batch_of(image: torch.Tensor, labels: torch.Tensor) -> Batch:
    n = len(image)
    boxes = [(0, 2, (3, -2), (7, 9))]
    return Batch(image, {"claim": labels}, 0, 0, torch.zeros(n, 2), torch.zeros(n, 2, dtype=torch.bool), boxes)


@settings(deadline=None)
@given(st.sampled_from([(2, 2), (4, 4), (1, 2)]), st.integers(0, 1000))
def test_labels_are_those_of_some_pixel_of_the_window_and_pixels_the_mean(factors: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((2, 3, 16, 16), np.float32))
    labels = torch.from_numpy(rng.integers(0, 4, (2, 16, 16), np.uint8))
    small = downsampled(batch_of(image, labels), factors, rng)
    a, b = factors
    windows = labels.reshape(2, 16 // a, a, 16 // b, b).permute(0, 1, 3, 2, 4).flatten(3)
    assert (windows == small.fields["claim"].unsqueeze(-1)).any(-1).all()
    means = image.reshape(2, 3, 16 // a, a, 16 // b, b).mean((3, 5))
    torch.testing.assert_close(small.image, means)


def test_borders_lie_where_they_are_on_average() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[..., 3:] = 1
    rng = np.random.default_rng(0)
    drawn = [
        downsampled(batch_of(torch.zeros(1, 1, 8, 8), labels), (4, 4), rng).fields["claim"].float() for _ in range(2000)
    ]
    assert torch.stack(drawn).mean(0)[0, 0].tolist() == pytest.approx([0.25, 1.0], abs=0.05)


def test_boxes_shrink_with_their_patch_and_lose_nothing() -> None:
    small = downsampled(batch_of(torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8)), (2, 2), np.random.default_rng(0))
    assert small.boxes == [(0, 2, (1, -1), (4, 5))]


@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (1, 2, 2), (4, 4, 4)])
def test_stretching_keeps_flat_scores_and_sizes(factors: tuple[int, ...]) -> None:
    scores = torch.full((1, 2, *[4] * len(factors)), 0.7)
    large = stretched(scores, factors)
    assert large.shape[2:] == tuple(4 * f for f in factors)
    torch.testing.assert_close(large, torch.full_like(large, 0.7))
    torch.testing.assert_close(shrunk(large, factors), scores)
