"""Raw images before marks: the network learns to fill them in, and the page shows what that is worth."""

from pathlib import Path

import numpy as np

from benchmarks import coldstart
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.trainer import Trainer


def test_hidden_squares_change_the_network_and_leave_no_gradient(tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 10:20], labels[40:50] = 2, 1
    with Project.create(tmp_path / "p.weakseg", ("background", "cell")) as project:
        pixels = np.random.default_rng(0).random((64, 64)).astype(np.float32)
        project.add_image(pixels, name="a", axes="YX").paint(labels)
        trainer = Trainer(project, TrainConfig(width=8, patch_px=32, batch=2, forest=False), device="cpu")
        for _ in trainer.prepare():
            pass
        student = trainer.learner.student
        before = student.shrink.weight.detach().clone()
        coldstart._fill_in(trainer, 0.3, 0)
        assert not np.allclose(student.shrink.weight.detach(), before)
        assert all(weights.grad is None for weights in student.parameters())
        averaged = trainer.learner.teacher.network.state_dict()
        assert all((averaged[name] == value).all() for name, value in student.state_dict().items())
        trainer.close()


def test_the_page_sets_both_beginnings_side_by_side() -> None:
    assert "Not measured yet" in coldstart.section([])
    common = {
        "set": "glas_train",
        "seconds": 60.0,
        "images": 0,
        "judges": 0,
        "commit": "abc",
        "device": "cpu",
        "threads": 2,
    }
    lines = [
        {**common, "waited": waited, "seed": seed, "points": [{"at": 10.0, "median": value + seed / 100}]}
        for waited, value in ((0.0, 0.6), (60.0, 0.5))
        for seed in (0, 1)
    ]
    page = coldstart.section(lines)
    assert "| from random weights | 0.605 (0.600–0.610) |" in page
    assert "| after 60 s of raw images | 0.505 (0.500–0.510) |" in page
