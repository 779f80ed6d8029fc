"""The whole panel on a viewer model: no window, no OpenGL, a trainer without a network."""

from threading import Event

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from conftest import two_discs
from napari_weakseg.core import merging
from napari_weakseg.core.chunks import ChunkedArray
from napari_weakseg.core.errors import ImageError, StorageError
from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.axes import Guess
from napari_weakseg.widgets.desk import annotation_of
from napari_weakseg.widgets.overlay import Role


def painted(panel, name="cells"):
    """What is on disk, read by another reader than the window's."""
    return annotation_of(panel.controller.bench.desk.project.images[name])


@pytest.fixture
def ready(qtbot, viewer, panel):
    """Panel with an image chosen."""
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    return panel


def mark_two_classes(panel):
    layer = panel.controller.bench.current.annotation
    layer.brush_size = 8
    layer.paint((30, 35), 2)
    layer.paint((80, 20), 1)
    return layer


@pytest.fixture
def training(qtbot, ready):
    mark_two_classes(ready)
    qtbot.waitUntil(lambda: ready.controller.link.phase is Phase.TRAINING, timeout=20_000)
    return ready


def test_the_panel_opens_before_there_is_anything(panel):
    assert panel.controller.bench.current is None
    assert not panel.train_box.train.isEnabled()
    assert "Open an image" in panel.image_box.words.text()


def test_the_panel_opens_on_what_is_in_the_viewer(qtbot, viewer, make_panel):
    viewer.add_image(two_discs(), name="first")
    viewer.add_labels(np.zeros((96, 128), int), name="mine")
    panel = make_panel()
    assert panel.controller.bench.current.image.name == "first"
    assert [layer.name for layer in viewer.layers] == ["first", "mine", "prediction", "grown", "annotation"]
    assert viewer.layers.selection.active.name == "annotation"
    assert panel.image_box.words.text() == "96 × 128 pixels"


def test_training_starts_by_itself_when_two_classes_are_marked(qtbot, ready):
    layer = ready.controller.bench.current.annotation
    layer.paint((30, 35), 2)
    qtbot.waitUntil(lambda: painted(ready).any())
    assert ready.controller.link.phase is Phase.IDLE
    layer.paint((80, 20), 1)
    qtbot.waitUntil(lambda: ready.controller.link.phase is Phase.TRAINING, timeout=20_000)
    qtbot.waitUntil(lambda: "Learning from 1 blob" in ready.train_box.progress.text(), timeout=10_000)
    assert ready.train_box.device.text() == "Learning on a pretend device, 1 core"
    qtbot.waitUntil(lambda: len(ready.train_box.curve.value()[0]) > 1, timeout=10_000)


def test_the_tick_box_keeps_training_from_starting_by_itself(qtbot, ready):
    ready.train_box.auto.setChecked(False)
    mark_two_classes(ready)
    qtbot.waitUntil(lambda: painted(ready).any())
    qtbot.wait(100)
    assert ready.controller.link.phase is Phase.IDLE
    ready.train_box.auto.setChecked(True)
    qtbot.waitUntil(lambda: ready.controller.link.phase is Phase.TRAINING, timeout=20_000)


def test_the_prediction_appears_in_the_layer_that_was_there_before(qtbot, training):
    canvas = training.controller.bench.current
    data = canvas.layers[Role.PREDICTION].data
    qtbot.waitUntil(lambda: (data == 2).sum() > 1500, timeout=20_000)
    assert canvas.layers[Role.PREDICTION].data is data
    assert data[30, 35] == 2
    assert data[60, 90] == 2
    assert data[5, 5] == 1
    qtbot.waitUntil(lambda: canvas.layers[Role.GROWN].data[30, 35] == 2, timeout=10_000)
    assert training.accept_box.grown.isEnabled()


def test_after_save_as_the_prediction_still_appears(qtbot, ready, tmp_path):
    ready.controller.bench.save_as(tmp_path / "mine.weakseg")
    mark_two_classes(ready)
    prediction = ready.controller.bench.current.layers[Role.PREDICTION]
    qtbot.waitUntil(lambda: bool((prediction.data == 2).any()), timeout=10_000)


