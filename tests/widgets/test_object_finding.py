"""Objects of the slice on screen: found once, told apart by sliders at once, shown in a layer of their own."""

import csv

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.overlay import KEY


def touching() -> np.ndarray:
    """Two bright discs that touch, and a speck."""
    y, x = np.mgrid[:96, :128]
    inside = ((y - 48) ** 2 + (x - 40) ** 2 < 20**2) | ((y - 48) ** 2 + (x - 74) ** 2 < 20**2)
    inside[10:13, 110:113] = True
    return inside.astype(np.float32)


@pytest.fixture
def trained(qtbot, viewer, panel):
    viewer.add_image(touching(), name="cells", scale=(0.5, 0.5))
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    layer = panel.controller.bench.current.annotation
    layer.brush_size = 6
    layer.paint((48, 40), 2)
    layer.paint((85, 10), 1)
    qtbot.waitUntil(lambda: panel.controller.link.phase is Phase.TRAINING, timeout=20_000)
    qtbot.waitUntil(panel.objects_box.button.isEnabled, timeout=20_000)
    return panel


def objects_layer(viewer):
    return next((layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("role") == "objects"), None)


def find(qtbot, panel):
    panel.objects_box.words.setText("")
    panel.objects_box.button.click()
    qtbot.waitUntil(lambda: "in “cells”" in panel.objects_box.words.text(), timeout=20_000)


def test_before_anything_is_learned_there_is_nothing_to_find(panel):
    assert not panel.objects_box.button.isEnabled()
    assert panel.objects_box.split.isHidden() or not panel.objects_box.split.isVisibleTo(panel.objects_box)


def test_objects_get_a_layer_that_lies_over_the_image_and_the_brush_stays(qtbot, viewer, trained):
    active = viewer.layers.selection.active
    find(qtbot, trained)
    layer = objects_layer(viewer)
    assert layer.data.dtype == np.int32
    assert layer.data[48, 40] != layer.data[48, 74]
    assert (layer.data > 0).sum() == touching().sum()
    np.testing.assert_array_equal(layer.scale, (0.5, 0.5))
    assert not layer.editable
    assert viewer.layers.selection.active is active
    assert trained.objects_box.words.text() == "3 objects in “cells”"
    assert trained.controller.link.phase is Phase.TRAINING


def test_the_sliders_act_without_predicting_again(qtbot, viewer, trained, trainers, monkeypatch):
    find(qtbot, trained)
    monkeypatch.setattr(trained.controller.link, "find_objects", lambda *_: pytest.fail("predicted again"))
    box = trained.objects_box
    box.split.setValue(0)
    qtbot.waitUntil(lambda: box.words.text() == "2 objects in “cells”", timeout=5_000)
    layer = objects_layer(viewer)
    assert layer.data[48, 40] == layer.data[48, 74]
    box.smallest.setValue(10)
    qtbot.waitUntil(lambda: box.words.text() == "1 object in “cells”", timeout=5_000)
    assert layer.data[11, 111] == 0
    assert objects_layer(viewer) is layer


def test_values_that_a_person_set_stay_for_the_next_search(qtbot, trained):
    find(qtbot, trained)
    trained.objects_box.split.setValue(0)
    qtbot.waitUntil(lambda: trained.objects_box.words.text().startswith("2"), timeout=5_000)
    find(qtbot, trained)
    assert trained.objects_box.split.value() == 0


def test_the_smallest_size_is_as_marked_until_a_number_is_set_for_all_classes(qtbot, trained):
    find(qtbot, trained)
    box = trained.objects_box
    assert box.value()[1] is None
    assert box.smallest.text().startswith("as marked")
    box.tell_marked([400, 9])
    assert box.smallest.text() == "as marked (9–400)"
    box.smallest.setValue(10)
    qtbot.waitUntil(lambda: box.words.text().startswith("2"), timeout=5_000)
    assert trained.controller.finding.chosen[1] == 10


