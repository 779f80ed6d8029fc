"""The demo's picture, its headless run and its window."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pytestqt.qtbot import QtBot
from skimage import io

from napari_weakseg import demo
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.engine.messages import Phase

ROOT = Path(__file__).parents[1]


def test_the_shipped_marks_and_reference_are_what_the_script_makes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_demo_data.py"))
    coins = demo.load_coins()
    ids = script["coin_ids"]()
    np.testing.assert_array_equal(coins.reference, ids)
    np.testing.assert_array_equal(coins.marks, script["painted_marks"](ids))


def test_marks_are_partial_and_never_wrong() -> None:
    coins = demo.load_coins()
    inside = coins.reference > 0
    assert len(np.unique(coins.reference)) == 25
    assert inside[coins.marks == demo.COIN].all()
    assert not inside[coins.marks == 1].any()
    assert (coins.marks == demo.COIN).sum() < 0.25 * inside.sum()


def test_the_headless_demo_writes_labels_picture_and_report(tmp_path: Path) -> None:
    said: list[str] = []
    report = demo.run_demo(tmp_path, seconds=4, window=False, say=said.append)
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert labels.shape == (303, 384)
    assert set(np.unique(labels)) <= {0, demo.COIN}
    assert io.imread(tmp_path / "overlay.png").shape == (909, 1152, 3)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert 0 <= report["dice"] <= 1
    assert any("Dice" in sentence for sentence in said)


@pytest.mark.parametrize("name", ["labels.tif", "overlay.png", "report.json"])
def test_files_that_no_demo_wrote_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ProjectError, match=name):
        demo.run_demo(tmp_path, seconds=4, window=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_without_a_display_there_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.sys, "platform", "linux")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert demo.window_problem() == "There is no display."


def test_a_window_that_cannot_open_is_explained_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.sys, "platform", "linux")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    problem = demo.window_problem()
    assert problem is not None
    assert problem.startswith("A window could not be opened")


@pytest.mark.viewer
def test_the_window_shows_the_marks_and_learns(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: QtBot, tmp_path: Path
) -> None:
    demo.open_project(tmp_path).close()
    viewer = make_napari_viewer_proxy()
    panel = demo.show(viewer, tmp_path / "coins.weakseg")
    painted = next(layer for layer in viewer.layers if layer.name.startswith("annotation"))
    np.testing.assert_array_equal(np.asarray(painted.data), demo.load_coins().marks)
    assert panel.image_box.images.currentText() == "coins"
    qtbot.waitUntil(lambda: panel.controller.link.phase is Phase.TRAINING, timeout=60_000)
    viewer.layers.remove("prediction")
    assert "removed" in panel.notices.value()
    panel.controller.close()
