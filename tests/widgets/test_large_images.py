"""Images of a project that are too large to be read whole: the viewer reads from the project's own folder."""

import errno
import threading
import time

import numpy as np
import pytest

from conftest import two_discs
from napari_weakseg.core.project import Project
from napari_weakseg.widgets import workbench
from napari_weakseg.widgets.overlay import pixels_of
from napari_weakseg.widgets.source_pixels import SourcePixels


@pytest.fixture
def bench(qtbot, panel, monkeypatch):
    panel.train_box.auto.setChecked(False)
    monkeypatch.setattr(workbench, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(workbench, "_BIG_BYTES", 0)
    return panel.controller.bench


@pytest.fixture
def pixels():
    return np.stack([two_discs(), two_discs()[::-1]])


def shown_from(bench, desk, pixels, *names):
    """Open a project that nobody named and show its images."""
    with Project.create(desk.root / "large.weakseg", ("background", "cell")) as project:
        for name in names:
            project.add_image(pixels, name=name, axes="TYX")
    bench.open_project(project.path)
    for name in names:
        bench.open_image(name)
    assert isinstance(pixels_of(bench.current.image), SourcePixels)
    return project.path


def save_as(qtbot, bench, path):
    bench.save_as(path)
    assert bench.aside.doing
    qtbot.waitUntil(lambda: not bench.aside.doing)
    assert bench.desk.project.path == path


def stored(bench):
    return np.asarray(SourcePixels(bench.image))


def test_the_picture_stays_when_the_project_is_saved_elsewhere(qtbot, bench, desk, pixels, tmp_path):
    old = shown_from(bench, desk, pixels, "a")
    layer = bench.current.image
    save_as(qtbot, bench, tmp_path / "mine.weakseg")
    assert not old.exists()
    np.testing.assert_array_equal(np.asarray(layer.data), pixels)
    bench.current.annotation.data_setitem((np.array([1]), np.array([2]), np.array([3])), 2)
    bench.strokes.flush_all()
    assert bench.image.annotations.painted_counts() == {2: 1}


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
@pytest.mark.parametrize("named", [False, True])
def test_the_pixels_stay_when_the_axes_change(qtbot, panel, bench, desk, pixels, tmp_path, names, named):
    old = shown_from(bench, desk, pixels, *names)
    layers = [canvas.image for canvas in bench.canvases.values()]
    if named:
        save_as(qtbot, bench, tmp_path / "mine.weakseg")
    panel.image_box.axes_changed.emit("ZYX")
    qtbot.waitUntil(lambda: bench.current is not None)
    assert (bench.image.axes, bench.current.image) == ("ZYX", layers[-1])
    np.testing.assert_array_equal(stored(bench), pixels)
    for layer in layers:
        np.testing.assert_array_equal(np.asarray(layer.data), pixels)
    bench.close()
    assert not named or not old.exists()


def test_the_pixels_stay_in_a_new_project(qtbot, panel, bench, desk, pixels):
    old = shown_from(bench, desk, pixels, "a")
    layer = bench.current.image
    panel.controller.projects.new()
    qtbot.waitUntil(lambda: bench.current is not None)
    np.testing.assert_array_equal(stored(bench), pixels)
    np.testing.assert_array_equal(np.asarray(layer.data), pixels)
    assert bench.desk.project.path != old
    assert not old.exists()


def test_a_colour_image_with_its_channels_last_is_taken_with_other_axes(qtbot, panel, bench, desk, tmp_path):
    pixels = np.random.default_rng(0).random((20, 30, 4), np.float32)
    with Project.create(tmp_path / "last.weakseg", ("background", "cell")) as project:
        project.add_image(pixels, name="a", axes="YXC")
    bench.open_project(project.path)
    assert bench.current.axes == "CYX"
    panel.image_box.axes_changed.emit("TYX")
    assert bench.image.axes == "YXT"
    np.testing.assert_array_equal(np.asarray(bench.current.image.data), np.moveaxis(pixels, 2, 0))
    np.testing.assert_array_equal(stored(bench), np.moveaxis(pixels, 2, 0))


def test_people_go_on_marking_while_a_large_project_is_copied(qtbot, bench, desk, pixels, tmp_path, monkeypatch):
    old, copied, go_on = shown_from(bench, desk, pixels, "a"), threading.Event(), threading.Event()
    copy = desk.copy

    def slow(path, **given):
        copy(path, **given)
        copied.set()
        assert go_on.wait(10)

    monkeypatch.setattr(desk, "copy", slow)
    bench.save_as(tmp_path / "mine.weakseg")
    assert "mine.weakseg" in bench.aside.doing
    assert copied.wait(10)
    bench.current.annotation.data_setitem((np.array([1]), np.array([2]), np.array([3])), 2)
    bench.strokes.flush_all()
    with Project.open(tmp_path / "mine.weakseg") as project:
        assert project.images["a"].annotations.painted_counts() == {}
    monkeypatch.setattr(desk, "copy", copy)
    go_on.set()
    qtbot.waitUntil(lambda: not bench.aside.doing)
    assert bench.desk.project.path == tmp_path / "mine.weakseg" != old
    assert bench.image.annotations.painted_counts() == {2: 1}


def test_closing_ends_a_copy_and_leaves_nothing_behind(bench, desk, pixels, tmp_path, monkeypatch):
    old, begun = shown_from(bench, desk, pixels, "a"), threading.Event()
    copy = desk.copy

    def waiting(path, wanted):
        begun.set()
        while wanted():
            time.sleep(0.01)
        copy(path, wanted=wanted)

    monkeypatch.setattr(desk, "copy", waiting)
    bench.save_as(tmp_path / "mine.weakseg")
    assert begun.wait(10)
    bench.current.annotation.data_setitem((np.array([1]), np.array([2]), np.array([3])), 2)
    bench.close()
    assert not (tmp_path / "mine.weakseg").exists()
    with Project.open(old) as project:
        assert project.images["a"].annotations.painted_counts() == {2: 1}


def test_a_copy_that_the_disk_refuses_is_told_and_the_project_stays(qtbot, bench, desk, pixels, tmp_path, monkeypatch):
    old, told = shown_from(bench, desk, pixels, "a"), []
    monkeypatch.setattr("napari_weakseg.widgets.messages.warn", lambda *given: told.extend(given))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_weakseg.widgets.copying.shutil.copy2", full)
    bench.save_as(tmp_path / "mine.weakseg")
    qtbot.waitUntil(lambda: not bench.aside.doing)
    assert "could not be copied" in " ".join(told)
    assert bench.desk.project.path == old
    assert not (tmp_path / "mine.weakseg").exists()
