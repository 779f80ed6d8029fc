"""Small projects to train on: two textures, a few strokes, a tiny network."""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.trainer import Trainer

MakeProject = Callable[..., Project]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[MakeProject]:
    """Make empty projects of the classes background and nucleus; all are closed at the end."""
    made: list[Project] = []

    def make(*classes: str, ndim: int = 2) -> Project:
        names = classes or ("background", "nucleus")
        made.append(Project.create(tmp_path / f"project{len(made)}.weakseg", names, ndim=ndim))
        return made[-1]

    yield make
    for project in made:
        project.close()


@pytest.fixture
def tiny() -> TrainConfig:
    return TrainConfig(width=8, batch=2, patch_px=32, forest=False)


@pytest.fixture
def ready(tiny: TrainConfig) -> Iterator[MakeTrainer]:
    """Make trainers of a tiny network and prepare them."""
    made: list[Trainer] = []

    def make(project: Project, *, seed: int = 0, **settings: Any) -> Trainer:
        trainer = Trainer(project, tiny.model_copy(update=settings), device="cpu", seed=seed)
        made.append(trainer)
        deque(trainer.prepare(), maxlen=0)
        return trainer

    yield make
    for trainer in made:
        trainer.close()


@pytest.fixture
def textures() -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Smooth noise on the left, stripes on the right (96 × 96): image, truth, three strokes."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    truth = np.where(x < 48, 1, 2).astype(np.uint8)
    image = rng.normal(0, 0.4, (96, 96)) + np.where(truth == 2, 2 * np.sin(1.5 * y), 0)
    strokes = np.zeros((96, 96), np.uint8)
    strokes[40:44, 8:32] = 1
    strokes[20:24, 58:84] = 2
    strokes[70:74, 58:84] = 2
    return image.astype(np.float32), truth, strokes


@pytest.fixture
def painted(make_project: MakeProject, textures: tuple[Any, Any, Any]) -> Project:
    """Give a project with the two textures, three strokes painted."""
    project = make_project()
    image, _, strokes = textures
    project.add_image(image, name="a", axes="YX").paint(strokes)
    return project
