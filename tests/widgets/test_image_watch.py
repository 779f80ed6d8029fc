"""Layers that show another picture, or have another pixel size, after they were chosen."""

import numpy as np
import pytest

from conftest import two_discs
from napari_weakseg.core.project import Project
from napari_weakseg.widgets.desk import annotation_of
from napari_weakseg.widgets.overlay import Role


@pytest.fixture
def ready(qtbot, viewer, panel):
    panel.train_box.auto.setChecked(False)
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    return panel


def notice(panel):
    return panel.notices.value().get("another picture", "")


CHANGES = [
    lambda a: np.ascontiguousarray(a[:, ::-1]),
    lambda a: a[:60, :70],
    lambda a: np.stack([a[:60, :70]] * 12),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_painted_on_a_picture_that_is_not_learned_from(viewer, ready, change):
    bench, layer = ready.controller.bench, viewer.layers["cells"]
    old, annotation = layer.data, bench.current.annotation
    layer.data = change(old)
    assert "another picture" in notice(ready)
    annotation.mode = "paint"
    assert str(annotation.mode) == "pan_zoom"
    layer.scale = [2] * layer.ndim
    bench.choose(layer)
    assert ready.image_box.words.text() == "96 × 128 pixels"
    ready.notices.press("another picture", 0)
    assert layer.data is old
    assert notice(ready) == ""
    assert str(annotation.mode) == "paint"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("marked", [False, True])
def test_the_new_picture_becomes_an_image_of_its_own(qtbot, viewer, ready, change, marked):
    bench, layer = ready.controller.bench, viewer.layers["cells"]
    if marked:
        bench.current.annotation.paint((30, 35), 2)
    layer.data = change(layer.data)
    ready.notices.press("another picture", 1)
    assert notice(ready) == ""
    assert bench.current.image == layer
    assert bench.current.annotation.editable
    assert [x.name for x in viewer.layers] == ["cells", "prediction", "grown", "annotation"]
    shown = bench.image.source.read_exactly(tuple(slice(0, n) for n in layer.data.shape))[0]
    np.testing.assert_array_equal(shown, layer.data)
    images = bench.desk.project.images
    assert list(images) == (["cells", "cells-2"] if marked else ["cells"])
    if marked:
        assert (annotation_of(images["cells"]) == 2).any()


def test_the_same_pixels_again_are_no_other_picture(viewer, ready):
    viewer.layers["cells"].data = viewer.layers["cells"].data.copy()
    assert notice(ready) == ""
    assert ready.controller.bench.current.annotation.editable


def test_the_notice_belongs_to_its_image(viewer, ready):
    bench = ready.controller.bench
    bench.current.annotation.paint((30, 35), 2)
    bench.strokes.flush_all()
    other = viewer.add_image(two_discs()[::-1].copy(), name="other")
    viewer.layers["cells"].data = other.data
    assert notice(ready)
    bench.choose(other)
    assert notice(ready) == ""
    bench.choose(viewer.layers["cells"])
    assert notice(ready)


def test_a_pixel_size_that_is_set_late_is_kept_with_the_project(viewer, ready):
    bench, layer = ready.controller.bench, viewer.layers["cells"]
    layer.scale = (0.2, 0.3)
    assert bench.image.source.pixel_size is None  # in pixels, so this is no size yet
    layer.units = ("um", "um")
    sizes = {"Y": (0.2, "µm"), "X": (0.3, "µm")}
    assert bench.image.source.pixel_size == sizes
    bench.current.annotation.paint((30, 35), 2)
    path = bench.desk.project.path
    bench.close_project()
    with Project.open(path) as again:
        assert again.images["cells"].source.pixel_size == sizes


def test_nothing_is_taken_over_into_another_picture(viewer, ready, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(" ".join(given)))
    bench, layer = ready.controller.bench, viewer.layers["cells"]
    canvas = bench.current
    for role in (Role.GROWN, Role.PREDICTION):
        canvas.show_block(role, (), (0, 0), np.full(layer.data.shape, 2, np.uint8))
    layer.data = np.ascontiguousarray(layer.data[:, ::-1])
    accepting = ready.controller.accepting
    for take_over in (accepting.accept_object, accepting.accept_class, accepting.accept_grown):
        said.clear()
        canvas.annotation.selected_label = 2
        take_over()
        assert "Nothing can be painted" in said[0]
    assert not canvas.annotation.data.any()


def test_boxes_stay_locked_while_they_are_stepped_through(viewer, ready, tmp_path):
    bench = ready.controller.bench
    with Project.create(tmp_path / "volume.weakseg", ("background", "cell"), ndim=3) as project:
        image = project.add_image(np.stack([two_discs()] * 5), name="a", axes="ZYX")
        image.add_box("cell", (1, 10, 10), (4, 20, 20))
    bench.open_project(project.path)
    layer, boxes = bench.current.image, bench.current.boxes.layer
    layer.data = layer.data[::-1].copy() + 1
    assert not boxes.editable
    viewer.dims.set_point(0, 1)
    viewer.dims.set_point(0, 3)
    assert not boxes.editable
