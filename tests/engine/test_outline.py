"""Outlines from the edges of an image: what they say, and where a border is blurred."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.outline import Outline, outline

FULL = 0b1110
SIDE = {2: 64, 3: 40}


def balls(ndim: int, *centres: int, radius: float) -> NDArray[np.int32]:
    """Discs or balls 1 … n beside each other along the last axis."""
    side = SIDE[ndim]
    at = np.indices((side,) * ndim)
    found = np.zeros((side,) * ndim, np.int32)
    for i, x in enumerate(centres, 1):
        middle = np.array([side // 2] * (ndim - 1) + [x]).reshape(-1, *[1] * ndim)
        found[((at - middle) ** 2).sum(0) <= radius**2] = i
    return found


def outlined(objects: NDArray[np.int32], image: NDArray[np.float32], *, classes: tuple[int, ...]) -> Outline:
    """Outline of objects of which the inner part is marked, and the corners of the image as background."""
    seeds = np.zeros_like(objects)
    for i in range(1, len(classes) + 1):
        seeds[ndimage.binary_erosion(objects == i, iterations=5)] = i
    far = ndimage.distance_transform_edt(objects == 0) > 12
    seed_class = np.array([0, *classes], np.uint8)
    allowed = np.where(seeds > 0, np.uint32(1) << seed_class[seeds].astype(np.uint32), np.uint32(FULL))
    allowed = np.where(far, np.uint32(0b10), allowed)
    nothing = np.zeros(objects.shape, bool)
    found = outline(image[None], Knowledge(allowed, (seeds > 0) | far, seeds, seed_class, nothing, (), FULL))
    assert found is not None
    return found


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_sharp_border_has_no_slopes(ndim: int) -> None:
    truth = balls(ndim, SIDE[ndim] // 2, radius=10.5)
    found = outlined(truth, (truth > 0).astype(np.float32), classes=(2,))
    away = np.abs(ndimage.distance_transform_edt(truth) - ndimage.distance_transform_edt(truth == 0)) - 0.5
    assert (found.classes[away > 2] == 1 + (truth > 0)[away > 2]).all()
    assert not found.classes[away < 0.5].any()
    assert not found.slopes[away > 2].any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_slopes_of_a_blurred_border_lie_on_both_sides_of_it(ndim: int) -> None:
    truth = balls(ndim, SIDE[ndim] // 2, radius=10.5)
    image = ndimage.gaussian_filter((truth > 0).astype(np.float32), 3)
    found = outlined(truth, image, classes=(2,))
    outside, inside = ndimage.distance_transform_edt(truth == 0), ndimage.distance_transform_edt(truth)
    for away in (outside, inside):
        near = (away > 0) & (away < 1.5)
        assert (found.slopes | (found.classes == 0))[near].mean() > 0.95
        assert found.slopes[(away > 0) & (away < 2.5)].mean() > 0.5
    assert not found.slopes[(outside > 8) | (inside > 9)].any()
    assert (found.classes[outside > 8] == 1).all()
    assert (found.classes[inside > 9] == 2).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_between_two_kinds_of_objects_the_edge_is_all_that_there_is(ndim: int) -> None:
    """A blurred border between two classes, far from the background, is claimed up to its crest."""
    middle = SIDE[ndim] // 2
    truth = 1 + (np.indices((SIDE[ndim],) * ndim)[-1] >= middle).astype(np.int32)
    image = ndimage.gaussian_filter(truth.astype(np.float32), 3)
    truth[:15], image[:15] = 0, 5.0
    found = outlined(truth, image, classes=(2, 3))
    row = (SIDE[ndim] - 6,) * (ndim - 1)
    assert (found.classes[row][4 : middle - 2] == 2).all()
    assert (found.classes[row][middle + 2 : -4] == 3).all()
    assert not found.slopes[row].any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_background_that_only_its_looks_tell_ends_an_object_at_its_edge(ndim: int) -> None:
    truth = balls(ndim, SIDE[ndim] // 2, radius=10.5)
    image = (truth > 0).astype(np.float32)[None]
    seeds = ndimage.binary_erosion(truth, iterations=5).astype(np.int32)
    allowed = np.where(seeds > 0, np.uint32(0b100), np.uint32(FULL))
    allowed[0] = 0b1100  # known to be no background
    nothing = np.zeros(truth.shape, bool)
    known = Knowledge(allowed, seeds > 0, seeds, np.array([0, 2], np.uint8), nothing, (), FULL)
    assert outline(image, known) is None
    bare = ndimage.distance_transform_edt(truth == 0) > 12
    bare |= seeds > 0
    bare[0] = True
    found = outline(image, known, bare=bare)
    assert found is not None
    away = np.abs(ndimage.distance_transform_edt(truth) - ndimage.distance_transform_edt(truth == 0)) - 0.5
    assert (found.classes[away > 2] == 1 + (truth > 0)[away > 2]).all()
    bare[1:] = False  # what contradicts the marks says nothing
    assert outline(image, known, bare=bare) is None