def test_suggestions_say_why_and_lead_there(qtbot, training, monkeypatch):
    gone = []
    monkeypatch.setattr(training.controller.bench.current, "go_to", gone.append)
    box = training.next_box
    qtbot.waitUntil(box.button.isEnabled, timeout=10_000)
    box.button.click()
    qtbot.waitUntil(lambda: box.list.topLevelItemCount() == 1, timeout=10_000)
    item = box.list.topLevelItem(0)
    assert [item.text(column) for column in range(3)] == ["cells", "blobs", "12 s"]
    assert box.words.text() == "“cells” looks new."
    box.list.itemClicked.emit(item, 0)
    assert gone == [[48, 64]]
    assert training.controller.link.phase is Phase.TRAINING


def test_before_anything_is_learned_there_is_nothing_to_suggest(ready):
    assert not ready.next_box.button.isEnabled()
    assert not ready.claims_box.review.isEnabled()


def test_a_labels_layer_is_taken_as_a_mask_that_may_be_wrong(qtbot, viewer, training, trainers):
    mask = np.zeros((96, 128), np.int32)
    mask[20:40, 20:50] = 2
    layer = viewer.add_labels(mask, name="from elsewhere")
    viewer.layers.selection.active = layer
    box, project = training.claims_box, training.controller.bench.desk.project
    box.trust.setCurrentIndex(box.trust.findData("imported"))
    trainers[-1].changed.clear()
    box.take.click()
    np.testing.assert_array_equal(project.images["cells"].annotations.claims["imported"][...], mask)
    np.testing.assert_array_equal(layer.data, mask)
    qtbot.waitUntil(lambda: "cells" in trainers[-1].changed, timeout=10_000)
    qtbot.waitUntil(box.review.isEnabled, timeout=10_000)
    box.review.click()
    qtbot.waitUntil(lambda: box.list.topLevelItemCount() == 1, timeout=10_000)
    assert box.list.topLevelItem(0).text(2) == "0.25"
    box.drop.click()
    assert not np.asarray(project.images["cells"].annotations.claims["imported"][...]).any()


@pytest.mark.parametrize("wrong", ["nothing selected", "another size", "no class"])
def test_a_mask_that_does_not_fit_is_told(viewer, ready, wrong, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *words: told.append(words))
    mask = np.full((96, 128) if wrong != "another size" else (5, 6), 7 if wrong == "no class" else 2)
    layer = viewer.add_labels(mask, name="mask")
    viewer.layers.selection.active = layer if wrong != "nothing selected" else ready.controller.bench.current.image
    ready.claims_box.take.click()
    ((problem, remedy, _),) = told
    assert problem
    assert remedy
    assert not ready.controller.bench.desk.project.images["cells"].annotations.claimed_region()


def test_an_undo_reaches_the_engine(qtbot, training, trainers):
    layer = training.controller.bench.current.annotation
    qtbot.waitUntil(lambda: painted(training)[30, 35] == 2)
    layer.paint((60, 90), 2)
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 2)
    qtbot.waitUntil(lambda: len(trainers[-1].changed) > 0, timeout=10_000)
    before = len(trainers[-1].changed)
    layer.undo()
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 0)
    qtbot.waitUntil(lambda: len(trainers[-1].changed) > before, timeout=10_000)


def test_accepting_everything_grown_can_be_undone_and_is_on_disk(qtbot, training):
    canvas = training.controller.bench.current
    qtbot.waitUntil(lambda: (canvas.layers[Role.GROWN].data == 2).any(), timeout=10_000)
    before = int((painted(training) == 2).sum())
    training.accept_box.grown.click()
    qtbot.waitUntil(lambda: (painted(training) == 2).sum() > before)
    canvas.annotation.undo()
    qtbot.waitUntil(lambda: (painted(training) == 2).sum() == before)


