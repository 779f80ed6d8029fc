"""Objects of a prediction: marks of a person overrule what the network says, and tell how small objects are."""

from typing import Any

import numpy as np
import pytest

from napari_weakseg.engine.finding import find_fragments


def bar() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict one long object without a waist, surely; nothing is known of how far inside a pixel lies."""
    labels = np.ones((40, 60), np.uint8)
    labels[15:25, 5:55] = 2
    return labels, np.full(labels.shape, 0.999, np.float32), np.zeros(labels.shape, np.float32)


def painted(make_project: Any, marks: np.ndarray) -> Any:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((40, 60), np.float32), name="a", axes="YX")
    image.paint(marks)
    return image


def test_a_line_of_background_parts_an_object_at_once(make_project: Any) -> None:
    labels, *shares = bar()
    marks = np.zeros(labels.shape, np.uint8)
    marks[35, 5:9] = 1
    image = painted(make_project, marks)
    assert find_fragments(image, (), (0, 0), labels, *shares).objects().max() == 1
    marks[12:28, 29:31] = 1
    image.paint(marks)
    found = find_fragments(image, (), (0, 0), labels, *shares)
    assert found.objects(split=0).max() == 2


def test_two_blobs_in_one_object_are_two_objects(make_project: Any) -> None:
    labels, *shares = bar()
    marks = np.zeros(labels.shape, np.uint8)
    marks[18:22, 10:16] = marks[18:22, 40:46] = 2
    image = painted(make_project, marks)
    ids = find_fragments(image, (), (0, 0), labels, *shares).objects(split=0)
    assert ids.max() == 2
    assert ids[20, 12] != ids[20, 42]


def test_two_are_told_apart_where_the_network_sees_a_border(make_project: Any) -> None:
    labels, certainty, inwardness = bar()
    image = painted(make_project, np.zeros(labels.shape, np.uint8))
    inwardness[:] = 1
    inwardness[:, 27:33] = 0.6
    assert find_fragments(image, (), (0, 0), labels, certainty, inwardness).objects().max() == 2


def test_a_part_of_a_frame_is_looked_at_where_it_lies(make_project: Any) -> None:
    labels, *shares = bar()
    marks = np.zeros(labels.shape, np.uint8)
    marks[12:28, 29:31] = 1
    image = painted(make_project, marks)
    part = find_fragments(image, (), (10, 20), *(x[10:30, 20:50] for x in (labels, *shares)))
    assert part.ids.shape == (20, 30)
    assert part.objects(split=0).max() == 2


@pytest.mark.parametrize("side", [3, 5])
def test_marks_tell_how_small_objects_may_be(make_project: Any, side: int) -> None:
    labels, *shares = bar()
    marks = np.zeros(labels.shape, np.uint8)
    for x in range(6, 50, 8):
        marks[16 : 16 + side, x : x + side] = 2
    image = painted(make_project, marks)
    assert find_fragments(image, (), (0, 0), labels, *shares).least_px == {2: side**2}


def test_an_object_may_be_smaller_than_those_that_are_marked_exactly(make_project: Any) -> None:
    labels, *shares = bar()
    marks = np.zeros(labels.shape, np.uint8)
    marks[4:8, 4:12] = 2
    image = painted(make_project, marks)
    assert find_fragments(image, (), (0, 0), labels, *shares).least_px == {2: 32}
    image.coverage(None, "exact")
    found = find_fragments(image, (), (0, 0), labels, *shares)
    assert found.least_px == {2: 8}


def test_small_objects_of_one_class_are_no_specks_beside_large_ones_of_another(make_project: Any) -> None:
    project = make_project("background", "cell", "vesicle")
    image = project.add_image(np.zeros((40, 90), np.float32), name="a", axes="YX")
    labels = np.ones((40, 90), np.uint8)
    for x in range(0, 84, 12):
        labels[2:12, x : x + 10] = labels[14:24, x : x + 10] = 2
        labels[30:33, x : x + 3] = 3
    labels[30:33, 86:89] = 2
    marks = np.where(labels > 1, labels, 0).astype(np.uint8)
    marks[30:, 3:] = 0
    image.paint(marks)
    found = find_fragments(image, (), (0, 0), labels, np.full(labels.shape, 0.999, np.float32), np.zeros(labels.shape))
    assert found.least_px == {2: 100, 3: 9}
    ids = found.objects()
    assert len(np.unique(ids[labels == 3])) == 7
    assert ids[31, 87] == 0
    assert found.objects(min_px=50).max() == 15
