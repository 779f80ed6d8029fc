"""Results become files from the window: of one image or all, never over anything without asking."""

import csv
import time

import numpy as np
import pytest
import tifffile
from fakes import FakeTrainer
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_weakseg.engine.messages import Phase


def discs() -> np.ndarray:
    y, x = np.mgrid[:96, :128]
    inside = ((y - 48) ** 2 + (x - 30) ** 2 < 15**2) | ((y - 48) ** 2 + (x - 90) ** 2 < 12**2)
    return inside.astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    chosen = tmp_path / "results"
    chosen.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(chosen))
    return chosen


@pytest.fixture
def trained(qtbot, viewer, panel):
    viewer.add_image(discs(), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    layer = panel.controller.bench.current.annotation
    layer.brush_size = 6
    layer.paint((48, 30), 2)
    layer.paint((85, 10), 1)
    qtbot.waitUntil(lambda: panel.controller.link.phase is Phase.TRAINING, timeout=20_000)
    qtbot.waitUntil(panel.save_box.one.isEnabled, timeout=20_000)
    return panel


def saved(qtbot, panel, button):
    button.click()
    qtbot.waitUntil(lambda: panel.save_box.words.text().startswith("Saved"), timeout=20_000)


def test_before_anything_is_learned_nothing_can_be_saved(panel):
    assert not panel.save_box.one.isEnabled()
    assert not panel.save_box.all.isEnabled()


def test_classes_objects_and_a_table_are_saved(qtbot, trained, folder):
    saved(qtbot, trained, trained.save_box.one)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"cells_{end}" for end in ("classes.tif", "objects.tif", "objects.csv")
    )
    classes, ids = (tifffile.imread(folder / f"cells_{end}.tif") for end in ("classes", "objects"))
    assert set(np.unique(classes)) == {0, 2}
    np.testing.assert_array_equal(ids > 0, classes > 0)
    assert ids.max() == 2
    with (folder / "cells_objects.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["pixels"]) for row in rows] == np.bincount(ids.ravel())[1:].tolist()
    project = trained.controller.bench.desk.project
    assert not list(project.prediction_dir.iterdir())
    assert trained.save_box.one.isEnabled()
    qtbot.waitUntil(lambda: trained.controller.link.phase is Phase.TRAINING, timeout=20_000)


def test_without_objects_there_is_one_file(qtbot, trained, folder):
    trained.save_box.objects.setChecked(False)
    saved(qtbot, trained, trained.save_box.one)
    assert [path.name for path in folder.iterdir()] == ["cells_classes.tif"]


def test_all_images_are_saved_one_after_another(qtbot, trained, folder):
    project = trained.controller.bench.desk.project
    project.add_image(discs()[::-1], name="another", axes="YX")
    saved(qtbot, trained, trained.save_box.all)
    assert {path.name.partition("_")[0] for path in folder.iterdir()} == set(project.images)
    assert str(len(project.images)) in trained.save_box.words.text()


def test_an_image_that_is_gone_is_told_and_the_others_are_saved(qtbot, trained, folder, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(" ".join(given)))
    project = trained.controller.bench.desk.project
    tifffile.imwrite(tmp_path / "gone.tif", discs())
    project.add_image(tmp_path / "gone.tif")
    project.add_image(discs()[::-1], name="last", axes="YX")
    (tmp_path / "gone.tif").rename(tmp_path / "elsewhere.tif")
    trained.save_box.all.click()
    qtbot.waitUntil(lambda: bool(said), timeout=20_000)
    assert "gone.tif" in said[0]
    assert {path.name.partition("_")[0] for path in folder.iterdir()} == {"cells", "last"}
    assert trained.save_box.words.text().startswith("2 of 3 are saved")
    assert len(said) == 1
    trained.controller.projects.list_images()
    trained.controller.projects.go_next()  # passes by what cannot be shown
    assert trained.controller.bench.current.name == "last"


def test_a_paused_run_stays_so_while_results_are_saved(qtbot, trained, folder, monkeypatch):
    controller, classes = trained.controller, FakeTrainer._classes
    monkeypatch.setattr(FakeTrainer, "_classes", lambda *given: time.sleep(0.3) or classes(*given))
    controller.do("pause")
    qtbot.waitUntil(lambda: controller.link.phase is Phase.PAUSED, timeout=20_000)
    trained.save_box.one.click()
    qtbot.waitUntil(lambda: controller.link.phase is Phase.PREDICTING, timeout=20_000)
    assert controller.link.running
    assert not trained.train_box.train.isEnabled()
    controller.bench.current.annotation.paint((20, 70), 1)
    controller.bench.strokes.flush_all()
    qtbot.waitUntil(lambda: trained.save_box.words.text().startswith("Saved"), timeout=20_000)
    qtbot.waitUntil(lambda: controller.link.phase is Phase.PAUSED, timeout=20_000)


def test_what_is_there_is_replaced_only_when_the_person_says_so(qtbot, trained, folder, monkeypatch):
    file = folder / "cells_classes.tif"
    file.write_text("precious")
    asked = []
    answers = iter([QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes])
    monkeypatch.setattr(QMessageBox, "question", lambda *given: asked.append(given[-1]) or next(answers))
    trained.save_box.one.click()
    assert file.name in asked[0]
    assert file.read_text() == "precious"
    assert not trained.controller.saving.busy
    saved(qtbot, trained, trained.save_box.one)
    assert set(np.unique(tifffile.imread(file))) == {0, 2}


def test_a_folder_that_cannot_be_written_is_told(qtbot, trained, folder, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(given))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    trained.save_box.one.click()
    qtbot.waitUntil(lambda: bool(said), timeout=20_000)
    assert "the disk is full" in said[0][0]
    assert trained.save_box.words.text() == "Nothing was saved."
    qtbot.waitUntil(trained.save_box.one.isEnabled, timeout=20_000)
    assert len(said) == 1


def test_a_folder_name_that_is_too_long_is_told(trained, folder, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(given))
    trained.controller.saving.save(["cells"], folder / ("y" * 300))
    assert len(said) == 1
    assert not trained.controller.saving.busy
    assert trained.save_box.one.isEnabled()


def test_while_results_are_saved_the_project_stays(qtbot, trained, folder, monkeypatch):
    said, told = [], []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(given[0]))
    monkeypatch.setattr("napari_weakseg.widgets.messages.info", told.append)
    panel, controller = trained, trained.controller
    classes = FakeTrainer._classes
    monkeypatch.setattr(FakeTrainer, "_classes", lambda *given: time.sleep(0.3) or classes(*given))
    panel.train_box.auto.setChecked(False)
    controller.do("stop")
    qtbot.waitUntil(lambda: controller.link.phase is Phase.IDLE, timeout=20_000)
    assert panel.project_box.save_action.isEnabled()
    panel.save_box.one.click()
    qtbot.waitUntil(lambda: controller.link.phase is Phase.PREDICTING, timeout=20_000)
    assert not panel.project_box.save_action.isEnabled()
    assert not panel.save_box.one.isEnabled()
    controller.open_project()
    assert "saved" in told[-1]
    panel.close()
    assert "were not saved" in said[-1]


def test_a_stop_ends_it_and_the_same_can_be_asked_for_again(qtbot, trained, folder, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(given))
    trained.save_box.one.click()
    trained.controller.link.stop()
    qtbot.waitUntil(lambda: bool(said) or trained.save_box.words.text().startswith("Saved"), timeout=20_000)
    qtbot.waitUntil(trained.save_box.one.isEnabled, timeout=20_000)
    for file in folder.iterdir():
        file.unlink()
    saved(qtbot, trained, trained.save_box.one)
    assert len(list(folder.iterdir())) == 3