def test_pause_resume_and_stop_follow_the_buttons(qtbot, training):
    box, link = training.train_box, training.controller.link
    box.pause.click()
    qtbot.waitUntil(lambda: link.phase is Phase.PAUSED, timeout=5_000)
    assert box.pause.text() == "Resume"
    box.pause.click()
    qtbot.waitUntil(lambda: link.phase is Phase.TRAINING, timeout=5_000)
    box.stop.click()
    qtbot.waitUntil(lambda: link.phase is Phase.IDLE, timeout=5_000)
    assert box.train.isEnabled()
    training.controller.bench.current.annotation.paint((60, 90), 2)
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 2)
    qtbot.wait(200)
    assert link.phase is Phase.IDLE  # stopped by hand: a stroke does not start it again


def test_a_failure_is_told_and_training_starts_again(qtbot, training, trainers):
    trainers[-1].fail_with = RuntimeError("boom")
    qtbot.waitUntil(lambda: "failed" in training.notices.value(), timeout=10_000)
    qtbot.waitUntil(lambda: training.train_box.train.isEnabled())
    training.notices.press("failed")
    qtbot.waitUntil(lambda: training.controller.link.phase is Phase.TRAINING, timeout=20_000)
    assert "failed" not in training.notices.value()


def test_classes_are_added_renamed_recoloured_and_removed(qtbot, ready):
    table, bench = ready.class_table, ready.controller.bench
    table.add_button.click()
    assert [row.name for row in table.value()] == ["background", "object", "object 2"]
    assert bench.current.annotation.selected_label == 3
    table.renamed.emit(3, "debris")
    table.recolored.emit(3, "#ff0000")
    assert bench.desk.project.classes.names == ("background", "object", "debris")
    np.testing.assert_allclose(bench.current.annotation.get_color(3)[:3], (1, 0, 0))
    bench.current.annotation.paint((10, 10), 3)
    qtbot.waitUntil(lambda: table.value()[2].painted > 0)
    table.remove_button.click()
    assert len(table.value()) == 3  # in use
    bench.current.annotation.undo()
    qtbot.waitUntil(lambda: table.value()[2].painted == 0)
    table.remove_button.click()
    assert len(table.value()) == 2
    table.remove_button.click()
    assert len(table.value()) == 2  # two are the fewest


def test_another_project_takes_nothing_in_when_it_is_opened(qtbot, ready, tmp_path):
    with Project.create(tmp_path / "other.weakseg", ("background", "cell")) as other:
        other.add_image(two_discs(), name="inside", axes="YX").paint(np.full((4, 4), 2, np.uint8), start=(10, 10))
    ready.controller.bench.current.annotation.paint((30, 35), 7)  # no class: the layer is left to the person
    qtbot.waitUntil(lambda: "stray" in ready.notices.value())
    ready.controller.projects.open(tmp_path / "other.weakseg")
    qtbot.wait(300)
    assert list(ready.controller.bench.desk.project.images) == ["inside"]
    assert ready.controller.bench.current.name == "inside"


def test_an_image_that_comes_back_lies_below_its_marks(viewer, ready):
    canvas = ready.controller.bench.current
    viewer.layers.remove(canvas.image)
    canvas.bring_back()
    assert viewer.layers.index(canvas.image) < min(viewer.layers.index(layer) for layer in canvas.own_layers)


def test_a_name_that_is_taken_is_refused_and_the_old_one_shown(ready):
    ready.class_table.renamed.emit(2, "background")
    assert ready.class_table.value()[1].name == "object"


def test_a_name_that_was_refused_is_not_asked_for_again(qtbot, ready, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *text: told.append(text))
    field = ready.class_table._views[1].name
    for name in ("background", "cell"):
        field.setText(name)
        qtbot.keyClick(field, Qt.Key.Key_Return)
        field.editingFinished.emit()  # as when the focus leaves it
    assert len(told) == 1
    assert field.text() == ready.class_table.value()[1].name == "cell"


def test_coverage_and_tags_reach_the_project(ready):
    ready.class_table.coverage_changed.emit(2, "all objects")
    ready.class_table.tag_changed.emit(1, True)
    image = ready.controller.bench.image
    assert image.annotations.coverage_of(2) == "all objects"
    assert image.annotations.tags == {1: True}
    assert ready.class_table.value()[1].coverage == "all objects"
    assert ready.class_table.value()[0].tag is True