def test_a_layer_that_was_deleted_comes_back_with_the_next_search(qtbot, viewer, trained):
    find(qtbot, trained)
    viewer.layers.remove(objects_layer(viewer))
    find(qtbot, trained)
    assert objects_layer(viewer).data.max() == 3


def test_the_table_is_of_what_is_shown(qtbot, trained, tmp_path, monkeypatch):
    find(qtbot, trained)
    trained.objects_box.smallest.setValue(10)
    qtbot.waitUntil(lambda: trained.objects_box.words.text().startswith("2"), timeout=5_000)
    path = tmp_path / "table.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    trained.objects_box.table.click()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["object", "object"]
    assert sum(int(row["pixels"]) for row in rows) == touching().sum() - 9
    assert float(rows[0]["y"]) == pytest.approx(48, abs=1)


def test_a_table_that_cannot_be_written_is_told(qtbot, trained, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *words: told.append(words))
    find(qtbot, trained)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "file" / "table.csv"), ""))
    trained.objects_box.table.click()
    assert "cannot be written" in told[0][0]


def test_another_project_takes_the_objects_away(qtbot, viewer, trained, tmp_path):
    find(qtbot, trained)
    Project.create(tmp_path / "other.weakseg", ["background", "cell"]).close()
    trained.controller.bench.open_project(tmp_path / "other.weakseg")
    assert objects_layer(viewer) is None
    assert trained.objects_box.words.text() == ""


def test_objects_are_shown_and_moved_with_their_image(qtbot, viewer, trained):
    find(qtbot, trained)
    bench, image, found = trained.controller.bench, viewer.layers["cells"], objects_layer(viewer)
    image.scale = (3, 3)
    assert tuple(found.scale) == (3, 3)
    bench.choose(viewer.add_image(touching()[::-1].copy(), name="other"))
    assert not found.visible
    trained.objects_box.setValue(0.1, 5)
    trained.controller.finding.show()  # the sliders act on it still
    assert not found.visible
    bench.choose(image)
    assert found.visible


def test_a_copy_that_a_person_made_of_the_objects_stays(qtbot, viewer, trained, tmp_path):
    find(qtbot, trained)
    found = objects_layer(viewer)
    copy = viewer.add_labels(found.data.copy(), name="corrected", metadata=dict(found.metadata))
    copy.data[:3, :3] = 99
    trained.controller.bench.save_as(tmp_path / "copy.weakseg")
    assert copy in viewer.layers
    assert found in viewer.layers
    trained.controller.link.stop()
    qtbot.waitUntil(lambda: not trained.controller.link.running, timeout=20_000)
    Project.create(tmp_path / "other.weakseg", ["background", "cell"]).close()
    trained.controller.bench.open_project(tmp_path / "other.weakseg")
    assert found not in viewer.layers
    assert copy in viewer.layers
    assert (copy.data[:3, :3] == 99).all()


def test_the_frame_on_screen_is_looked_at(qtbot, viewer, panel):
    viewer.add_image(np.stack([touching(), touching()[::-1]]), name="cells", axis_labels=("t", "y", "x"))
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    viewer.dims.set_current_step(0, 1)
    layer = panel.controller.bench.current.annotation
    layer.brush_size = 6
    layer.paint((1, 48, 40), 2)
    layer.paint((1, 85, 10), 1)
    qtbot.waitUntil(panel.objects_box.button.isEnabled, timeout=20_000)
    find(qtbot, panel)
    found = objects_layer(viewer)
    assert found.data.shape == (2, 96, 128)
    assert not found.data[0].any()
    assert found.data[1].max() == 3
    assert panel.objects_box.words.text().endswith(", slice 1")


def test_a_share_that_is_shown_is_given_back_and_all_of_the_slider_is_of_use(qtbot, trained):
    box = trained.objects_box
    for share in (0.0, 0.5, 0.9, 0.95, 1.0):
        box.setValue(share, None)
        assert box.value()[0] == share
    box.split.setValue(box.split.maximum() // 2)
    assert box.value()[0] == 0.75
