"""The trainer on small projects: it learns, it survives what people do, it changes nothing of theirs."""

import hashlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.presets import PRESETS
from napari_weakseg.core.project import Project
from napari_weakseg.engine import device as devices
from napari_weakseg.engine import grower
from napari_weakseg.engine import trainer as training
from napari_weakseg.engine.losses import decode
from napari_weakseg.engine.networks import Outputs
from napari_weakseg.engine.objective import objective
from napari_weakseg.engine.trainer import Trainer
from napari_weakseg.engine.variety import Variety
from napari_weakseg.session import Session

MakeProject = Callable[..., Project]
MakeTrainer = Callable[..., Trainer]


def steps(trainer: Trainer, n: int) -> Trainer:
    for _ in range(n):
        trainer.step()
    return trainer


def predicted(trainer: Trainer, name: str = "a", frame: tuple[int, ...] = ()) -> NDArray[np.float32]:
    project = trainer._project
    shape = project.images[name].label_shape[-project.ndim :]
    result = np.full((len(project.classes), *shape), np.nan, np.float32)
    for tile in trainer.predict(name, frame):
        place = tuple(slice(a, b) for a, b in zip(tile.start, tile.stop, strict=True))
        result[(slice(None), *place)] = tile.probabilities
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(0), 1, atol=5e-3)
    return result


def dice(labels: NDArray[np.integer], truth: NDArray[np.integer], class_id: int) -> float:
    a, b = labels == class_id, truth == class_id
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def assert_healthy(trainer: Trainer) -> None:
    report = trainer.report()
    assert np.isfinite(report.loss)
    assert all(np.isfinite(value) for value in report.terms.values())
    assert all(torch.isfinite(p).all() for p in trainer.learner.student.parameters())


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# -- learning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forest", [False, True])
def test_learns_two_textures_from_three_strokes(
    painted: Project, ready: MakeTrainer, textures: tuple[Any, Any, Any], forest: bool
) -> None:
    trainer = steps(ready(painted, forest=forest, batch=4), 100)
    labels = predicted(trainer).argmax(0) + 1
    assert dice(labels, textures[1], 1) > 0.85
    assert dice(labels, textures[1], 2) > 0.85


def test_learns_from_boxes_and_strokes_of_background_in_one_image(
    make_project: MakeProject, ready: MakeTrainer, tmp_path: Path
) -> None:
    y, x = np.mgrid[:128, :128]
    middles = [(24, 30), (30, 92), (90, 34), (96, 98)]
    truth = np.any([(y - a) ** 2 + (x - b) ** 2 <= 14**2 for a, b in middles], 0)
    project = make_project()
    image = project.add_image(
        (truth + np.random.default_rng(0).normal(0, 0.3, truth.shape)).astype(np.float32), name="a"
    )
    strokes = np.zeros(truth.shape, np.uint8)
    for at in (0, 48, 62, 76, 124):
        strokes[at : at + 4] = strokes[:, at : at + 4] = 1
    strokes[truth] = 0
    image.paint(strokes)
    for a, b in middles[:3]:
        image.add_box("nucleus", (a - 14, b - 14), (a + 15, b + 15))
    trainer = steps(ready(project), 80)
    assert dice(predicted(trainer).argmax(0) + 1, truth + 1, 2) > 0.85
    trainer.save(tmp_path)
    again = ready(project)
    again.load(tmp_path)
    block, other = (t._store.find("a", ())[0] for t in (steps(trainer, 1), steps(again, 1)))
    np.testing.assert_array_equal(other.claim, block.claim)
    assert sorted(other.marked_at) == [1, 2]
    image.remove_box(2)
    trainer.annotations_changed("a")
    steps(trainer, 1)
    block = trainer._store.find("a", ())[0]
    assert not block.claim[76:105, 20:49].any()
    assert (block.claim == 2).any()