def test_contradicting_facts_are_shown_with_a_way_there(qtbot, training):
    training.class_table.tag_changed.emit(2, False)  # but it is painted
    qtbot.waitUntil(lambda: "conflict" in training.notices.value(), timeout=10_000)
    training.notices.press("conflict")
    center = training.controller.viewer.scene.camera.center[-2:]
    np.testing.assert_allclose(center, (30, 35), atol=6)
    training.class_table.tag_changed.emit(2, None)
    qtbot.waitUntil(lambda: "conflict" not in training.notices.value(), timeout=10_000)


def test_a_label_that_is_no_class_is_told_until_the_class_exists(qtbot, ready):
    ready.controller.bench.current.annotation.paint((30, 35), 3)
    qtbot.waitUntil(lambda: "stray" in ready.notices.value())
    assert not painted(ready).any()
    ready.class_table.add_button.click()
    qtbot.waitUntil(lambda: "stray" not in ready.notices.value())
    assert (painted(ready) == 3).any()


def test_removed_layers_lose_nothing_and_come_back(qtbot, viewer, training):
    canvas = training.controller.bench.current
    canvas.annotation.paint((60, 90), 2)
    viewer.layers.remove(canvas.annotation)
    viewer.layers.remove(canvas.image)
    qtbot.waitUntil(lambda: "removed" in training.notices.value())
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 2)
    assert training.controller.link.phase is Phase.TRAINING
    training.notices.press("removed")
    assert canvas.annotation in viewer.layers
    assert canvas.image in viewer.layers
    assert canvas.annotation.data[60, 90] == 2


def test_renaming_layers_while_training_changes_nothing(qtbot, viewer, training):
    canvas = training.controller.bench.current
    canvas.annotation.name, canvas.image.name = "my marks", "field 7"
    qtbot.waitUntil(lambda: training.image_box.images.currentText() == "field 7")
    canvas.annotation.paint((60, 90), 2)
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 2)
    assert training.controller.link.phase is Phase.TRAINING


def test_a_full_disk_is_told_and_saved_again_by_a_button(qtbot, ready, monkeypatch):
    def refuse(self):
        raise StorageError("The disk is full.", "Make room.")

    monkeypatch.setattr(ChunkedArray, "flush", refuse)
    ready.controller.bench.current.annotation.paint((30, 35), 2)
    qtbot.waitUntil(lambda: "unsaved" in ready.notices.value())
    assert "disk is full" in ready.notices.value()["unsaved"]
    monkeypatch.undo()
    ready.notices.press("unsaved")
    assert "unsaved" not in ready.notices.value()
    assert not ready.controller.bench.desk.project.unsaved


def test_an_image_without_numbers_is_told_in_words(qtbot, viewer, panel):
    pixels = two_discs()
    pixels[:10] = np.nan
    viewer.add_image(pixels, name="gaps")
    qtbot.waitUntil(lambda: "notes" in panel.notices.value())
    assert "no number" in panel.notices.value()["notes"]


def test_axes_can_be_changed_until_something_is_painted(qtbot, viewer, panel):
    viewer.add_image(np.random.default_rng(0).random((3, 40, 50), np.float32), name="three")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    assert "is that right?" in panel.image_box.words.text()
    assert panel.controller.bench.current.axes == "CYX"
    panel.image_box.axes_changed.emit("ZYX")
    canvas = panel.controller.bench.current
    assert canvas.axes == "ZYX"
    assert canvas.annotation.data.shape == (3, 40, 50)
    panel.image_box.ndim_changed.emit(3)
    assert panel.controller.bench.desk.project.ndim == 3
    assert len([layer for layer in viewer.layers if layer.name.startswith("annotation")]) == 1
    panel.controller.bench.current.annotation.paint((0, 5, 5), 2)
    qtbot.waitUntil(lambda: not panel.image_box.axes.isEnabled())


