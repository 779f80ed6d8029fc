"""A panel that is closed and opened again, and images that come back: the marks are still theirs."""

import numpy as np
import pytest

from conftest import two_discs
from napari_weakseg.core.errors import StorageError
from napari_weakseg.core.project import Project
from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.desk import annotation_of


def marks(panel, name="cells"):
    return annotation_of(panel.controller.bench.desk.project.images[name])


@pytest.fixture
def marked(qtbot, viewer, panel):
    """Panel with a mark on an image."""
    panel.train_box.auto.setChecked(False)
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    panel.controller.bench.current.annotation.paint((30, 35), 2)
    qtbot.waitUntil(lambda: marks(panel).any())
    return panel


def test_closing_takes_our_layers_out_and_opening_again_brings_the_marks_back(qtbot, viewer, marked, make_panel):
    path, before = marked.controller.bench.desk.project.path, marks(marked)
    marked.close()
    assert [layer.name for layer in viewer.layers] == ["cells"]
    again = make_panel()
    assert again.controller.bench.desk.project.path == path
    assert list(again.controller.bench.desk.project.images) == ["cells"]
    np.testing.assert_array_equal(again.controller.bench.current.annotation.data, before)
    again.controller.bench.current.annotation.paint((60, 90), 2)
    qtbot.waitUntil(lambda: marks(again)[60, 90] == 2)


def test_paint_that_is_no_class_is_left_to_the_person_when_the_panel_closes(qtbot, viewer, marked, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(" ".join(given)))
    marked.controller.bench.current.annotation.paint((60, 90), 7)
    marked.close()
    assert [layer.name for layer in viewer.layers] == ["cells", "not all saved · cells"]
    assert viewer.layers[-1].data[60, 90] == 7
    assert "not all saved · cells" in said[0]


def test_all_images_of_a_closed_panel_find_their_marks(qtbot, viewer, marked, make_panel):
    bench = marked.controller.bench
    bench.choose(viewer.add_image(two_discs()[::-1].copy(), name="two"))
    bench.current.annotation.paint((10, 10), 1)
    marked.close()
    again = make_panel()
    bench = again.controller.bench
    assert bench.current.name == "two"
    assert sorted(name for name, _ in bench.entries()) == ["cells", "two"]
    bench.choose(viewer.layers["cells"])
    assert sorted(bench.desk.project.images) == ["cells", "two"]
    assert bench.current.annotation.data[30, 35] == 2


def test_an_image_that_is_new_since_the_panel_was_closed_joins_the_project(qtbot, viewer, marked, make_panel):
    marked.close()
    viewer.add_image(two_discs()[:, ::-1].copy(), name="new")
    again = make_panel()
    assert again.controller.bench.current.name == "cells"
    again.controller.bench.choose(viewer.layers["new"])
    assert list(again.controller.bench.desk.project.images) == ["cells", "new"]


@pytest.mark.parametrize(
    ("shape", "axes"), [((96, 128), "YX"), ((3, 96, 128), "ZYX"), ((2, 3, 30, 40), "CZYX"), ((30, 40, 3), "YXC")]
)
def test_an_image_that_was_deleted_and_opened_again_has_its_marks(qtbot, viewer, panel, shape, axes):
    panel.train_box.auto.setChecked(False)
    pixels = (np.random.default_rng(0).random(shape) * 255).astype(np.uint8)
    rgb = axes == "YXC"
    settings = {"name": "cells", "rgb": rgb, "axis_labels": tuple(axes[:2] if rgb else axes)}
    viewer.add_image(pixels, **settings)
    qtbot.waitUntil(lambda: panel.controller.bench.current is not None)
    bench = panel.controller.bench
    layer = bench.current.annotation
    layer.data_setitem(tuple(np.array([1]) for _ in layer.data.shape), 2)
    qtbot.waitUntil(lambda: marks(panel).any())
    viewer.layers.clear()
    viewer.add_image(pixels, **settings)
    qtbot.waitUntil(lambda: bench.current.image in viewer.layers)
    assert list(bench.desk.project.images) == ["cells"]
    assert bench.current.annotation.data[(1,) * layer.ndim] == 2
    assert "removed" not in panel.notices.value()
    assert [name for name, _ in bench.entries()] == ["cells"]


