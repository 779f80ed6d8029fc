"""Panels on a viewer without a window, and a check that no widget outlives its test."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeTrainer

from napari_weakseg.core.project import Project
from napari_weakseg.session import Session
from napari_weakseg.widgets.desk import Desk


@pytest.fixture
def trainers() -> list[FakeTrainer]:
    """Trainers made during the test, the newest last."""
    return []


@pytest.fixture
def make_session(trainers: list[FakeTrainer]) -> Callable[[Project], Session]:
    def make(project: Project) -> Session:
        def trainer() -> FakeTrainer:
            trainers.append(FakeTrainer(project))
            return trainers[-1]

        return Session(project, make_trainer=trainer)

    return make


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "projects")


@pytest.fixture
def viewer():
    """Viewer model: layers, dims, keys, but neither window nor OpenGL."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def make_panel(qtbot, viewer, desk, make_session) -> Iterator[Callable[[], object]]:
    from qtpy.QtWidgets import QApplication

    from napari_weakseg.widgets.panel import WeaksegPanel

    made = []

    def make(session: Callable[[Project], Session] = make_session):
        panel = WeaksegPanel(viewer, make_session=session, desk=desk)
        qtbot.addWidget(panel)
        made.append(panel)
        return panel

    yield make
    for panel in made:
        panel.close()
    QApplication.processEvents()


@pytest.fixture
def panel(make_panel):
    return make_panel()


def two_discs(shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Bright discs on a dark ground, float32."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 0.1, np.float32)
    for cy, cx in ((30, 35), (60, 90)):
        image[(y - cy) ** 2 + (x - cx) ** 2 < 18**2] = 0.9
    return image + np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)