def test_channels_last_change_the_order_of_the_axes_for_their_image_only(qtbot, viewer, panel):
    bench = panel.controller.bench
    spectral = viewer.add_image(np.random.default_rng(0).random((96, 128, 5), np.float32), name="spectral")
    qtbot.waitUntil(lambda: bench.current is not None)
    assert panel.image_box.words.text().endswith("change Axes above.")
    panel.image_box.axes_changed.emit("YXC")
    assert viewer.dims.displayed == (0, 1)
    bench.current.annotation.paint((30, 35, 0), 2)
    bench.strokes.flush_all()
    flat = viewer.add_image(two_discs(), name="flat")
    with pytest.raises(ImageError):  # of one channel
        bench.choose(flat)
    bench.choose(spectral)
    other = viewer.add_image(np.random.default_rng(1).random((2, 5, 96, 128), np.float32), name="other")
    bench.begin(other, Guess("TCYX", True))
    assert viewer.dims.order == (0, 1, 2, 3)
    bench.choose(spectral)
    assert viewer.dims.displayed == (1, 2)
    viewer.layers.remove(spectral)
    assert viewer.dims.order == (0, 1, 2, 3)
    panel.notices.press("removed")
    assert viewer.dims.displayed == (1, 2)
    bench.canvases["spectral"].close(remove=True)
    assert viewer.dims.order == (0, 1, 2, 3)


def test_an_image_of_more_axes_than_have_a_meaning_is_told_in_words(qtbot, viewer, ready, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *text: told.append(text))
    viewer.add_image(np.zeros((2, 2, 2, 2, 32, 32), np.uint8), name="six")
    ready.controller.projects.list_images()
    ready.image_box.chosen.emit(1)
    assert "more axes" in told[0][0]
    assert ready.controller.bench.current.name == "cells"
    assert ready.image_box.images.currentText() == "cells"


def test_a_second_image_joins_the_project_and_is_shown_alone(qtbot, viewer, ready):
    ready.controller.bench.current.annotation.paint((30, 35), 2)
    qtbot.waitUntil(lambda: painted(ready).any())
    first = ready.controller.bench.current
    second = viewer.add_image(two_discs()[::-1], name="other")
    qtbot.waitUntil(lambda: ready.image_box.images.count() == 2)
    ready.image_box.chosen.emit(1)
    bench = ready.controller.bench
    assert bench.current.image is second
    assert list(bench.desk.project.images) == ["cells", "other"]
    assert not first.annotation.visible
    ready.image_box.chosen.emit(0)
    assert bench.current is first
    assert first.annotation.visible


def test_another_image_begins_anew_while_nothing_is_painted(qtbot, viewer, ready):
    old = ready.controller.bench.desk.project.path
    viewer.add_image(np.zeros((20, 30, 40), np.float32) + two_discs((30, 40)), name="stack")
    qtbot.waitUntil(lambda: ready.image_box.images.count() == 2)
    ready.image_box.chosen.emit(1)
    assert ready.controller.bench.desk.project.path != old
    assert not old.exists()
    assert ready.controller.bench.current.annotation.data.shape == (20, 30, 40)


def test_a_project_opens_with_its_image_marks_and_classes(qtbot, viewer, make_panel, tmp_path):
    project = Project.create(tmp_path / "mine.weakseg", ["background", "cell", "debris"])
    image = project.add_image(two_discs(), name="cells", axes="YX", pixel_size={"Y": (0.5, "µm"), "X": (0.5, "µm")})
    image.paint(np.full((4, 4), 3, np.uint8), start=(10, 10))
    project.close()
    panel = make_panel()
    panel.controller.projects.open(tmp_path / "mine.weakseg")
    canvas = panel.controller.bench.current
    assert canvas.image.name == "cells"
    np.testing.assert_allclose(canvas.image.scale, (0.5, 0.5))
    np.testing.assert_allclose(canvas.annotation.scale, (0.5, 0.5))
    assert (canvas.annotation.data == 3).sum() == 16
    assert [row.name for row in panel.class_table.value()] == ["background", "cell", "debris"]
    assert "mine.weakseg" in panel.project_box.path.toolTip()


def two_projects(tmp_path, monkeypatch):
    """Two projects on disk; the first is to be joined with the second."""
    for name, kind in (("cells", "cell"), ("fibres", "fibre")):
        with Project.create(tmp_path / f"{name}.weakseg", ["background", kind]) as project:
            image = project.add_image(two_discs(), name=name, axes="YX")
            image.paint(np.full((4, 4), 2, np.uint8), start=(10, 10))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "fibres.weakseg"))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "both"), ""))
    return tmp_path / "cells.weakseg"


