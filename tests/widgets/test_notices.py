"""Notices hold for the project and the image at hand; what is said in passing is true."""

import numpy as np
import pytest

from conftest import two_discs
from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase


@pytest.fixture
def ready(qtbot, viewer, panel):
    panel.train_box.auto.setChecked(False)
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    return panel


def another(viewer, name="two"):
    return viewer.add_image(np.random.default_rng(len(name)).random((96, 128), np.float32), name=name)


def mark(panel, class_id, place):
    panel.controller.bench.current.annotation.paint(place, class_id)
    panel.controller.bench.strokes.flush_all()


def test_contradictions_of_one_project_are_not_shown_in_another(viewer, ready, tmp_path):
    mark(ready, 2, (30, 35))
    ready.controller.projects.show_conflicts("cells", 20)
    assert "conflict" in ready.notices.value()
    with Project.create(tmp_path / "other.weakseg", ["background", "thing"]) as other:
        other.add_image(two_discs(), name="field", axes="YX")
    ready.controller.projects.open(tmp_path / "other.weakseg")
    assert "conflict" not in ready.notices.value()
    ready.controller.projects.show_conflicts("field", 3)
    assert "cells" not in ready.notices.value()["conflict"]


def test_a_label_that_is_no_class_is_told_for_its_image_and_the_classes_there_are(qtbot, viewer, ready):
    bench = ready.controller.bench
    mark(ready, 2, (30, 35))
    mark(ready, 4, (60, 90))
    assert "there are 2" in ready.notices.value()["stray"]
    ready.class_table.added.emit()
    assert "there are 3" in ready.notices.value()["stray"]
    bench.choose(another(viewer))
    assert "stray" not in ready.notices.value()
    bench.choose(viewer.layers["cells"])
    assert "there are 3" in ready.notices.value()["stray"]
    ready.class_table.added.emit()
    assert "stray" not in ready.notices.value()


def test_n_goes_to_an_image_without_marks(qtbot, viewer, ready, monkeypatch):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.info", told.append)
    controller = ready.controller
    mark(ready, 2, (30, 35))
    controller.bench.choose(another(viewer))
    mark(ready, 2, (30, 35))
    another(viewer, "third")
    controller.bench.choose(viewer.layers["cells"])
    qtbot.waitUntil(lambda: ready.image_box.images.count() == 3)
    controller.projects.go_next()
    assert controller.bench.current.name == "third"
    mark(ready, 2, (30, 35))
    controller.projects.go_next()
    assert controller.bench.current.name == "third"
    assert "Every image has marks" in told[-1]


@pytest.mark.parametrize(("auto", "words"), [(True, "next stroke"), (False, "Press Train")])
def test_changed_classes_say_how_learning_goes_on(qtbot, ready, monkeypatch, auto, words):
    told = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.info", told.append)
    mark(ready, 2, (30, 35))
    mark(ready, 1, (80, 20))
    ready.controller.do("train")
    qtbot.waitUntil(lambda: ready.controller.link.phase is Phase.TRAINING, timeout=20_000)
    ready.train_box.auto.setChecked(auto)
    ready.class_table.added.emit()
    assert words in told[-1]