def test_boxes_of_two_classes_are_enough_to_begin(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project("background", "nucleus", "cell")
    image = project.add_image(np.random.default_rng(0).random((64, 64), np.float32), name="a")
    image.add_box("nucleus", (5, 5), (25, 25))
    image.add_box("cell", (30, 30), (55, 55))
    trainer = steps(ready(project), 2)
    assert sorted(trainer._store.blocks[0].marked_at) == [1, 2, 3]


def test_where_boxes_do_not_teach_they_are_not_enough(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((64, 64), np.float32), name="a")
    image.paint(np.ones((5, 60), np.uint8), start=(0, 0))
    image.add_box("nucleus", (15, 5), (35, 25))
    with pytest.raises(TrainingError, match="Only “background” is marked"):
        ready(project, box_shapes=False)


def test_another_box_around_a_grown_blob_lets_it_grow_anew(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((64, 64), np.float32), name="a")
    image.paint(np.full((6, 6), 2, np.uint8), start=(20, 20))
    image.paint(np.ones((4, 60), np.uint8), start=(58, 0))
    trainer = ready(project)
    block = trainer._store.find("a", ())[0]
    assert block.growth is not None
    block.growth = replace(block.growth, rounds=block.growth.rounds + np.uint8(2))
    block.claim[10:40, 10:40] = 2
    image.add_box("nucleus", (15, 15), (32, 32))
    trainer.annotations_changed("a")
    assert block.growth.round == 0
    assert not (block.claim == 2).any()


def test_the_forest_answers_before_the_first_step(
    painted: Project, ready: MakeTrainer, textures: tuple[Any, Any, Any]
) -> None:
    labels = predicted(ready(painted, forest=True)).argmax(0) + 1
    assert dice(labels, textures[1], 2) > 0.85


def test_two_runs_with_one_seed_are_the_same(painted: Project, ready: MakeTrainer) -> None:
    one, other = (predicted(steps(ready(painted, seed=3), 5)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_predicting_does_not_change_what_is_learned(painted: Project, ready: MakeTrainer) -> None:
    one, other = ready(painted), ready(painted)
    for _ in range(4):
        one.step()
        other.step()
        predicted(one)
        one.report()
    np.testing.assert_array_equal(predicted(one), predicted(other))


def test_a_part_is_predicted_like_the_whole(painted: Project, ready: MakeTrainer) -> None:
    trainer = steps(ready(painted), 3)
    whole = predicted(trainer)
    part = (slice(10, 50), slice(30, 96))
    (tile,) = trainer.predict("a", (), part)
    np.testing.assert_array_equal(tile.probabilities, whole[(slice(None), *part)].astype(np.float16))


def test_an_unlabelled_image_does_no_harm(painted: Project, ready: MakeTrainer, textures: tuple[Any, Any, Any]) -> None:
    for i in range(3):
        painted.add_image(np.random.default_rng(i).normal(size=(50, 70)).astype(np.float32), name=f"b{i}", axes="YX")
    trainer = steps(ready(painted, batch=4, consistency_weight=0.3), 200)
    assert dice(predicted(trainer).argmax(0) + 1, textures[1], 2) > 0.9
    assert predicted(trainer, "b0").shape == (2, 50, 70)
    assert not trainer.grown("b0", ()).any()


# -- what is marked ------------------------------------------------------------------------------------------


def test_a_class_that_is_never_marked_is_never_predicted(
    make_project: MakeProject, ready: MakeTrainer, textures: tuple[Any, Any, Any]
) -> None:
    project = make_project("background", "nucleus", "never")
    project.add_image(textures[0], name="a", axes="YX").paint(textures[2])
    trainer = steps(ready(project, batch=4), 100)
    labels = predicted(trainer).argmax(0) + 1
    assert (labels == 3).mean() < 0.01
    assert_healthy(trainer)


def test_nothing_marked_is_told(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    with pytest.raises(TrainingError, match="Nothing is marked yet"):
        ready(project)
    image = project.add_image(np.random.default_rng(0).random((40, 40), np.float32), name="a", axes="YX")
    with pytest.raises(TrainingError, match="Nothing is marked yet") as caught:
        ready(project)
    assert "Paint" in caught.value.remedy
    labels = np.zeros((40, 40), np.uint8)
    labels[:5], labels[-5:] = 1, 2
    image.paint(labels)  # later, the same project
    assert_healthy(steps(ready(project), 2))


def test_marked_images_that_are_gone_are_told(make_project: MakeProject, ready: MakeTrainer, tmp_path: Path) -> None:
    project = make_project()
    for name in ("gone", "replaced"):
        np.save(tmp_path / f"{name}.npy", np.zeros((40, 40), np.float32))
        project.add_image(tmp_path / f"{name}.npy").paint(np.full((5, 5), 2, np.uint8), start=(2, 2))
    project.close()
    (tmp_path / "gone.npy").unlink()
    np.save(tmp_path / "replaced.npy", np.zeros((30, 40), np.float32))
    with (
        Project.open(project.path) as opened,
        pytest.raises(TrainingError, match=r"cannot be read: “gone”, “replaced”"),
    ):
        ready(opened)


def test_one_class_alone_is_told(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    image = project.add_image(np.zeros((40, 40), np.float32), name="a", axes="YX")
    image.paint(np.full((5, 5), 2, np.uint8), start=(2, 2))
    with pytest.raises(TrainingError, match="Only “nucleus” is marked"):
        ready(project)
    project.add_image(np.zeros((40, 40), np.float32), name="b", axes="YX").tag("nucleus", False)
    assert_healthy(steps(ready(project), 2))  # all of b is background


def test_a_table_of_one_class_is_told(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project("cell")
    project.add_image(np.zeros((40, 40), np.float32), name="a", axes="YX").paint(np.ones((40, 40), np.uint8))
    with pytest.raises(TrainingError, match="only class"):
        ready(project)


def test_marks_of_one_class_are_enough_where_others_rule_it_out(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project("background", "nucleus", "fibre")
    for name in "ab":
        image = project.add_image(np.random.default_rng(0).random((40, 40), np.float32), name=name, axes="YX")
    project.images["a"].paint(np.full((5, 5), 2, np.uint8), start=(2, 2))
    image.tag("nucleus", False)
    assert_healthy(steps(ready(project), 3))


def test_the_second_class_may_be_marked_in_the_last_image(
    make_project: MakeProject, ready: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_FIRST_BLOCKS", 7)
    project = make_project()
    for i in range(8):
        image = project.add_image(np.random.default_rng(i).random((20, 20), np.float32), name=f"{i}", axes="YX")
        image.paint(np.full((5, 5), 1 if i == 5 else 2, np.uint8), start=(2, 2))
    trainer = steps(ready(project), 9)
    assert trainer._store.complete
    assert_healthy(trainer)


def test_contradictions_are_counted_and_teach_nothing(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((32, 32), np.float32), name="a", axes="YX")
    labels = np.zeros((32, 32), np.uint8)
    labels[:4], labels[10:14] = 1, 2
    image.paint(labels)
    trainer = ready(project, orientation="fixed")
    assert trainer.conflicts() == {}
    image.tag("nucleus", False)
    image.tag("background", True)
    trainer.annotations_changed("a")
    assert trainer.conflicts() == {"a": 4 * 32}
    (block,) = trainer._store.blocks
    assert 2 not in block.marked_at
    batch = trainer._sampler.draw(trainer._store.blocks)
    clash = (batch.fields["allowed"] == 0) & batch.fields["painted"]
    assert clash.any()
    logits = torch.zeros(2, 2, 32, 32, requires_grad=True)
    allowed = decode(batch.fields["allowed"], 2)
    claims = {**batch.fields, "claim": torch.full_like(batch.fields["claim"], 2)}
    claims["claim_weight"] = torch.full_like(claims["claim_weight"], 255)
    _, given = trainer.learner.given(batch, Variety.of(trainer._store.blocks, TrainConfig()))
    out = Outputs(logits, torch.zeros(2, 3, 32, 32), torch.zeros(2, 1, 32, 32), ())
    terms = objective(TrainConfig(), out, replace(given, allowed=allowed, fields=claims))
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad is not None
    assert not logits.grad.abs().sum(1)[clash].any()
    assert logits.grad.abs().sum() > 0
    assert_healthy(steps(trainer, 2))


def test_new_marks_reach_the_next_batches(painted: Project, ready: MakeTrainer) -> None:
    other = painted.add_image(np.random.default_rng(0).random((64, 64), np.float32), name="new", axes="YX")
    trainer = steps(ready(painted, batch=2), 2)
    other.paint(np.full((6, 6), 2, np.uint8), start=(30, 30))
    trainer.annotations_changed("new")
    assert trainer._store.find("new", ())[0].marked_at.keys() == {2}
    images = {tuple(block.pixels[0, :2, :2].ravel()): block.place.image for block in trainer._store.blocks}
    assert len(images) == 2
    drawn = [trainer._sampler._pick([b for b in trainer._store.blocks if b.marked_at]) for _ in range(10)]
    assert sum(block.place.image == "new" for block in drawn) >= 6
    assert_healthy(steps(trainer, 2))


def test_erasing_a_whole_class_does_not_end_training(painted: Project, ready: MakeTrainer) -> None:
    trainer = steps(ready(painted), 3)
    image = painted.images["a"]
    labels = np.asarray(image.annotations.labels[...])
    image.paint(np.where(labels == 1, 0, labels))
    trainer.annotations_changed("a")
    steps(trainer, 2)
    image.paint(np.zeros_like(labels))
    trainer.annotations_changed("a")
    with pytest.raises(TrainingError, match="No mark is left"):
        trainer.step()
    image.paint(labels)
    trainer.annotations_changed("a")
    assert_healthy(steps(trainer, 2))


def test_an_image_removed_while_training_is_missed_by_nobody(painted: Project, ready: MakeTrainer) -> None:
    other = painted.add_image(np.random.default_rng(0).random((40, 40), np.float32), name="b", axes="YX")
    other.paint(np.full((6, 6), 2, np.uint8), start=(10, 10))
    trainer = steps(ready(painted), grower._FROM)
    painted.remove_image("b")
    steps(trainer, 6)  # before anybody told the trainer
    trainer.annotations_changed("b")
    assert_healthy(steps(trainer, 6))


def test_a_class_added_while_training_joins_in(
    painted: Project, ready: MakeTrainer, textures: tuple[Any, Any, Any]
) -> None:
    trainer = steps(ready(painted, batch=4, forest=True), 30)
    before = predicted(trainer)
    painted.set_classes(painted.classes.added("third"))
    painted.images["a"].paint(np.full((20, 6), 3, np.uint8), start=(70, 4))
    steps(trainer, 1)  # before anybody told the trainer
    trainer.annotations_changed("a")
    assert predicted(trainer).shape == (3, 96, 96)
    steps(trainer, 30)
    after = predicted(trainer)
    right = (slice(None), slice(60, 90))
    assert (after.argmax(0)[right] == 1).mean() > (before.argmax(0)[right] == 1).mean() - 0.2
    assert after[2, 70:90, 4:10].mean() > after[2, :, 60:].mean()
    assert_healthy(trainer)


# -- growing -------------------------------------------------------------------------------------------------


def test_grown_regions_keep_off_other_paint_and_in_their_boxes(
    make_project: MakeProject,
    ready: MakeTrainer,
    textures: tuple[Any, Any, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grower, "_FROM", 10)
    monkeypatch.setattr(grower, "_EVERY", 1)
    project = make_project()
    labels = textures[2].copy()
    labels[18:30, 90:94] = 1  # in the way
    image = project.add_image(textures[0], name="a", axes="YX")
    image.paint(labels)
    image.add_box("nucleus", (66, 54), (80, 90))
    trainer = ready(project, tau=0.5, batch=4)
    seen = 0
    for _ in range(8):
        steps(trainer, 10)
        grown = trainer.grown("a", ())
        assert grown.shape == (96, 96)
        assert not (grown[labels == 1] == 2).any()
        assert (grown[labels == 2] == 2).all()
        boxed = np.zeros((96, 96), bool)
        boxed[66:80, 54:90] = True
        (block,) = trainer._store.blocks
        assert block.growth is not None
        in_box = block.growth.ids == block.knowledge.seeds[71, 60]
        assert not (in_box & ~boxed).any()
        seen = max(seen, int((grown == 2).sum()))
    assert seen > 1.5 * (labels == 2).sum()
    image.paint(np.ones((30, 12), np.uint8), start=(14, 70))
    trainer.annotations_changed("a")
    assert not (trainer.grown("a", ())[14:44, 70:82] == 2).any()


def test_grown_regions_of_a_frame_are_its_own(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((5, 32, 40), np.float32), name="a", axes="TYX")
    labels = np.zeros((32, 40), np.uint8)
    labels[4:8], labels[20:24] = 1, 2
    image.paint(labels[None], start=(3, 0, 0))
    trainer = steps(ready(project), 2)
    assert (trainer.grown("a", (3,)) == np.where(labels == 2, 2, 0)).all()
    assert not trainer.grown("a", (1,)).any()
    assert predicted(trainer, "a", (1,)).shape == (2, 32, 40)


# -- all kinds of images -------------------------------------------------------------------------------------


def test_nothing_of_the_users_is_changed(
    make_project: MakeProject, ready: MakeTrainer, textures: tuple[Any, Any, Any]
) -> None:
    project = make_project()
    pixels, strokes = textures[0].copy(), textures[2].copy()
    image = project.add_image(pixels, name="a", axes="YX")
    image.paint(strokes)
    image.coverage("nucleus", "all objects")
    image.source.normalised(image.frame_region(()))
    before = contents(project.path)
    trainer = steps(ready(project, forest=True), 70)
    predicted(trainer)
    trainer.report()
    trainer.grown("a", ())
    assert contents(project.path) == before
    np.testing.assert_array_equal(pixels, textures[0])
    np.testing.assert_array_equal(strokes, textures[2])


@pytest.mark.parametrize(("axes", "shape"), [("YXS", (40, 40, 3)), ("CYX", (5, 40, 40)), ("CYX", (1, 40, 40))])
def test_any_number_of_channels_will_do(
    make_project: MakeProject, ready: MakeTrainer, axes: str, shape: tuple[int, ...]
) -> None:
    project = make_project()
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[:5], labels[-5:] = 1, 2
    project.add_image(pixels, name="a", axes=axes).paint(labels)
    trainer = steps(ready(project, forest=True), 3)
    assert predicted(trainer).shape == (2, 40, 40)
    assert_healthy(trainer)


def test_thirty_one_classes_will_do(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project(*(f"class {k}" for k in range(1, 32)))
    labels = np.zeros((70, 70), np.uint8)
    for k in range(31):
        labels[2 * k + 1, 2:30] = k + 1
    image = project.add_image(np.random.default_rng(0).random((70, 70), np.float32), name="a", axes="YX")
    image.paint(labels)
    image.coverage("class 31", "exact")
    trainer = steps(ready(project, forest=True, consistency_weight=0.1), 12)
    assert predicted(trainer).shape == (31, 70, 70)
    assert trainer.conflicts() == {}
    assert_healthy(trainer)


@pytest.mark.parametrize("shape", [(20, 40, 44), (3, 40, 40), (1, 20, 20)])
def test_a_volume_with_a_few_marked_planes_will_do(
    make_project: MakeProject, ready: MakeTrainer, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grower, "_FROM", 1)
    project = make_project(ndim=3)
    image = project.add_image(np.random.default_rng(0).random(shape, np.float32), name="a", axes="ZYX")
    for z in {0, shape[0] // 2}:
        labels = np.zeros((1, *shape[1:]), np.uint8)
        labels[:, 2:8], labels[:, 12:16] = 1, 2
        image.paint(labels, start=(z, 0, 0))
    trainer = steps(ready(project, patch_px=16, forest=True), 5)
    assert predicted(trainer).shape == (2, *shape)
    assert trainer.grown("a", ()).shape == shape
    assert_healthy(trainer)


@pytest.mark.parametrize("kind", ["constant", "all NaN", "some NaN", "infinite", "huge"])
def test_odd_grey_values_give_no_nan(make_project: MakeProject, ready: MakeTrainer, kind: str) -> None:
    pixels = np.random.default_rng(0).random((40, 40), np.float32)
    match kind:
        case "constant":
            pixels[:] = 7
        case "all NaN":
            pixels[:] = np.nan
        case "some NaN":
            pixels[10:20, 5:9] = np.nan
        case "infinite":
            pixels[3, 3], pixels[5, 5] = np.inf, -np.inf
        case "huge":
            pixels *= 1e30
    project = make_project()
    labels = np.zeros((40, 40), np.uint8)
    labels[:5], labels[-5:] = 1, 2
    project.add_image(pixels, name="a", axes="YX").paint(labels)
    trainer = steps(ready(project, forest=True, consistency_weight=0.1), 6)
    predicted(trainer)
    assert_healthy(trainer)


@pytest.mark.parametrize("shape", [(10, 13), (3, 50), (2, 2), (100, 5)])
@pytest.mark.parametrize("batch", [1, 2])
def test_images_smaller_than_a_patch_will_do(
    make_project: MakeProject, ready: MakeTrainer, shape: tuple[int, int], batch: int
) -> None:
    project = make_project()
    labels = np.ones(shape, np.uint8)
    labels[shape[0] // 2 :] = 2
    image = project.add_image(np.random.default_rng(0).random(shape, np.float32), name="a", axes="YX")
    image.paint(labels)
    trainer = steps(ready(project, batch=batch, patch_px=64, forest=True), 3)
    assert predicted(trainer).shape == (2, *shape)
    assert_healthy(trainer)


def test_exact_rough_and_tagged_images_go_together(make_project: MakeProject, ready: MakeTrainer) -> None:
    project = make_project("background", "nucleus", "fibre")
    rng = np.random.default_rng(0)
    for i in range(6):
        image = project.add_image(rng.random((40, 40), np.float32), name=f"{i}", axes="YX")
        labels = np.zeros((40, 40), np.uint8)
        labels[5:10, 5:10], labels[20:25, 32:37], labels[20:25, 20:25] = 2, 2, 3
        match i:
            case 0 | 1 | 2:
                image.paint(labels)
                image.coverage(None, "exact")
            case 3:
                image.paint(labels)
                image.coverage("nucleus", "all objects")
                image.add_box("fibre", (18, 18), (28, 28))
            case 4:
                image.tag("fibre", False)
            case _:
                image.tag("nucleus", True)
    trainer = steps(ready(project, batch=8, consistency_weight=0.2), 5)
    assert_healthy(trainer)
    assert trainer.report().quality is not None
    assert trainer.report().quality_n == 40 * 10


# -- running short of memory ---------------------------------------------------------------------------------


def test_shrinks_step_by_step_and_says_so(painted: Project, ready: MakeTrainer) -> None:
    trainer = steps(ready(painted, batch=4, patch_px=96), 1)
    said = []
    for _ in range(4):
        said.append(trainer.shrink())
        steps(trainer, 1)
    with pytest.raises(TrainingError, match="not enough memory"):
        trainer.shrink()
    assert "2 patches" in said[0]
    assert "one patch" in said[1]
    assert "48 pixels" in said[2]
    assert "32 pixels" in said[3]
    assert trainer.steps == 5
    assert_healthy(trainer)
    predicted(trainer)


def test_shrinks_before_it_is_ready_too(painted: Project, tiny: TrainConfig) -> None:
    trainer = Trainer(painted, tiny, device="cpu")
    assert "Memory was short" in trainer.shrink()
    deque(trainer.prepare(), maxlen=0)
    assert_healthy(steps(trainer, 1))
    trainer.close()


def test_goes_on_with_the_processor(painted: Project, ready: MakeTrainer) -> None:
    trainer = steps(ready(painted, forest=True), 5)
    before = predicted(trainer)
    trainer._to_processor()
    np.testing.assert_allclose(predicted(trainer), before, atol=2e-3)
    assert_healthy(steps(trainer, 1))


def test_one_bad_gradient_does_not_spoil_the_network(painted: Project, ready: MakeTrainer) -> None:
    trainer = steps(ready(painted), 2)
    student = trainer.learner.student
    spoil = student.pixel[0].weight.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
    steps(trainer, 1)
    spoil.remove()
    assert_healthy(steps(trainer, 2))


@pytest.mark.parametrize(("step", "counted"), [(0, 4.0), (50, 4.0 / math.e), (2000, 0.0)])
def test_the_overlap_leads_a_young_network_and_is_told_as_always(
    painted: Project, ready: MakeTrainer, step: int, counted: float
) -> None:
    trainer = ready(painted)
    trainer.step()
    learner, blocks = trainer.learner, trainer._store.blocks
    loss = learner._loss(trainer._sampler.draw(blocks), step, blocks)
    more = float(loss.detach()) - sum(float(value) for value in learner.terms.values())
    assert float(learner.terms["overlap"]) > 0
    assert more == pytest.approx(counted * float(learner.terms["overlap"]), abs=1e-4)


def test_half_precision_stays_off_in_volumes_on_a_processor() -> None:
    with devices.autocast(torch.device("cpu"), 3):
        assert not torch.is_autocast_enabled("cpu")
    devices.keep_memory(torch.device("cpu"))
    devices.free(torch.device("cpu"))  # and both may be called anywhere


# -- through a session ---------------------------------------------------------------------------------------


def test_predicting_before_any_training_is_told(painted: Project, tiny: TrainConfig) -> None:
    with Session(painted, device="cpu", config=tiny) as session, pytest.raises(TrainingError, match="Nothing has been"):
        session.predict("a")


def test_a_session_learns_stops_and_predicts_from_what_was_saved(
    painted: Project, tiny: TrainConfig, textures: tuple[Any, Any, Any]
) -> None:
    config = tiny.model_copy(update={"batch": 4})
    with Session(painted, device="cpu", config=config) as session:
        session.train(steps=120)
        labels, grown = session.predict("a"), session.grown("a")
        assert dice(labels, textures[1], 2) > 0.8
    with Session(painted, device="cpu", config=config) as session:
        np.testing.assert_array_equal(session.predict("a"), labels)
        np.testing.assert_array_equal(session.grown("a"), grown)


def discs(rng: np.random.Generator, n: int = 8, side: int = 96) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Bright discs on noise: image, and the number of each disc."""
    y, x = np.mgrid[:side, :side]
    ids = np.zeros((side, side), np.int32)
    for i, (a, b) in enumerate(np.stack(np.unravel_index(rng.choice(9, n, replace=False), (3, 3)), 1) * 32 + 16, 1):
        ids[(y - a - rng.integers(-4, 5)) ** 2 + (x - b - rng.integers(-4, 5)) ** 2 <= rng.integers(5, 9) ** 2] = i
    return ((ids > 0) * 1.5 + rng.normal(0, 0.6, ids.shape)).astype(np.float32), ids


def test_moved_rough_masks_are_trusted_less_than_right_ones(make_project: MakeProject, ready: MakeTrainer) -> None:
    project, rng = make_project(), np.random.default_rng(0)
    for i in range(14):
        pixels, ids = discs(rng)
        image = project.add_image(pixels, name=f"{i}", axes="YX")
        mask = np.where(ids > 0, 2, 1).astype(np.uint8)
        if i < 4:
            image.paint(mask)
            image.coverage(None, "exact")
        else:  # of every second image the mask is moved by half of its side
            image.paint(np.roll(mask, 16, (0, 1)) if i % 2 else mask, trust="rough")
    trainer = steps(ready(project, batch=8, patch_px=64), 240)
    weight = {moved: [c.weight for c in trainer.claims() if int(c.image) % 2 == moved] for moved in (0, 1)}
    assert min(len(values) for values in weight.values()) >= 5
    assert np.mean(weight[0]) - np.mean(weight[1]) > 0.2
    listed = [c.weight for c in trainer.claims()]
    assert listed == sorted(listed)


def test_weights_of_claims_are_saved_with_the_network(
    make_project: MakeProject, ready: MakeTrainer, tmp_path: Path
) -> None:
    project, rng = make_project(), np.random.default_rng(1)
    for i in range(5):
        pixels, ids = discs(rng)
        image = project.add_image(pixels, name=f"{i}", axes="YX")
        mask = np.where(ids > 0, 2, 1).astype(np.uint8)
        image.paint(mask, trust="sure" if i < 3 else "rough")
        if i < 3:
            image.coverage(None, "exact")
    one = steps(ready(project, batch=8), 81)
    assert {c.weight for c in one.claims()} != {0.5}
    one.save(tmp_path)
    two = ready(project, batch=8)
    two.load(tmp_path)
    assert two.claims() == one.claims()
    assert steps(one, 1).claims() == steps(two, 1).claims()
    project.images["4"].paint(np.zeros((96, 96), np.uint8), trust="rough")  # a mask that is taken back
    project.images["3"].paint(np.full((96, 96), 2, np.uint8), trust="rough")  # one that is drawn anew
    for name in ("3", "4"):
        two.annotations_changed(name)
    (new,) = [key for key, n in zip(two._trust._rows, two._trust._pixels, strict=True) if n == 96 * 96]
    assert two._trust._weights.by_key()[new] == 0.5
    steps(two, 2)
    assert len([c for c in two.claims() if c.pixels == 96 * 96]) == 1


def test_rough_masks_keep_their_weights_whatever_else_changes(make_project: MakeProject, ready: MakeTrainer) -> None:
    project, rng = make_project(), np.random.default_rng(1)
    ids = [discs(rng) for _ in range(6)]
    for i in range(3):
        exact = project.add_image(ids[i][0], name=f"{i}", axes="YX")
        exact.paint(np.where(ids[i][1] > 0, 2, 1).astype(np.uint8))
        exact.coverage(None, "exact")
    stack = project.add_image(np.stack([pixels for pixels, _ in ids[3:]]), name="stack", axes="TYX")
    masks = np.stack([np.where(found > 0, 2, 1) for _, found in ids[3:]]).astype(np.uint8)
    stack.paint(masks, trust="rough")
    trainer = steps(ready(project, batch=8), 81)
    weights = {(c.frame, c.start): c.weight for c in trainer.claims()}

    def places() -> list[NDArray[np.int32]]:
        return [block.rough.place for block in trainer._store.blocks if block.rough is not None]

    stack.add_box("nucleus", (1, 2, 2), (2, 9, 9))
    trainer.annotations_changed("stack")
    assert all((place[1:] > 0).all() for place in places())
    project.set_classes(project.classes.added("third"))
    steps(trainer, 1)
    assert all((place[1:] > 0).all() for place in places())
    other = masks[0].copy()
    other[other == 2] = 3  # the same shapes, of another class
    stack.paint(other[None], start=(0, 0, 0), trust="rough")
    trainer.annotations_changed("stack")
    assert all((place[1:] > 0).all() for place in places())
    assert {(c.frame, c.start) for c in trainer.claims()} == set(weights)
    assert len(trainer.claims()) == len(weights)  # none that is gone


def test_a_class_added_after_learning_does_not_make_what_was_saved_useless(
    painted: Project, ready: MakeTrainer, tmp_path: Path
) -> None:
    trainer = steps(ready(painted), 3)
    painted.set_classes(painted.classes.added("third"))
    trainer.save(tmp_path)
    other = ready(painted)
    other.load(tmp_path)
    assert other.steps == 3
    assert len(predicted(steps(other, 1))) == 3


def test_what_was_learned_from_is_never_held_out_later(
    make_project: MakeProject, ready: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_FIRST_BLOCKS", 7)
    monkeypatch.setattr(training, "_READ_PIXELS", 1)
    project, rng = make_project(), np.random.default_rng(1)
    for i in range(14):
        pixels, ids = discs(rng, 2)  # too few in the first ones for any to be held out
        image = project.add_image(pixels, name=f"{i}", axes="YX")
        image.paint(np.where(ids > 0, 2, 1).astype(np.uint8))
        image.paint_objects("nucleus", ids)
    trainer = ready(project)
    assert not trainer._store.complete
    seen = list(trainer._store.blocks)
    before = [block.held_out.copy() for block in seen]
    while not trainer._store.complete:
        trainer.step()
    for block, held in zip(seen, before, strict=True):
        np.testing.assert_array_equal(block.held_out, held)


def test_blobs_painted_between_two_trainings_are_claimed_around(
    make_project: MakeProject, ready: MakeTrainer, tmp_path: Path
) -> None:
    project, rng = make_project(), np.random.default_rng(1)
    for i in range(2):
        pixels, ids = discs(rng)
        image = project.add_image(pixels, name=f"{i}", axes="YX")
        marks = np.where(ndimage.binary_erosion(ids > 0, iterations=4), 2, 0).astype(np.uint8)
        marks[0:3] = 1
        if not i:
            image.paint(marks)
        image.coverage("nucleus", "all objects")
    one = steps(ready(project, outline_weight=1.0, growth="off"), 8)
    one._grower.trust = 1.0
    one.save(tmp_path)
    project.images["1"].paint(marks)
    two = ready(project, outline_weight=1.0, growth="off")
    two.load(tmp_path)
    steps(two, 4)
    assert all(block.claim.any() for block in two._store.blocks)


ALL_TERMS = {
    "multiscale_weight": 1.0,
    "bag_weight": 0.1,
    "tag_weight": 0.1,
    "consistency_weight": 1.0,
    "second": "decoder",
}


@pytest.mark.parametrize(
    "settings",
    [ALL_TERMS, {**ALL_TERMS, "second": "network", "level_targets": "nearest"}, {"presence": "plus"}],
    ids=["decoder", "network", "presence"],
)
def test_masks_boxes_tags_rough_masks_and_nothing_train_one_network(
    make_project: MakeProject, ready: MakeTrainer, tmp_path: Path, settings: dict[str, Any]
) -> None:
    project, rng = make_project("background", "nucleus", "other"), np.random.default_rng(2)
    for kind in ("exact", "exact", "blobs", "boxes", "present", "absent", "rough", "nothing"):
        pixels, ids = discs(rng)
        image = project.add_image(pixels, name=f"{len(project.images)} {kind}", axes="YX")
        mask = np.where(ids > 0, 2, 1).astype(np.uint8)
        if kind == "exact":
            image.paint(mask)
            image.coverage(None, "exact")
        elif kind == "blobs":
            image.paint(np.where(ids % 2 == 1, mask, 0).astype(np.uint8))
        elif kind == "boxes":
            for box in ndimage.find_objects(ids):
                if box is not None:
                    image.add_box("nucleus", [s.start for s in box], [s.stop for s in box])
        elif kind in ("present", "absent"):
            image.tag("nucleus", kind == "present")
            image.tag("other", False)
        elif kind == "rough":
            image.paint(np.roll(mask, 3, 0), trust="imported")
    trainer = steps(ready(project, batch=8, **settings), 62)
    assert_healthy(trainer)
    hinted = {b.place.image.split()[1] for b in trainer._store.blocks if b.hinted}
    assert hinted == {"boxes", "present", "rough"}
    trainer.save(tmp_path)
    again = ready(project, batch=8, **settings)
    again.load(tmp_path)
    np.testing.assert_array_equal(
        again.probabilities(np.zeros((1, 32, 32), np.float32)), trainer.probabilities(np.zeros((1, 32, 32), np.float32))
    )
    assert_healthy(steps(again, 2))


@pytest.mark.parametrize(("before", "after"), [(ALL_TERMS, {}), ({}, ALL_TERMS)], ids=["fewer heads", "more heads"])
def test_what_was_learned_with_other_terms_is_of_use(
    painted: Project, ready: MakeTrainer, tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    one = steps(ready(painted, batch=4, **before), 4)
    one.save(tmp_path)
    two = ready(painted, batch=4, **after)
    two.load(tmp_path)
    pixels = np.random.default_rng(0).random((1, 32, 32), np.float32)
    np.testing.assert_array_equal(two.probabilities(pixels), one.probabilities(pixels))
    assert_healthy(steps(two, 2))


def test_suggestions_prefer_what_is_not_annotated(painted: Project, tiny: TrainConfig) -> None:
    rng = np.random.default_rng(3)
    for i in range(3):
        painted.add_image(discs(rng)[0], name=f"new {i}", axes="YX")
    with Session(painted, device="cpu", config=tiny) as session:
        session.train(steps=30)
        found = session.suggest(3)
        assert sorted(s.image for s in found) == ["new 0", "new 1", "new 2"]
        assert all(s.reason and s.seconds > 0 for s in found)
        assert session.suggest(2, query="entropy")[0].score > 0
        assert session.claims() == []


def test_large_objects_are_seen_smaller_until_small_ones_are_marked(
    make_project: MakeProject, ready: MakeTrainer, tmp_path: Path
) -> None:
    project = make_project("background", "cell", "dot")
    pixels, _ = discs(np.random.default_rng(3), side=128)
    image = project.add_image(pixels, name="a", axes="YX")
    marks = np.zeros((128, 128), np.uint8)
    marks[:20, :40], marks[100:, 60:] = 2, 1
    image.paint(marks)
    trainer = steps(ready(project, forest=False), 3)
    assert trainer._sizes.factors == (4, 4)
    assert trainer.probabilities(pixels[None]).shape == (3, 128, 128)
    trainer.save(tmp_path)
    other = ready(project, forest=False)
    other.load(tmp_path)
    assert other._sizes.factors == (4, 4)
    assert np.array_equal(other.probabilities(pixels[None]), trainer.probabilities(pixels[None]))

    marks[:] = 0
    marks[60:62, 60:62] = marks[60:62, 80:82] = 3
    image.paint(marks[60:62, 60:82], start=(60, 60))
    trainer.annotations_changed("a")
    assert trainer._sizes.factors == (1, 1)
    assert_healthy(steps(trainer, 3))
    assert trainer.probabilities(pixels[None]).shape == (3, 128, 128)
    assert ready(project, downsample=2)._sizes.factors == (2, 2)


def test_rough_masks_weigh_a_tenth_where_a_preset_says_so(painted: Project, ready: MakeTrainer) -> None:
    painted.images["a"].paint(np.full((96, 96), 2, np.uint8), trust="rough")
    preset = PRESETS["tags-and-masks"]
    trainer = ready(painted, **preset)
    batch = trainer._sampler.draw(trainer._store.blocks)
    _, given = trainer.learner.given(batch, Variety.of(trainer._store.blocks, TrainConfig()))
    assert given.trust is not None
    claimed = given.fields["rough"] > 0
    assert claimed.any()
    assert (preset["rough_weight"] * given.trust[claimed]).unique().tolist() == pytest.approx([0.1])