def test_a_project_is_merged_with_another_from_the_menu(qtbot, viewer, make_panel, tmp_path, monkeypatch):
    panel = make_panel()
    panel.controller.projects.open(two_projects(tmp_path, monkeypatch))
    panel.project_box.merge_action.trigger()
    qtbot.waitUntil(lambda: not panel.controller.bench.aside.doing)
    assert [row.name for row in panel.class_table.value()] == ["background", "cell", "fibre"]
    assert "both.weakseg" in panel.project_box.path.toolTip()
    panel.controller.bench.open_image("fibres")
    assert (panel.controller.bench.current.annotation.data == 3).sum() == 16


@pytest.mark.parametrize("fails", [False, True])
def test_while_projects_are_joined_the_window_goes_on_and_nothing_is_painted(
    qtbot, viewer, make_panel, tmp_path, monkeypatch, fails
):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *text: told.append(" ".join(text)))
    panel, go_on, merge = make_panel(), Event(), merging.merge

    def waiting(*arguments, **settings):
        go_on.wait(20)
        if fails:
            raise StorageError("The disk is full.", "Make room.")
        return merge(*arguments, **settings)

    monkeypatch.setattr(merging, "merge", waiting)
    bench = panel.controller.bench
    panel.controller.projects.open(two_projects(tmp_path, monkeypatch))
    panel.project_box.merge_action.trigger()
    qtbot.waitUntil(lambda: "Joining the projects" in panel.train_box.progress.text())
    assert not bench.current.annotation.editable
    assert not panel.class_table.isEnabled()
    assert panel.notices.value() == {}
    qtbot.waitUntil(lambda: bool(bench.desk.project._folder.held))
    panel.controller.completeness.toggle()  # key M
    assert "while it is joined" in told.pop()
    assert not bench.image.annotations.rules
    go_on.set()
    qtbot.waitUntil(lambda: not bench.aside.doing)
    assert bench.desk.project.path.name == ("cells.weakseg" if fails else "both.weakseg")
    assert bench.current.annotation.editable
    assert [text.strip() for text in told] == (["The disk is full. Make room."] if fails else [])


def test_moved_images_are_told_and_found(qtbot, viewer, make_panel, tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    tifffile.imwrite(tmp_path / "old" / "cells.tif", two_discs())
    with Project.create(tmp_path / "mine.weakseg", ["background", "cell"]) as project:
        project.add_image(tmp_path / "old" / "cells.tif").paint(np.full((4, 4), 2, np.uint8), start=(10, 10))
    (tmp_path / "old").rename(tmp_path / "new")
    panel = make_panel()
    panel.controller.projects.open(tmp_path / "mine.weakseg")
    bench = panel.controller.bench
    assert bench.current is None
    assert "not where it was" in panel.notices.value()["missing"]
    images = panel.image_box.images
    assert [images.itemText(i) for i in range(images.count())] == ["cells (not found)"]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "new"))
    panel.project_box.find_action.trigger()
    qtbot.waitUntil(lambda: bench.current is not None)
    assert (bench.current.annotation.data == 2).sum() == 16
    assert "missing" not in panel.notices.value()
    assert images.currentText() == "cells"


def test_a_project_that_is_open_elsewhere_is_refused_in_words(qtbot, ready, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *text: told.append(" ".join(text)))
    (tmp_path / "nothing").mkdir()
    ready.controller.projects.open(tmp_path / "nothing")
    assert "no project" in told[0]
    assert ready.controller.bench.current is not None


def test_next_goes_to_a_slice_without_marks(qtbot, viewer, panel):
    viewer.add_image(np.random.default_rng(0).random((8, 40, 50), np.float32), name="stack")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    canvas = panel.controller.bench.current
    here = canvas.frame[0]
    canvas.annotation.data_setitem((np.array([here + 1]), np.array([5]), np.array([5])), 2)
    qtbot.waitUntil(lambda: canvas.bridge.known[here + 1].any())
    panel.controller.projects.go_next()
    assert canvas.frame == (here + 2,)


