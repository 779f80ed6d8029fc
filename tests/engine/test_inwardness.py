"""How far inside its object a pixel lies: what is taught, and of which objects."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_weakseg.core.annotations import Coverage
from napari_weakseg.engine.auxiliary import inwardness_loss
from napari_weakseg.engine.blocks import places, read
from napari_weakseg.engine.growth import Evidence, GrowthRules
from napari_weakseg.engine.inwardness import MOST_INWARD, inwardness_target
from napari_weakseg.engine.targets import IGNORE

Make = Callable[..., Any]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_each_object_rises_from_its_border_to_its_middle(seed: int, ndim: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 30) if ndim == 2 else (12, 14, 16)
    parts, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0)
    half = np.indices(shape)[-1] < shape[-1] // 2
    ids = np.where(parts > 0, 2 * parts - half, 0).astype(np.int32)  # many touch at the middle
    known = rng.random(shape) < 0.5
    target = inwardness_target(ids, known)
    np.testing.assert_array_equal(target == IGNORE, (ids == 0) & ~known)
    assert (target[(ids == 0) & known] == 0).all()
    for i in np.unique(ids[ids > 0]):
        assert target[ids == i].max() == MOST_INWARD
        assert target[ids == i].min() > 0


@pytest.mark.parametrize("ndim", [2, 3])
def test_where_two_objects_touch_is_their_border_and_the_end_of_the_image_is_none(ndim: int) -> None:
    ids = np.ones((16,) * (ndim - 1) + (40,), np.int32)
    ids[..., 20:] = 2
    target = inwardness_target(ids, np.zeros(ids.shape, bool))
    line = target[(5,) * (ndim - 1)]
    assert (target == line).all()  # nothing else is near
    np.testing.assert_array_equal(line, line[::-1])
    assert line[0] == MOST_INWARD
    assert line[19] == MOST_INWARD * 2 // 20  # one pixel of ten, which are half of the greatest depth


def test_thick_planes_count_as_such() -> None:
    ids = np.zeros((9, 40, 40), np.int32)
    ids[2:7, 5:35, 5:35] = 1
    even, thick = (inwardness_target(ids, ids == 0, sampling=s) for s in (None, (5.0, 1.0, 1.0)))
    assert even[4, 20, 8] == MOST_INWARD > thick[4, 20, 8]


def block_of(make_project: Make, labels: np.ndarray, objects: np.ndarray, coverage: Coverage) -> Any:
    project = make_project()
    image = project.add_image(np.zeros(labels.shape, np.float32), name="a", axes="YX")
    image.paint(labels)
    image.paint_objects(2, objects)
    image.coverage(None, coverage)
    return read(image, next(places(image, 2)), {}, 0)


def two_halves() -> tuple[np.ndarray, np.ndarray]:
    objects = np.zeros((40, 60), np.int32)
    objects[10:30, 10:30], objects[10:30, 30:50] = 1, 2
    return np.where(objects > 0, 2, 1).astype(np.uint8), objects


def test_exact_objects_teach_at_once(make_project: Make) -> None:
    labels, objects = two_halves()
    target = block_of(make_project, labels, objects, "exact").inwardness
    assert (target[20, 28:32] < MOST_INWARD / 2).all()
    assert target[20, 20] == target[20, 40] == MOST_INWARD
    assert (target[objects == 0] == 0).all()


def test_a_blob_teaches_once_it_has_grown(make_project: Make) -> None:
    labels, objects = two_halves()
    blobs = np.where(ndimage.distance_transform_edt(labels == 2) > 7, objects, 0)
    blobs[:, 28:32] = 0
    painted = np.where(blobs > 0, 2, 0).astype(np.uint8)
    painted[0] = 1
    block = block_of(make_project, painted, blobs, "some")
    assert (block.inwardness == IGNORE).all()  # not even the background: of objects nothing is known
    inside = (labels == 2).astype(np.float32)
    evidence = Evidence(np.stack([1 - inside, inside]), block.knowledge.allowed)
    block.growth = block.growth.advanced(evidence, GrowthRules(radius_px=(3.0, 3.0), tau=0.8, mode="monotone"))
    block.refresh()
    target = block.inwardness
    np.testing.assert_array_equal((target > 0) & (target < IGNORE), block.growth.ids > 0)
    assert (block.growth.ids > 0).sum() > (blobs > 0).sum()
    assert (target[0] == 0).all()
    assert (target[35] == IGNORE).all()
    block.held_out |= blobs == 1
    block.refresh()
    assert (block.inwardness[:, 10:28] == IGNORE)[1:].all()  # nor what has grown from a mark that judges
    np.testing.assert_array_equal(block.inwardness[:, 32:], target[:, 32:])


def test_the_loss_is_least_where_the_head_says_what_it_is_taught() -> None:
    target = torch.tensor([[[0, 50, 100, 200, IGNORE]]], dtype=torch.uint8)
    logits = torch.zeros(1, 1, 1, 5, requires_grad=True)
    for _ in range(300):
        loss = inwardness_loss(logits, target)
        (slope,) = torch.autograd.grad(loss, logits)
        assert slope[..., 4] == 0
        logits = (logits - 20 * slope).detach().requires_grad_()
    torch.testing.assert_close(logits.sigmoid()[0, 0, 0, :4], torch.tensor([0, 0.25, 0.5, 1]), atol=0.02, rtol=0)
