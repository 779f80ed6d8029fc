"""Saved training: goes on to the last bit, fits changed marks, and says so when it is damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.project import Project
from napari_weakseg.engine import grower
from napari_weakseg.engine.checkpoint import read_state, write_state
from napari_weakseg.engine.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    student = trainer.learner.student
    state = {f"student.{k}": v.clone() for k, v in student.state_dict().items()}
    return state | {f"teacher.{k}": v.clone() for k, v in trainer.learner.teacher.network.state_dict().items()}


def assert_same(a: Trainer, b: Trainer) -> None:
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, msg=name)


def steps(trainer: Trainer, n: int) -> Trainer:
    for _ in range(n):
        trainer.step()
    return trainer


def saved(trainer: Trainer, folder: Path) -> Path:
    folder.mkdir()
    trainer.save(folder)
    return folder


@pytest.fixture
def several(make_project: Any) -> Project:
    """Give exact, rough and unlabelled images, and one with every object marked."""
    project: Project = make_project()
    rng = np.random.default_rng(1)
    for i in range(6):
        image = project.add_image(rng.normal(size=(48, 48)).astype(np.float32), name=f"{i}", axes="YX")
        labels = np.zeros((48, 48), np.uint8)
        for y, x in ((5, 5), (5, 30), (30, 5), (30, 30)):
            labels[y : y + 6, x : x + 6] = 2
        labels[20:24] = 1
        if i < 5:
            image.paint(labels)
        if i == 0:
            image.coverage(None, "exact")
        if i == 1:
            image.coverage("nucleus", "all objects")
    return project


@pytest.mark.parametrize(
    "settings", [{}, {"batch": 4, "consistency_weight": 0.5, "forest": True}, {"growth": "regrow"}]
)
def test_goes_on_as_if_it_had_never_stopped(
    several: Project,
    ready: MakeTrainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(grower, "_FROM", 1)
    monkeypatch.setattr(grower, "_EVERY", 2)
    monkeypatch.setattr(grower, "_LEAST_TRUST", 0)  # no outline in noise earns more
    settings = {"tau": 0.3, **settings}  # an untrained network grows something
    straight = steps(ready(several, **settings), 6)
    folder = saved(straight, tmp_path / "saved")
    again = ready(several, **settings)
    steps(again, 2)  # whatever happened before the load does not count
    again.load(folder)
    assert again.steps == 6
    assert_same(again, straight)
    steps(straight, 5)
    steps(again, 5)
    assert_same(again, straight)
    for name in several.images:
        np.testing.assert_array_equal(again.grown(name, ()), straight.grown(name, ()))
    assert any((straight.grown(n, ()) > 0).sum() > 4 * 36 for n in ("1", "2", "3", "4"))
    assert again.report().terms == straight.report().terms


def test_what_waits_for_its_first_claims_waits_on_in_the_same_order(
    several: Project, ready: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grower, "_CLAIMED_PER_STEP", 1500)  # some blocks are done when it is saved, others wait
    straight = steps(ready(several, outline_weight=1.0), 4)
    folder = saved(straight, tmp_path / "saved")
    again = ready(several, outline_weight=1.0)
    again.load(folder)
    waiting = [[block.place for block in one._grower._waiting] for one in (straight, again)]
    assert waiting[0] == waiting[1] != []
    assert_same(steps(again, 8), steps(straight, 8))


def test_another_seed_goes_on_the_same_once_loaded(several: Project, ready: MakeTrainer, tmp_path: Path) -> None:
    straight = steps(ready(several), 4)
    folder = saved(straight, tmp_path / "saved")
    again = ready(several, seed=99)
    again.load(folder)
    assert_same(steps(again, 3), steps(straight, 3))


def test_predicts_without_preparing(painted: Project, ready: MakeTrainer, tiny: TrainConfig, tmp_path: Path) -> None:
    trained = steps(ready(painted, forest=True), 10)
    folder = saved(trained, tmp_path / "saved")
    fresh = Trainer(painted, tiny.model_copy(update={"forest": True}), device="cpu")
    fresh.load(folder)
    (one,), (other,) = trained.predict("a", ()), fresh.predict("a", ())
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert "Memory was short" in fresh.shrink()  # while it only predicts
    fresh.close()


def test_growth_is_there_again(
    painted: Project, ready: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grower, "_FROM", 30)
    trained = steps(ready(painted), 60)
    grown = trained.grown("a", ())
    painted_pixels = int((np.asarray(painted.images["a"].annotations.labels[...]) == 2).sum())
    assert (grown == 2).sum() > painted_pixels
    folder = saved(trained, tmp_path / "saved")
    again = ready(painted)
    assert (again.grown("a", ()) == 2).sum() == painted_pixels
    again.load(folder)
    np.testing.assert_array_equal(again.grown("a", ()), grown)
    assert again.report().rounds == trained.report().rounds


def test_marks_changed_in_between_count(painted: Project, ready: MakeTrainer, tmp_path: Path) -> None:
    trained = steps(ready(painted), 70)
    folder = saved(trained, tmp_path / "saved")
    image = painted.images["a"]
    image.paint(np.ones((96, 46), np.uint8), start=(0, 30))  # over most of what has grown
    again = ready(painted)
    again.load(folder)
    labels = np.asarray(image.annotations.labels[...])
    assert not (again.grown("a", ())[labels == 1] == 2).any()
    steps(again, 3)


def test_an_image_more_or_less_does_no_harm(several: Project, ready: MakeTrainer, tmp_path: Path) -> None:
    folder = saved(steps(ready(several), 3), tmp_path / "saved")
    several.remove_image("2")
    image = several.add_image(np.zeros((20, 20), np.float32), name="new", axes="YX")
    image.paint(np.full((4, 4), 2, np.uint8), start=(3, 3))
    again = ready(several)
    again.load(folder)
    steps(again, 3)
    assert again.steps == 6


def test_a_state_of_another_width_is_taken_as_it_is(
    painted: Project, ready: MakeTrainer, tiny: TrainConfig, tmp_path: Path
) -> None:
    trained = steps(ready(painted, width=12), 3)
    folder = saved(trained, tmp_path / "saved")
    again = ready(painted, width=8)  # as on a computer with another device, where the width is chosen by it
    again.load(folder)
    assert_same(steps(again, 2), steps(trained, 2))


@pytest.mark.parametrize("older", [False, True])
def test_the_least_sizes_of_objects_are_saved_for_each_class(
    painted: Project, ready: MakeTrainer, tiny: TrainConfig, tmp_path: Path, older: bool
) -> None:
    trained = steps(ready(painted), 1)
    folder = saved(trained, tmp_path / "saved")
    least = trained.least_px
    assert set(least) == {2}
    if older:  # one number for all classes
        tensors, state = read_state(folder)
        write_state(folder, tensors, state | {"least_px": least[2]})
    again = Trainer(painted, tiny, device="cpu")
    again.load(folder)
    assert again.least_px[2] == least[2]
    again.close()


@pytest.mark.parametrize("damage", ["cut tensors", "flipped bit", "no tensors", "cut state", "empty state", "no state"])
def test_a_damaged_state_is_told(painted: Project, ready: MakeTrainer, tmp_path: Path, damage: str) -> None:
    folder = saved(steps(ready(painted), 2), tmp_path / "saved")
    tensors, state = folder / "state.safetensors", folder / "state.json"
    raw = bytearray(tensors.read_bytes())
    match damage:
        case "cut tensors":
            tensors.write_bytes(raw[: len(raw) // 2])
        case "flipped bit":
            raw[-1000] ^= 64
            tensors.write_bytes(raw)
        case "no tensors":
            tensors.unlink()
        case "cut state":
            state.write_text(state.read_text()[:20])
        case "empty state":
            state.write_text("{}")
        case "no state":
            state.unlink()
    again = ready(painted)
    with pytest.raises(ProjectError, match="cannot be read") as caught:
        again.load(folder)
    assert "train again" in caught.value.remedy
    assert caught.value.details


def test_a_state_of_something_else_is_told(
    painted: Project, make_project: Any, ready: MakeTrainer, tmp_path: Path
) -> None:
    folder = saved(steps(ready(painted), 2), tmp_path / "saved")
    other = make_project("background", "nucleus", "nucleolus")
    image = other.add_image(np.zeros((20, 20), np.float32), name="a", axes="YX")
    image.paint(np.arange(400).reshape(20, 20) % 4)
    with pytest.raises(ProjectError, match="cannot be read"):
        ready(other).load(folder)


def test_nothing_is_pickled(painted: Project, ready: MakeTrainer, tmp_path: Path) -> None:
    folder = saved(steps(ready(painted), 2), tmp_path / "saved")
    assert sorted(file.name for file in folder.iterdir()) == ["state.json", "state.safetensors"]
    json.loads((folder / "state.json").read_text())


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).view(2, 3).T, "b": torch.zeros(0), "c": torch.tensor(1.5)}
    write_state(tmp_path, tensors, {"x": [1, "two"]})
    found, state = read_state(tmp_path)
    assert state["x"] == [1, "two"]
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], tensor)