def test_another_image_of_the_same_name_is_another_image(qtbot, viewer, marked):
    bench = marked.controller.bench
    viewer.layers.clear()
    viewer.add_image(two_discs()[::-1].copy(), name="cells")
    qtbot.waitUntil(lambda: bench.current.image in viewer.layers)
    assert list(bench.desk.project.images) == ["cells", "cells-2"]
    assert not bench.current.annotation.data.any()


def test_choosing_an_image_brings_its_removed_layers_back(qtbot, viewer, marked):
    bench = marked.controller.bench
    one = bench.current
    bench.choose(viewer.add_image(two_discs()[::-1].copy(), name="two"))
    viewer.layers.remove(one.annotation)
    bench.choose(viewer.layers["cells"])
    assert one.annotation in viewer.layers
    assert viewer.layers.selection.active == one.annotation
    assert one.annotation.visible


def test_a_project_that_was_saved_by_name_takes_the_next_image(qtbot, viewer, panel, tmp_path):
    bench = panel.controller.bench
    viewer.add_image(two_discs(), name="one")
    qtbot.waitUntil(lambda: bench.current is not None)
    bench.save_as(tmp_path / "study.weakseg")
    bench.choose(viewer.add_image(np.stack([two_discs()] * 9), name="two"))
    assert bench.desk.project.path == tmp_path / "study.weakseg"
    assert list(bench.desk.project.images) == ["one", "two"]


def test_a_project_that_was_saved_by_name_becomes_one_of_volumes_where_it_is(qtbot, viewer, panel, tmp_path):
    bench = panel.controller.bench
    viewer.add_image(np.stack([two_discs()] * 9), name="stack", axis_labels=("z", "y", "x"))
    qtbot.waitUntil(lambda: bench.current is not None)
    bench.save_as(tmp_path / "study.weakseg")
    panel.image_box.ndim_changed.emit(3)
    project = bench.desk.project
    assert (project.path, project.ndim, list(project.images)) == (tmp_path / "study.weakseg", 3, ["stack"])
    assert bench.current.spatial_ndim == 3
    panel.image_box.axes_changed.emit("TYX")
    project = bench.desk.project
    assert (project.path, project.ndim) == (tmp_path / "study.weakseg", 2)
    assert [image.axes for image in project.images.values()] == ["TYX"]
    bench.current.annotation.data_setitem((np.array([1]), np.array([2]), np.array([3])), 2)
    qtbot.waitUntil(lambda: marks(panel, "stack").any())


def test_volumes_are_refused_where_a_flat_image_is_and_nothing_changes(qtbot, viewer, panel, tmp_path):
    bench = panel.controller.bench
    viewer.add_image(two_discs(), name="flat")
    qtbot.waitUntil(lambda: bench.current is not None)
    bench.save_as(tmp_path / "study.weakseg")
    bench.choose(viewer.add_image(np.stack([two_discs()] * 9), name="stack", axis_labels=("z", "y", "x")))
    panel.image_box.ndim_changed.emit(3)
    assert bench.desk.project.path == tmp_path / "study.weakseg"
    assert (bench.current.name, bench.current.spatial_ndim) == ("stack", 2)
    assert list(bench.desk.project.images) == ["flat", "stack"]


def test_erasing_all_marks_while_learning_leaves_no_half_project(qtbot, viewer, marked):
    bench, link = marked.controller.bench, marked.controller.link
    old = bench.desk.project.path
    bench.current.annotation.paint((80, 20), 1)
    bench.strokes.flush_all()
    marked.controller.do("train")
    qtbot.waitUntil(lambda: link.phase == "training", timeout=20_000)
    bench.current.annotation.data[:] = 0
    bench.current.annotation.refresh()
    bench.strokes.flush_all()
    bench.choose(viewer.add_image(two_discs()[::-1].copy(), name="three"))
    assert bench.desk.project.path != old
    assert not old.exists()


