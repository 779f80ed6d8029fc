"""Boxes in volumes: drawn in one plane, ended at two, shown in each plane that they reach through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import two_discs
from napari_weakseg.core.annotations import Box
from napari_weakseg.core.project import Project
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.box_layer import BoxLayer
from napari_weakseg.widgets.overlay import Placement

COLORS = ("#8c8c8c", "#e69f00", "#56b4e9")
#: Shape of the layer, which of its axes is a channel that is kept, which one is Z.
PLACES = {
    "ZYX": ((6, 40, 50), None, 0),
    "TZYX": ((3, 6, 40, 50), None, 1),
    "ZCYX": ((6, 1, 40, 50), 1, 0),
    "ZYXC": ((6, 40, 50, 1), 3, 0),
}
PLANES = st.integers(0, 5)


def box_layer(axes, boxes=()):
    shape, channel, _ = PLACES[axes]
    place = Placement(shape, channel, {})
    return BoxLayer("boxes", "cells", place, boxes, spatial_ndim=3, colors=COLORS, on_touched=lambda: None)


def draw(layer, axes, frame, plane, y0, x0, y1, x1):
    """Draw a rectangle as the mouse does."""
    corners = [[*frame, plane, y, x] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
    channel = PLACES[axes][1]
    for corner in corners if channel is not None else ():
        corner.insert(channel, 0)
    layer.layer.mode = "add_rectangle"
    layer.layer.add_rectangles(np.array(corners, float))


def shown(layer, axes, plane):
    """First and last Y of the shapes that lie in a plane."""
    layer.follow(plane)
    y = [axis for axis in range(layer.layer.ndim) if axis != PLACES[axes][1]][-2]
    z = PLACES[axes][2]
    return sorted((c[:, y].min(), c[:, y].max()) for c in layer.layer.data if (c[:, z] == plane).all())


def changes(layer):
    found = layer.changes()
    layer.handed_on()
    return found


@st.composite
def boxes(draw, frames):
    start = draw(st.tuples(st.integers(0, 5), st.integers(0, 38), st.integers(0, 48)))
    stop = draw(st.tuples(*(st.integers(a + 1, n) for a, n in zip(start, (6, 40, 50), strict=True))))
    frame = draw(st.tuples(*[st.integers(0, 2)] * frames))
    return Box(draw(st.integers(2, 3)), (*frame, *start), (*(i + 1 for i in frame), *stop))


@pytest.mark.parametrize("axes", PLACES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_box_is_shown_in_each_of_its_planes_and_read_again_as_it_was(axes, data):
    stored = data.draw(st.lists(boxes(int("T" in axes)), max_size=4))
    layer = box_layer(axes, stored)
    for plane in data.draw(st.lists(PLANES, max_size=5)):
        through = [box for box in stored if box.start[-3] <= plane < box.stop[-3]]
        assert shown(layer, axes, plane) == sorted((b.start[-2] - 0.5, b.stop[-2] - 0.5) for b in through)
        layer._touch()
        assert layer.changes() == ([], [])
    while len(layer.layer.data):
        layer.layer.selected_data = {0}
        layer.layer.remove_selected()
    assert sorted(changes(layer)[1], key=repr) == sorted(stored, key=repr)


@pytest.mark.parametrize("axes", PLACES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_drawn_is_stored_and_shown_again(axes, data):
    frame = (1,) if "T" in axes else ()
    layer = box_layer(axes, data.draw(st.lists(boxes(len(frame)), max_size=2)))
    drawn, first, last = data.draw(st.tuples(PLANES, PLANES, PLANES))
    layer.follow(drawn)
    draw(layer, axes, frame, drawn, 5, 7, 20, 30)
    assert layer.changes() == ([], [])
    assert layer.drafts == (2,)
    for plane in (first, last):
        layer.follow(plane)
        assert (4.5, 20.5) not in shown(layer, axes, plane)
        assert (5, 20) in shown(layer, axes, plane)  # a draft is seen everywhere
        assert layer.end_here(frame, plane)
    box = Box(2, (*frame, min(first, last), 5, 7), (*(i + 1 for i in frame), max(first, last) + 1, 21, 31))
    assert changes(layer) == ([box], [])
    assert layer.drafts == ()
    again = box_layer(axes, [box])
    for plane in range(6):
        inside = min(first, last) <= plane <= max(first, last)
        assert ((5, 20) in shown(layer, axes, plane)) == inside
        assert (shown(again, axes, plane) == [(4.5, 20.5)]) == inside


def test_boxes_that_are_hidden_catch_up_when_they_are_shown():
    layer = box_layer("ZYX", [Box(2, (1, 5, 5), (4, 9, 9))])
    layer.layer.visible = False
    assert shown(layer, "ZYX", 3) == []
    layer.layer.visible = True
    assert [corners[0, 0] for corners in layer.layer.data] == [3]


def test_of_a_box_that_is_selected_the_nearer_end_moves():
    box = Box(2, (1, 5, 5), (4, 9, 9))
    layer = box_layer("ZYX", [box])
    assert not layer.end_here((), 3)  # nothing is being drawn, nothing is selected
    layer.layer.mode = "select"
    layer.layer.selected_data = {0}
    layer.follow(5)
    for plane, planes in ((5, (1, 6)), (0, (0, 6)), (2, (2, 6)), (3, (3, 6)), (5, (3, 6)), (4, (4, 6))):
        assert layer.end_here((), plane)
        new, _ = changes(layer)
        assert [(b.start[0], b.stop[0]) for b in new] == ([planes] if plane != 5 or planes[0] == 1 else [])
        assert layer.layer.selected_data == {0}
        assert shown(layer, "ZYX", plane) == [(4.5, 8.5)]


def test_a_draft_is_deleted_or_given_up_and_keeps_no_other_waiting():
    layer = box_layer("ZYX")
    draw(layer, "ZYX", (), 2, 5, 7, 20, 30)
    draw(layer, "ZYX", (), 2, 25, 7, 35, 30)
    layer.changes()
    assert layer.drafts == (2, 2)
    layer.end_here((), 1)
    layer.give_up()
    layer.changes()
    assert layer.drafts == (2,)
    layer.layer.selected_data = {0}
    layer.layer.remove_selected()
    layer.changes()
    assert layer.drafts == ()
    assert not layer.end_here((), 1)


def test_a_small_draft_is_not_taken_for_a_click_later():
    layer = box_layer("ZYX")
    layer.layer.scale_factor = 0.1  # zoomed in
    draw(layer, "ZYX", (), 2, 5, 7, 8, 9)
    layer.changes()
    layer.layer.scale_factor = 10
    layer._touch()
    layer.changes()
    assert layer.drafts == (2,)


def test_a_draft_of_another_time_point_or_across_the_planes_does_not_end():
    layer = box_layer("TZYX")
    draw(layer, "TZYX", (1,), 2, 5, 7, 20, 30)
    assert not layer.end_here((0,), 2)
    layer.layer.add_rectangles(np.array([[1, 0, 5, 1], [1, 0, 5, 9], [1, 4, 5, 9], [1, 4, 5, 1]], float))
    assert not layer.end_here((1,), 2)
    assert changes(layer) == ([], [])
    assert layer.drafts == (2, 2)


def test_a_pasted_box_is_a_box_where_it_was_pasted(viewer):
    layer = box_layer("ZYX", [Box(3, (1, 1, 1), (4, 12, 12))])
    viewer.add_layer(layer.layer)
    viewer.add_image(np.zeros((6, 40, 50)))
    viewer.dims.set_current_step(0, 2)
    layer.follow(2)
    layer.layer.mode = "select"
    layer.layer.selected_data = {0}
    layer.layer._copy_data()
    viewer.dims.set_current_step(0, 3)
    layer.follow(3)
    layer.layer._paste_data()
    assert changes(layer) == ([Box(3, (2, 1, 1), (5, 12, 12))], [])


@pytest.fixture
def volume(qtbot, viewer, panel):
    viewer.add_image(np.stack([two_discs()] * 8), name="volume", axis_labels=("z", "y", "x"), scale=(3, 1, 1))
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    panel.image_box.ndim_changed.emit(3)
    panel.controller.set_docked(True)
    panel.class_table.boxes_button.click()
    return panel


def add(panel, plane, y0, x0, y1, x1):
    panel.controller.bench.viewer.dims.set_current_step(0, plane)
    layer = panel.controller.bench.current.boxes.layer
    layer.add_rectangles(np.array([[plane, y0, x0], [plane, y0, x1], [plane, y1, x1], [plane, y1, x0]], float))


def test_the_panel_tells_how_a_box_is_finished(qtbot, viewer, volume, desk):
    bench, notices = volume.controller.bench, volume.notices
    layer = bench.current.boxes.layer
    qtbot.waitUntil(lambda: bool(layer.keymap))
    assert "E" in {str(key) for key in layer.keymap}
    assert "E" not in {str(key) for key in bench.current.annotation.keymap}  # it is napari's eraser there
    add(volume, 3, 12, 17, 48, 53)
    qtbot.waitUntil(lambda: "first plane" in notices.value().get("draft", ""))
    assert bench.image.annotations.boxes == ()
    viewer.dims.set_current_step(0, 1)
    notices.press("draft", 0)
    assert "other end" in notices.value()["draft"]
    viewer.dims.set_current_step(0, 6)
    volume.controller.boxes.end_here()
    assert "draft" not in notices.value()
    box = Box(2, (1, 12, 17), (7, 49, 54))
    assert bench.image.annotations.boxes == (box,)
    assert volume.class_table.value()[1].boxes == 1
    add(volume, 2, 42, 73, 78, 107)
    qtbot.waitUntil(lambda: "draft" in notices.value())
    notices.press("draft", 1)
    assert "draft" not in notices.value()
    path = desk.project.path
    volume.close()
    with Project.open(path) as project:
        assert project.images["volume"].annotations.boxes == (box,)


def test_a_draft_that_is_left_is_named_and_not_in_the_project(qtbot, monkeypatch, volume, desk):
    told = []
    monkeypatch.setattr(messages, "info", told.append)
    for plane in (3, 5):
        add(volume, plane, 12, 17, 48, 53)
        qtbot.waitUntil(lambda: "draft" in volume.notices.value())
        if plane == 3:
            volume.notices.press("draft")
            volume.notices.press("draft")
    path = desk.project.path
    volume.close()
    assert ["volume" in text and "no first and last plane" in text for text in told] == [True]
    with Project.open(path) as project:
        assert project.images["volume"].annotations.boxes == (Box(2, (3, 12, 17), (4, 49, 54)),)


def test_boxes_of_a_volume_from_python_are_shown(qtbot, tmp_path, viewer, panel):
    with Project.create(tmp_path / "p.weakseg", ["background", "cell"], ndim=3) as project:
        image = project.add_image(np.stack([two_discs()] * 8), name="volume", axes="ZYX")
        image.add_box("cell", (2, 20, 24), (5, 41, 47))
    panel.controller.projects.open(tmp_path / "p.weakseg")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    layer = panel.controller.bench.current.boxes.layer
    for plane in range(8):
        viewer.dims.set_current_step(0, plane)
        assert bool(layer._view_indices.size) == (2 <= plane < 5)
    assert panel.class_table.value()[1].boxes == 1
    assert panel.notices.value() == {}


@pytest.mark.filterwarnings("ignore:Contours are not displayed")  # napari slices before it tells that it is in 3-D
@pytest.mark.parametrize("turn", [("ndisplay", 3), ("order", (1, 0, 2))])
def test_boxes_are_neither_drawn_nor_ended_where_no_plane_is_on_screen(qtbot, monkeypatch, viewer, volume, turn):
    warned = []
    monkeypatch.setattr(messages, "warn", lambda *words: warned.append(words))
    volume.controller.marking.draw_boxes(False)
    setattr(viewer.dims, *turn)
    volume.class_table.boxes_button.click()
    assert not volume.class_table.boxes_button.isChecked()
    volume.controller.boxes.end_here()
    assert len(warned) == 2
