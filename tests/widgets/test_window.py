"""The main job in a real window, with the mouse and the real engine."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from conftest import two_discs
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase
from napari_weakseg.session import Session
from napari_weakseg.widgets.desk import annotation_of
from napari_weakseg.widgets.overlay import Role

pytestmark = pytest.mark.viewer

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def window(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 700)
    return viewer


@pytest.fixture
def dock(window, desk, qtbot):
    """Open the panel in a window with an image; returns (panel, hand)."""
    from mouse import Hand

    from napari_weakseg.widgets.panel import WeaksegPanel

    def make(make_session):
        panel = WeaksegPanel(window, make_session=make_session, desk=desk)
        window.window.add_dock_widget(panel, name="weakseg")
        window.add_image(two_discs(), name="cells")
        qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
        qtbot.waitUntil(lambda: panel.controller.keys.active)
        window.reset_view()
        panel.controller.bench.current.annotation.brush_size = 6
        return panel, Hand(window)

    return make


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == "weakseg-engine"]


def painted(panel):
    return annotation_of(panel.controller.bench.desk.project.images["cells"])


def mark(hand):
    """Two blobs and two strokes of background, with the class keys."""
    hand.press_key(Qt.Key.Key_2)
    hand.stroke((26, 32), (30, 38), (34, 34))
    hand.stroke((58, 86), (62, 92))
    hand.press_key(Qt.Key.Key_1)
    hand.stroke((85, 10), (85, 60))
    hand.stroke((10, 60), (10, 120))


def real_session(project):
    project.set_config(TrainConfig(patch_px=32, batch=2, width=4, rounds=1))
    return Session(project, device="cpu", threads=1)


def test_paint_train_see_undo_accept_pause_resume_save_close(qtbot, dock, tmp_path, monkeypatch):
    panel, hand = dock(real_session)
    canvas, link = panel.controller.bench.current, panel.controller.link
    path = panel.controller.bench.desk.project.path
    mark(hand)
    qtbot.waitUntil(lambda: link.phase is Phase.TRAINING, timeout=60_000)
    prediction = canvas.layers[Role.PREDICTION].data
    qtbot.waitUntil(lambda: prediction[30, 35] == 2 and prediction[85, 30] == 1, timeout=60_000)

    hand.press_key(Qt.Key.Key_2)
    hand.stroke((60, 100), (60, 102))
    qtbot.waitUntil(lambda: painted(panel)[60, 101] == 2)
    told = []
    link._session.annotations_changed = told.append
    hand.press_key(Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: painted(panel)[60, 101] == 0)
    assert told == ["cells"]
    del link._session.annotations_changed

    panel.train_box.pause.click()
    qtbot.waitUntil(lambda: link.phase is Phase.PAUSED, timeout=10_000)
    before = int((painted(panel) == 2).sum())
    canvas.show_block(Role.GROWN, (), (20, 20), np.full((30, 30), 2, np.uint8))
    hand.point_at((45, 45))
    hand.press_key(Qt.Key.Key_A)
    qtbot.waitUntil(lambda: (painted(panel) == 2).sum() > before)
    assert painted(panel)[45, 45] == 2
    hand.press_key(Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: (painted(panel) == 2).sum() == before)
    hand.press_key(Qt.Key.Key_T)
    qtbot.waitUntil(lambda: link.phase is Phase.TRAINING, timeout=10_000)

    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(results))
    qtbot.waitUntil(panel.save_box.one.isEnabled, timeout=10_000)
    hand.press_key(Qt.Key.Key_O, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: panel.save_box.words.text().startswith("Saved"), timeout=60_000)
    classes, ids = (tifffile.imread(results / f"cells_{what}.tif") for what in ("classes", "objects"))
    assert classes[30, 35] == 2
    assert ids[30, 35] > 0
    qtbot.waitUntil(lambda: link.phase is Phase.TRAINING, timeout=10_000)

    hand.stroke((20, 100), (20, 110))  # still in the window's memory when the dock is closed
    panel.close()
    assert not engine_threads()
    with Project.open(path) as project:
        assert annotation_of(project.images["cells"])[20, 105] == 2


def test_boxes_are_drawn_with_the_mouse_and_the_keys(qtbot, dock, make_session):
    panel, hand = dock(make_session)
    bench = panel.controller.bench
    hand.press_key(Qt.Key.Key_2)
    hand.press_key(Qt.Key.Key_R)
    hand.stroke((20, 24), (30, 30), (40, 46))
    qtbot.waitUntil(lambda: len(bench.image.annotations.boxes) == 1)
    (box,) = bench.image.annotations.boxes
    assert box.class_id == 2
    np.testing.assert_allclose(box.start + box.stop, (20, 24, 41, 47), atol=1)
    assert panel.class_table.boxes_button.isChecked()
    layer = bench.current.boxes.layer
    hand.stroke((80, 100), (80, 100))  # a click
    hand.press_key(Qt.Key.Key_P)  # a polygon, given up after its first corner
    hand.stroke((80, 60), (80, 60))
    hand.press_key(Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: len(layer.data) == len(layer.features) == 1)
    hand.press_key(Qt.Key.Key_R)
    hand.press_key(Qt.Key.Key_R)
    assert not panel.class_table.boxes_button.isChecked()
    hand.stroke((60, 90), (62, 92))
    qtbot.waitUntil(lambda: painted(panel)[61, 91] == 2)
    hand.press_key(Qt.Key.Key_M)
    assert bench.image.annotations.coverage_of(2) == "all objects"
    assert len(bench.image.annotations.boxes) == 1


def test_boxes_of_a_volume_are_drawn_in_a_plane_and_ended_at_two(qtbot, window, dock, make_session):
    panel, hand = dock(make_session)
    bench = panel.controller.bench
    bench.choose(window.add_image(np.stack([two_discs()] * 9), name="volume", axis_labels=("z", "y", "x")))
    panel.image_box.ndim_changed.emit(3)
    window.dims.set_current_step(0, 4)
    hand.press_key(Qt.Key.Key_R)
    qtbot.waitUntil(lambda: "E" in {str(key) for key in bench.current.boxes.layer.keymap})
    hand.stroke((12, 17), (30, 30), (48, 53))
    qtbot.waitUntil(lambda: "draft" in panel.notices.value())
    for plane in (2, 7):
        assert not bench.image.annotations.boxes
        window.dims.set_current_step(0, plane)
        hand.press_key(Qt.Key.Key_E)
    (box,) = bench.image.annotations.boxes
    np.testing.assert_allclose(box.start + box.stop, (2, 12, 17, 8, 49, 54), atol=1)
    layer = bench.current.boxes.layer
    for plane in range(9):
        window.dims.set_current_step(0, plane)
        assert len(layer._view_indices) == (2 <= plane < 8)
    hand.press_key(Qt.Key.Key_Z, CTRL)
    assert bench.image.annotations.boxes == ()
    hand.press_key(Qt.Key.Key_Z, CTRL | SHIFT)
    assert bench.image.annotations.boxes == (box,)


def test_closing_the_window_while_training_ends_the_thread_and_keeps_the_strokes(qtbot, window, dock, make_session):
    panel, hand = dock(make_session)
    path = panel.controller.bench.desk.project.path
    mark(hand)
    qtbot.waitUntil(lambda: panel.controller.link.phase is Phase.TRAINING, timeout=20_000)
    hand.stroke((50, 10), (50, 20))
    controller = panel.controller
    window.close()
    qtbot.waitUntil(lambda: controller._closed, timeout=20_000)
    assert not engine_threads()
    with Project.open(path) as project:
        assert annotation_of(project.images["cells"])[50, 15] == 1


def test_closing_the_dock_gives_the_keys_back(qtbot, window, dock, make_session):
    panel, hand = dock(make_session)
    hand.press_key(Qt.Key.Key_1)
    layer = panel.controller.bench.current.annotation
    assert layer.selected_label == 1
    window.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: panel.controller._closed)
    assert not engine_threads()
    assert layer not in window.layers
    window.add_layer(layer)
    hand.press_key(Qt.Key.Key_1)  # napari's own key again
    assert layer.mode == "erase"


def test_accepting_by_clicking_does_not_paint(qtbot, dock, make_session):
    panel, hand = dock(make_session)
    canvas = panel.controller.bench.current
    shown = np.ones((96, 128), np.uint8)
    shown[20:40, 20:50] = 2
    canvas.show_block(Role.PREDICTION, (), (0, 0), shown)
    qtbot.waitUntil(lambda: panel.accept_box.click.isEnabled())
    panel.accept_box.click.click()
    hand.stroke((30, 30))
    qtbot.waitUntil(lambda: (painted(panel) == 2).sum() == 600)
    hand.stroke((80, 80))  # no object there
    assert (canvas.annotation.data > 0).sum() == 600
    hand.press_key(Qt.Key.Key_1)
    assert not panel.accept_box.click.isChecked()
    hand.stroke((80, 80), (80, 84))
    qtbot.waitUntil(lambda: painted(panel)[80, 82] == 1)


@pytest.mark.parametrize("tool", ["paint", "erase", "another layer"])
def test_a_tool_that_is_picked_in_napari_ends_accepting_by_clicking(qtbot, window, dock, make_session, tool):
    panel, hand = dock(make_session)
    canvas = panel.controller.bench.current
    shown = np.ones((96, 128), np.uint8)
    shown[20:40, 20:50] = 2
    canvas.show_block(Role.PREDICTION, (), (0, 0), shown)
    qtbot.waitUntil(lambda: panel.accept_box.click.isEnabled())
    panel.accept_box.click.click()
    assert canvas.annotation.mode == "pan_zoom"
    if tool == "another layer":
        window.layers.selection.active = canvas.image
    else:
        canvas.annotation.mode = tool
    assert not panel.accept_box.click.isChecked()
    assert canvas.annotation.mode == ("erase" if tool == "erase" else "paint")
    hand.stroke((30, 30))
    assert (canvas.annotation.data > 0).sum() < 100
    assert (window.layers.selection.active == canvas.image) == (tool == "another layer")


def test_menus_and_commands_open_the_panel(qtbot, window, monkeypatch, tmp_path):
    from napari_weakseg.widgets import commands, desk

    monkeypatch.setattr(desk, "default_root", lambda: tmp_path)
    window.open_sample("napari-weakseg", "coins")
    assert window.layers[0].name == "coins"
    commands.train()
    panel = commands.find_panel(window)
    assert panel is not None
    assert panel.controller.bench.current.image.name == "coins"
    assert panel.controller.bench.desk.root == tmp_path
    commands.next_image()
    commands.accept()
    commands.find_objects()  # nothing is learned yet: nothing happens
    commands.save_results()
    assert not panel.controller.saving.busy
    window.window.remove_dock_widget(panel)


def test_a_process_killed_while_painting_keeps_every_stroke(tmp_path):
    program = Path(__file__).with_name("painter.py")
    strokes = []
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=program.parent
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            y, x, value = map(int, line.split())
            assert value == 2
            strokes.append((time.monotonic(), y, x))
            if len(strokes) == 60:
                process.kill()
                break
    killed = time.monotonic()
    (folder,) = tmp_path.iterdir()
    with Project.open(folder) as project:
        labels = annotation_of(project.images["cells"])
    old = [(y, x) for when, y, x in strokes if killed - when > 2]
    assert len(old) > 10
    assert all(labels[y, x] == 2 for y, x in old)
    recent = [(y, x) for when, y, x in strokes if killed - when <= 2]
    assert sum(labels[y, x] == 2 for y, x in recent) >= len(recent) - 8