def test_paint_that_is_no_class_is_left_to_the_person_when_its_image_comes_back(qtbot, viewer, marked, monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(" ".join(given)))
    bench = marked.controller.bench
    bench.current.annotation.paint((60, 90), 7)
    bench.strokes.flush_all()
    viewer.layers.clear()
    viewer.add_image(two_discs(), name="cells")
    qtbot.waitUntil(lambda: bench.current.image in viewer.layers)
    assert viewer.layers["not all saved · cells"].data[60, 90] == 7
    assert "not all saved · cells" in said[0]


def refuse_to_read(image, monkeypatch):
    def refuse(*given, **named):
        raise StorageError("“labels” could not be read.", "Check that the disk is connected.")

    monkeypatch.setattr(image, "paint", refuse)
    monkeypatch.setattr(image, "change_boxes", refuse)


@pytest.fixture
def said(monkeypatch):
    said = []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: said.append(" ".join(given)))
    return said


def test_a_stroke_that_was_not_taken_is_handed_on_again(qtbot, viewer, marked, said):
    bench = marked.controller.bench
    with pytest.MonkeyPatch.context() as patched:
        refuse_to_read(bench.image, patched)
        bench.current.annotation.paint((60, 90), 2)
        bench.strokes.flush_all()
        assert marks(marked)[60, 90] == 0
        assert "could not be read" in said[0]
        assert "unsaved" not in marked.notices.value()
    bench.strokes.flush_all()
    assert marks(marked)[60, 90] == 2


def test_strokes_that_were_not_taken_go_into_no_other_project(qtbot, viewer, marked, said, tmp_path):
    bench = marked.controller.bench
    with Project.create(tmp_path / "other.weakseg", ("background", "cell")) as other:
        other.add_image(two_discs(), name="cells")
    with pytest.MonkeyPatch.context() as patched:
        refuse_to_read(bench.image, patched)
        bench.current.annotation.paint((60, 90), 2)
        bench.open_project(other.path)
    assert not marks(marked).any()


def test_a_project_that_is_busy_is_not_left_for_an_image_of_another(qtbot, viewer, marked, make_panel, said):
    path = marked.controller.bench.desk.project.path
    marked.close()
    again = make_panel()
    bench = again.controller.bench
    other = viewer.add_image(two_discs()[::-1].copy(), name="other")
    other.metadata["napari-weakseg"] = {"image": "other", "project": str(path.with_name("else.weakseg"))}
    Project.create(path.with_name("else.weakseg"), ("background", "cell")).close()
    again.controller.projects.list_images()
    again.controller.link._set_phase(Phase.TRAINING, "")
    again.controller.projects.go_next()
    assert bench.desk.project.path == path
    again.controller.projects._on_chosen(1)
    assert bench.desk.project.path == path
    assert "Stop" in said[0]
    again.controller.link._set_phase(Phase.IDLE, "")
    again.controller.projects.go_next()
    assert bench.desk.project.path == path
    with Project.open(path.with_name("else.weakseg")):
        again.controller.projects._on_chosen(1)
        assert bench.desk.project.path == path
    again.controller.projects._on_chosen(1)
    assert bench.desk.project.path != path


def test_layers_that_wait_follow_their_project_to_its_new_place(qtbot, viewer, marked, make_panel, tmp_path):
    bench = marked.controller.bench
    bench.choose(viewer.add_image(two_discs()[::-1].copy(), name="two"))
    bench.current.annotation.paint((10, 10), 1)
    marked.close()
    bench = make_panel().controller.bench
    bench.save_as(tmp_path / "mine.weakseg")
    bench.choose(viewer.layers["cells"])
    assert bench.desk.project.path == tmp_path / "mine.weakseg"
    assert bench.current.annotation.data[30, 35] == 2


def test_an_image_with_an_odd_unit_is_shown(panel, tmp_path):
    bench = panel.controller.bench
    with Project.create(tmp_path / "odd.weakseg", ("background", "cell")) as project:
        project.add_image(two_discs(), name="a", pixel_size=dict.fromkeys("YX", (0.5, "voxels²?")))
    bench.open_project(project.path)
    assert bench.current.name == "a"