def test_a_volume_is_learned_as_a_volume(qtbot, viewer, panel):
    viewer.add_image(np.stack([two_discs()] * 4), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    assert panel.controller.bench.current.axes == "CYX"  # four planes could be anything
    panel.image_box.axes_changed.emit("ZYX")
    panel.image_box.ndim_changed.emit(3)
    layer = panel.controller.bench.current.annotation
    layer.paint((2, 30, 35), 2)
    layer.paint((1, 80, 20), 1)
    qtbot.waitUntil(lambda: panel.controller.link.phase is Phase.TRAINING, timeout=20_000)
    prediction = panel.controller.bench.current.layers[Role.PREDICTION].data
    shown = panel.controller.bench.current.shown[0].start
    qtbot.waitUntil(lambda: prediction[shown, 60, 90] == 2, timeout=20_000)


def test_a_large_image_is_taken_in_without_stopping_the_window(qtbot, viewer, panel):
    pixels = np.zeros((1400, 1400), np.float32)
    pixels[:96, :128] = two_discs()
    viewer.add_image(pixels, name="cells")
    qtbot.waitUntil(lambda: "Taking “cells”" in panel.train_box.progress.text())
    assert not panel.train_box.train.isEnabled()
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None, timeout=20_000)
    panel.controller.bench.current.annotation.paint((30, 35), 2)
    qtbot.waitUntil(lambda: painted(panel).any())


def test_closing_while_a_large_image_is_taken_in_does_no_harm(qtbot, viewer, panel):
    viewer.add_image(np.random.default_rng(0).random((1400, 1400), np.float32), name="cells")
    qtbot.waitUntil(lambda: bool(panel.controller.bench.aside.doing))
    panel.close()
    assert panel.controller.bench.desk.project is None


def test_keys_are_there_only_while_the_panel_is_open(qtbot, viewer, ready):
    from app_model.types import KeyCode

    ready.controller.set_docked(True)
    canvas = ready.controller.bench.current
    assert KeyCode.KeyT in [key.parts[0].key for key in viewer.keymap]
    digit = next(call for key, call in canvas.annotation.keymap.items() if str(key) == "1")
    digit(canvas.annotation)
    assert canvas.annotation.selected_label == 1
    ready.close()
    assert not viewer.keymap
    assert not canvas.annotation.keymap


def test_closing_hands_on_the_last_stroke_and_ends_the_thread(qtbot, training):
    import threading

    canvas = training.controller.bench.current
    path = training.controller.bench.desk.project.path
    canvas.annotation.paint((60, 90), 2)
    training.close()
    assert not [t for t in threading.enumerate() if t.name == "weakseg-engine"]
    with Project.open(path) as project:
        assert annotation_of(project.images["cells"])[60, 90] == 2
    canvas.annotation.paint((10, 10), 2)  # nobody listens any more


def test_closing_twice_and_acting_afterwards_does_no_harm(ready):
    ready.close()
    ready.controller.close()
    ready.controller.do("train")
    ready.train_box.train.click()


def test_settings_are_saved_with_the_project(ready):
    box = ready.settings
    box.orientation.setCurrentIndex(1)
    box.orientation.activated.emit(1)
    assert ready.controller.bench.desk.project.config.orientation == "fixed"


def test_holding_a_key_hides_what_the_machine_shows(ready):
    canvas = ready.controller.bench.current
    hold = ready.controller._hold_to_hide(None)
    next(hold)
    assert not any(layer.visible for layer in canvas.results())
    assert next(hold, None) is None
    assert all(layer.visible for layer in canvas.results())


def question(panel):
    return panel.notices.value().get("all marked", "")


def test_the_panel_asks_whether_everything_is_marked_and_takes_yes_for_an_answer(qtbot, viewer, training):
    qtbot.waitUntil(lambda: "every “object” in this image" in question(training), timeout=10_000)
    image, row = training.controller.bench.image, lambda: training.class_table.value()[1]
    training.notices.press("all marked")
    assert not question(training)
    assert image.annotations.coverage_of(2) == row().coverage == "all objects"
    assert "every “object”" in viewer.status
    training.controller.completeness.toggle()  # taken back
    assert image.annotations.coverage_of(2) == row().coverage == "some"
    assert not question(training)


