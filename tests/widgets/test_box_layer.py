"""Boxes: between the project and a Shapes layer, and drawn in the panel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import two_discs
from napari_weakseg.core.annotations import Box
from napari_weakseg.core.errors import StorageError
from napari_weakseg.core.marks import Marks
from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase
from napari_weakseg.session import Session
from napari_weakseg.widgets.box_layer import BoxLayer
from napari_weakseg.widgets.overlay import Placement

COLORS = ("#8c8c8c", "#e69f00", "#56b4e9")
#: Shape of the layer, which of its axes is a channel that is kept.
PLACES = {"YX": ((40, 50), None), "ZYX": ((4, 40, 50), None), "TCYX": ((4, 1, 40, 50), 1), "YXC": ((40, 50, 1), 2)}


def box_layer(axes, boxes=()):
    shape, channel = PLACES[axes]
    place = Placement(shape, channel, {})
    return BoxLayer("boxes", "cells", place, boxes, spatial_ndim=2, colors=COLORS, on_touched=lambda: None)


def changes(layer):
    found = layer.changes()
    layer.handed_on()
    return found


@st.composite
def boxes(draw, frames):
    y, x = draw(st.tuples(st.integers(0, 38), st.integers(0, 48)))
    stop = draw(st.tuples(st.integers(y + 1, 40), st.integers(x + 1, 50)))
    frame = draw(st.tuples(*[st.integers(0, 3)] * frames))
    return Box(draw(st.integers(2, 3)), (*frame, y, x), (*(i + 1 for i in frame), *stop))


@pytest.mark.parametrize("axes", PLACES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_box_that_is_shown_is_read_again_as_it_was(axes, data):
    drawn = data.draw(st.lists(boxes(len(axes.replace("C", "")) - 2), max_size=4))
    layer = box_layer(axes, drawn)
    layer._touch()
    assert changes(layer) == ([], [])
    while len(layer.layer.data):
        layer.layer.selected_data = {0}
        layer.layer.remove_selected()
    new, gone = layer.changes()
    assert new == []
    assert sorted(gone, key=repr) == sorted(drawn, key=repr)


def test_every_pixel_that_a_shape_touches_is_in_its_box_and_the_image_bounds_it():
    layer = box_layer("YX")
    layer.pick_class(3)
    layer.layer.add_rectangles(np.array([[9.6, 4.4], [9.6, 12.2], [20.4, 12.2], [20.4, 4.4]]))
    layer.layer.add_ellipses(np.array([[-9.0, 30], [-9, 70], [8, 70], [8, 30]]))
    layer.layer.add_rectangles(np.array([[50.0, 4], [50, 9], [60, 9], [60, 4]]))  # outside
    new, gone = layer.changes()
    assert sorted(box.start + box.stop for box in new) == [(0, 30, 9, 50), (10, 4, 21, 13)]
    assert {box.class_id for box in new} == {3}
    assert gone == []
    layer.handed_on()
    assert layer.counts[3] == 2
    assert layer.changes() == ([], [])


def test_a_box_through_several_frames_is_left_alone():
    through = Box(2, (0, 5, 5), (3, 9, 9))
    layer = box_layer("ZYX", [through])
    assert not len(layer.layer.data)
    layer.layer.add_rectangles(np.array([[2, 1, 1], [2, 1, 5], [2, 6, 5], [2, 6, 1.0]]))
    assert changes(layer) == ([Box(2, (2, 1, 1), (3, 7, 6))], [])


def test_selected_boxes_take_another_class_and_its_colour():
    layer = box_layer("YX", [Box(2, (1, 1), (5, 5)), Box(2, (10, 10), (15, 15))])
    layer.layer.mode = "select"
    layer.layer.selected_data = {1}
    layer.pick_class(3)
    layer.change_selected(3)
    assert changes(layer) == ([Box(3, (10, 10), (15, 15))], [Box(2, (10, 10), (15, 15))])
    layer.layer.selected_data = {0}
    layer.change_selected(3)
    layer.layer.selected_data = set()
    layer.pick_class(2)
    layer.change_selected(2)
    add(layer.layer, 20, 20, 30, 30)
    new, gone = changes(layer)
    assert [box.class_id for box in new] == [3, 2]  # what is drawn next is of the class that is picked
    assert len(gone) == 1
    np.testing.assert_allclose(layer.layer.edge_color[2], (0xE6 / 255, 0x9F / 255, 0, 1), atol=1e-6)


def test_the_box_just_drawn_keeps_its_class_when_the_next_one_is_picked():
    layer = box_layer("YX")
    layer.draw(2)
    add(layer.layer, 5, 5, 20, 20)
    layer.layer.selected_data = {0}  # as napari leaves it
    layer.pick_class(3)
    layer.change_selected(3)
    assert layer.changes()[0] == [Box(2, (5, 5), (21, 21))]
    np.testing.assert_allclose(layer.layer.edge_color[0], (0xE6 / 255, 0x9F / 255, 0, 1), atol=1e-6)


def test_a_click_makes_no_box_and_a_pasted_one_counts():
    layer = box_layer("YX", [Box(2, (1, 1), (12, 12))])
    layer.draw(2)
    add(layer.layer, 20, 20, 22, 22)
    assert layer.changes() == ([], [])
    assert len(layer.layer.data) == 1
    layer.layer.mode = "select"
    layer.layer.selected_data = {0}
    layer.layer._copy_data()
    layer.layer._paste_data()
    assert layer.changes() == ([Box(2, (1, 1), (12, 12))], [])


def test_shapes_across_frames_and_without_area_make_no_box():
    layer = box_layer("ZYX")
    layer.layer.add(np.array([[0, 5, 1], [0, 5, 5], [3, 5, 5], [3, 5, 1.0]]), shape_type="rectangle")
    layer.layer.add(np.array([[1, 5, 1], [1, 5, 9.0]]), shape_type="line")
    assert layer.changes() == ([], [])
    layer.layer.add(np.array([[1, 5, 1], [1, 8, 9.0]]), shape_type="line")
    assert layer.changes() == ([Box(2, (1, 5, 1), (2, 9, 10))], [])


def test_boxes_of_a_class_that_is_not_there_wait_for_it():
    layer = box_layer("YX")
    layer.pick_class(4)
    add(layer.layer, 5, 5, 20, 20)
    assert layer.changes() == ([], [])
    layer.set_colors((*COLORS, "#ff0000"))
    assert layer.changes() == ([Box(4, (5, 5), (21, 21))], [])


STEPS = st.sampled_from(["draw", "draw", "delete", "move", "class", "ellipse", "end"])


@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=20, deadline=None)
@given(steps=st.lists(STEPS, max_size=8), spot=st.integers(2, 25), planes=st.lists(st.integers(0, 3), min_size=8))
def test_every_change_is_taken_back_and_done_again(ndim, steps, spot, planes):
    place = Placement((4, 40, 50)[-ndim:], None, {})
    first = Box(3, (1, 1, 1)[-ndim:], (3, 5, 5)[-ndim:])
    layer = BoxLayer("boxes", "cells", place, [first], spatial_ndim=ndim, colors=COLORS, on_touched=lambda: None)
    seen = [seen_of(layer)]
    for i, (step, plane) in enumerate(zip(steps, planes, strict=False)):
        layer.follow(plane)
        change(layer, step, spot + i, plane, ndim)
        layer.changes()
        layer.handed_on()
        if seen_of(layer) != seen[-1]:
            seen.append(seen_of(layer))
    for turn, states in ((layer.undo, seen[-2::-1]), (layer.redo, seen[1:])):
        for state in states:
            assert turn()
            layer.follow(0)
            layer.changes()
            layer.handed_on()
            assert seen_of(layer) == state
        assert not turn()


def seen_of(layer):
    return sorted(layer._known.elements(), key=repr), layer.drafts


def change(layer, step, spot, plane, ndim):
    shapes = layer.layer
    corners = np.array([[plane, spot, 3], [plane, spot, 20], [plane, 38, 20], [plane, 38, 3]], float)[:, -ndim:]
    shapes.mode = "select"
    shapes.selected_data = {len(shapes.data) - 1} if len(shapes.data) else set()
    if step in ("draw", "ellipse"):
        shapes.add(corners, shape_type="rectangle" if step == "draw" else "ellipse")
    elif step == "end" and ndim == 3:
        layer.end_here((), plane)
    elif step == "delete":
        shapes.remove_selected()
    elif step == "class":
        layer.change_selected(5 - int(shapes.features["class"].iloc[-1]) if len(shapes.data) else 2)
    elif step == "move" and len(shapes.data):
        shapes.data = [*shapes.data[:-1], shapes.data[-1] + np.eye(ndim)[-1]]


def test_after_something_new_nothing_is_done_again():
    layer = box_layer("YX")
    add(layer.layer, 5, 5, 20, 20)
    layer.changes()
    assert layer.undo()
    layer.changes()
    add(layer.layer, 8, 8, 30, 30)
    layer.changes()
    assert not layer.redo()
    np.testing.assert_allclose(layer.layer.edge_width, 1.0)


@pytest.fixture
def ready(qtbot, viewer, panel):
    viewer.add_image(two_discs(), name="cells", scale=(0.5, 0.5))
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    return panel


def add(layer, y0, x0, y1, x1):
    layer.add_rectangles(np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float))


def test_boxes_are_drawn_kept_on_disk_and_there_again(qtbot, viewer, ready, desk):
    bench, table = ready.controller.bench, ready.class_table
    table.boxes_button.click()
    layer = bench.current.boxes.layer
    assert viewer.layers.selection.active == layer
    assert layer.mode == "add_rectangle"
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    add(layer, 20, 24, 40, 46)
    add(layer, 50, 80, 70, 99)
    qtbot.waitUntil(lambda: table.value()[1].boxes == 2)
    layer.selected_data = {1}
    layer.remove_selected()
    qtbot.waitUntil(lambda: table.value()[1].boxes == 1)
    ready.controller.marking.pick(1)  # there is no box of the background: back to the brush
    assert viewer.layers.selection.active == bench.current.annotation
    assert not table.boxes_button.isChecked()
    ready.controller.marking.toggle_boxes()
    assert table.boxes_button.isChecked()
    path = desk.project.path
    ready.close()
    with Project.open(path) as project:
        assert project.images["cells"].annotations.boxes == (Box(2, (20, 24), (41, 47)),)


def test_a_project_with_boxes_shows_them(qtbot, tmp_path, viewer, panel):
    with Project.create(tmp_path / "p.weakseg", ["background", "cell"]) as project:
        image = project.add_image(two_discs(), name="cells", axes="YX")
        image.add_box("cell", (20, 24), (41, 47))
    panel.controller.projects.open(tmp_path / "p.weakseg")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    assert [layer.name for layer in viewer.layers][-1] == "boxes"
    np.testing.assert_allclose(panel.controller.bench.current.boxes.layer.data[0][0], (19.5, 23.5))
    assert panel.class_table.value()[1].boxes == 1


def test_what_was_deleted_comes_back_to_the_project(qtbot, viewer, ready):
    ready.controller.set_docked(True)
    ready.controller.marking.draw_boxes()
    bench, editing = ready.controller.bench, ready.controller.boxes
    layer = bench.current.boxes.layer
    add(layer, 20, 24, 40, 46)
    qtbot.waitUntil(lambda: len(bench.image.annotations.boxes) == 1)
    qtbot.waitUntil(lambda: bool(layer.keymap))
    assert {"Ctrl+Z", "Ctrl+Shift+Z"} <= {str(key) for key in layer.keymap}
    assert "E" not in {str(key) for key in layer.keymap}  # draws ellipses, in the plane
    layer.selected_data = {0}
    layer.remove_selected()
    editing.turn(back=True)
    assert bench.image.annotations.boxes == (Box(2, (20, 24), (41, 47)),)
    assert ready.class_table.value()[1].boxes == 1
    editing.turn(back=False)
    assert bench.image.annotations.boxes == ()
    editing.turn(back=False)
    assert viewer.status == "No change of boxes to do again."


def test_a_layer_of_boxes_that_was_removed_comes_back_with_them(qtbot, viewer, ready):
    ready.controller.marking.draw_boxes()
    canvas = ready.controller.bench.current
    add(canvas.boxes.layer, 20, 24, 40, 46)
    qtbot.waitUntil(lambda: ready.class_table.value()[1].boxes == 1)
    viewer.layers.remove(canvas.boxes.layer)
    ready.notices.press("removed")
    assert canvas.boxes.layer in viewer.layers
    assert ready.class_table.value()[1].boxes == 1
    assert len(ready.controller.bench.image.annotations.boxes) == 1


def test_a_box_and_a_stroke_of_background_start_the_training(qtbot, viewer, make_panel):
    ready = make_panel(lambda project: Session(project, device="cpu", threads=1))
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: ready.controller.bench.current is not None)
    ready.controller.marking.draw_boxes()
    canvas = ready.controller.bench.current
    add(canvas.boxes.layer, 20, 24, 40, 46)
    canvas.annotation.paint((80, 20), 1)
    qtbot.waitUntil(lambda: ready.controller.link.phase is Phase.TRAINING, timeout=60_000)


def test_a_moved_box_is_not_lost_when_the_disk_refuses(qtbot, ready, monkeypatch):
    ready.controller.marking.draw_boxes()
    bench = ready.controller.bench
    layer, image = bench.current.boxes.layer, bench.image
    add(layer, 20, 24, 40, 46)
    qtbot.waitUntil(lambda: len(image.annotations.boxes) == 1)

    def refuse(self):
        self.unsaved = True
        raise StorageError("The disk is full.", "Make room.")

    monkeypatch.setattr(Marks, "write", refuse)
    layer.data = [np.array([[50, 60], [50, 90], [70, 90], [70, 60]], float)]
    layer.events.data(value=layer.data, action="changed", data_indices=(0,), vertex_indices=((),))
    qtbot.waitUntil(lambda: "unsaved" in ready.notices.value())
    monkeypatch.undo()
    ready.notices.press("unsaved")
    assert image.annotations.boxes == (Box(2, (50, 60), (71, 91)),)
    path = bench.desk.project.path
    ready.close()
    with Project.open(path) as project:
        assert project.images["cells"].annotations.boxes == (Box(2, (50, 60), (71, 91)),)