def test_whoever_says_not_yet_is_asked_again_about_other_classes_only(qtbot, training):
    qtbot.waitUntil(lambda: bool(question(training)), timeout=10_000)
    training.notices.press("all marked", 1)
    assert not question(training)
    layer = training.controller.bench.current.annotation
    layer.paint((60, 90), 2)
    qtbot.waitUntil(lambda: painted(training)[60, 90] == 2)
    assert not question(training)
    assert training.controller.bench.image.annotations.coverage_of(2) == "some"
    training.class_table.add_button.click()
    layer.paint((10, 10), 3)
    qtbot.waitUntil(lambda: "every “object” and every “object 2”" in question(training), timeout=10_000)


def test_the_statement_leaves_what_is_exact_as_it_is(qtbot, ready):
    ready.class_table.coverage_changed.emit(2, "exact")
    image, completeness = ready.controller.bench.image, ready.controller.completeness
    ready.controller.bench.current.annotation.paint((30, 35), 2)
    qtbot.waitUntil(lambda: painted(ready)[30, 35] == 2)
    completeness.toggle()
    assert image.annotations.coverage_of(2) == "exact"
    image.coverage("object", "some")
    image.coverage("object", "exact", (0, 0), (10, 10))
    completeness.toggle()
    assert image.annotations.coverage_of(2, (slice(0, 5), slice(0, 5))) == "exact"


def add_stack(qtbot, viewer, panel):
    """Show four time points; returns the image of the project."""
    viewer.add_image(np.stack([two_discs()] * 4), name="stack", axis_labels=("t", "y", "x"))
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    return panel.controller.bench.image


def go_to(qtbot, viewer, panel, time_point):
    viewer.dims.set_current_step(0, time_point)
    qtbot.waitUntil(lambda: panel.controller.marking._frame == (time_point,))


def test_in_a_stack_the_statement_holds_for_the_slice_on_screen(qtbot, viewer, panel):
    image = add_stack(qtbot, viewer, panel)
    panel.controller.completeness.toggle()  # nothing is painted: says so, and says nothing of the image
    assert not image.annotations.rules
    viewer.dims.set_current_step(0, 1)
    panel.controller.bench.current.annotation.paint((1, 30, 35), 2)
    qtbot.waitUntil(lambda: painted(panel, "stack")[1, 30, 35] == 2)
    panel.controller.completeness.toggle()
    of = [image.annotations.coverage_of(2, image.frame_region((i,))) for i in range(4)]
    assert of == ["some", "all objects", "some", "some"]
    assert panel.class_table.value()[1].coverage is None


def shown_tag(panel):
    row = panel.class_table.value()[1]
    return row.tag, row.image_tag


def test_in_a_stack_a_tag_is_of_the_slice_on_screen(qtbot, viewer, panel):
    image = add_stack(qtbot, viewer, panel)
    table = panel.class_table
    go_to(qtbot, viewer, panel, 1)
    assert table.value()[1].here == "time point"
    table.tag_changed.emit(2, True)
    assert image.annotations.frame_tags == {(1,): {2: True}}
    assert shown_tag(panel) == (True, None)
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: shown_tag(panel) == (None, None))
    table.tag_changed.emit(2, False)
    assert image.annotations.frame_tags == {(1,): {2: True}, (2,): {2: False}}
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: shown_tag(panel) == (True, None))


def test_a_tag_of_a_whole_stack_is_shown_in_each_slice(qtbot, viewer, panel):
    image = add_stack(qtbot, viewer, panel)
    table = panel.class_table
    go_to(qtbot, viewer, panel, 0)
    table.ruled_out.emit(2)
    assert image.annotations.tags == {2: False}
    assert shown_tag(panel) == (None, False)
    table.tag_changed.emit(2, True)  # of this slice
    assert shown_tag(panel) == (True, None)
    assert image.annotations.tags_of((0,)) == {2: True}
    assert image.annotations.tags_of((1,)) == {2: False}
    table.tag_changed.emit(2, None)  # of this slice
    assert shown_tag(panel) == (None, False)
    table.tag_changed.emit(2, None)  # of the image, as is shown
    assert shown_tag(panel) == (None, None)
    assert not image.annotations.used_classes()
