"""Marks tell no areas: predictions are corrected by how common classes turn out to be in the images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.bags import Boxes
from napari_weakseg.engine.blocks import areas_told
from napari_weakseg.engine.class_shares import (
    ClassShares,
    counted_shares,
    estimated_shares,
    mean_answers,
    taught_shares,
)
from napari_weakseg.engine.objective import Given
from napari_weakseg.engine.trainer import Trainer

MakeProject = Callable[..., Project]
MakeTrainer = Callable[..., Trainer]

K = 3
TRUE = np.array([0.88, 0.1, 0.02])


def values_of(shares: NDArray[np.floating], n: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Values of three normal classes and their exact probabilities, were all classes equally common."""
    rng = np.random.default_rng(0)
    x = rng.normal(2.0 * rng.choice(K, n, p=shares))
    density = np.exp(-0.5 * (x - 2.0 * np.arange(K)[:, None]) ** 2)
    return x, density / density.sum(0)


def given_of(labels: NDArray[np.uint8], *, exact: int = 0, claim: NDArray[np.uint8] | None = None) -> Given:
    """Marks (N, Y, X), 0 = none, and claims that count fully."""
    classes = torch.arange(1, K + 1).view(1, K, 1, 1)
    painted = torch.from_numpy(labels).unsqueeze(1)
    claims = torch.zeros(labels.shape, dtype=torch.uint8) if claim is None else torch.from_numpy(claim)
    n = len(labels)
    return Given(
        (painted == classes) | (painted == 0),
        {"claim": claims, "claim_weight": (claims > 0).to(torch.uint8) * 255},
        torch.zeros(n, K, dtype=torch.int8),
        torch.zeros(n, K, dtype=torch.bool),
        Boxes.of([], 2),
        exact,
        0,
    )


def sure_of(labels: NDArray[np.uint8]) -> torch.Tensor:
    """Logits of a network that has learned its marks, (N, K, Y, X)."""
    return 50.0 * (torch.from_numpy(labels).unsqueeze(1) == torch.arange(1, K + 1).view(1, K, 1, 1))


def test_shares_are_found_from_the_answers_alone() -> None:
    _, even = values_of(TRUE, 20_000)
    np.testing.assert_allclose(estimated_shares(even, np.full(K, 1 / K)), TRUE, atol=0.06)
    np.testing.assert_allclose(estimated_shares(even, TRUE), TRUE, atol=0.01)  # nothing to correct


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_shares_sum_to_one_and_no_class_vanishes(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    even = rng.dirichlet(np.full(classes, 0.2), 50).T
    shares = estimated_shares(even, rng.dirichlet(np.ones(classes)))
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).all()


def test_each_term_teaches_by_its_weight() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0, 0] = [1, 1, 2, 3]  # of the exact patch
    labels[1, 0, :2] = 2
    config = TrainConfig(claim_weight=0.5)
    torch.testing.assert_close(taught_shares(config, given_of(labels, exact=1)), torch.tensor([0.25, 0.625, 0.125]))
    claim = np.zeros((2, 4, 4), np.uint8)
    claim[1, 2:] = 3
    taught = taught_shares(config, given_of(labels, exact=1, claim=claim))
    torch.testing.assert_close(taught, torch.tensor([0.25, 0.625, 0.625]) / 1.5)
    doubted = given_of(labels, exact=1, claim=claim)
    doubted = replace(doubted, fields={**doubted.fields, "claim_weight": torch.zeros(2, 4, 4, dtype=torch.uint8)})
    torch.testing.assert_close(taught_shares(config, doubted), torch.tensor([0.25, 0.625, 0.125]))
    assert not taught_shares(config, given_of(np.zeros((1, 4, 4), np.uint8))).any()


def test_exact_patches_alone_have_all_the_say() -> None:
    labels = np.array([[[1, 1, 1, 2]], [[0, 0, 0, 0]]], np.uint8)
    taught = taught_shares(TrainConfig(), given_of(labels, exact=1))
    torch.testing.assert_close(taught, torch.tensor([0.75, 0.25, 0.0]))


def test_answers_about_marks_of_a_class_are_averaged() -> None:
    labels = np.array([[[1, 1, 2, 0]]], np.uint8)
    p = torch.tensor([[0.5, 0.7, 0.2, 0.9], [0.3, 0.1, 0.2, 0.05], [0.2, 0.2, 0.6, 0.05]])
    said = mean_answers(given_of(labels), p.log().view(1, K, 1, 4))
    torch.testing.assert_close(said, torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [0.0, 0.0, 0.0]]))


def test_a_network_that_knows_nothing_is_not_corrected(make_project: MakeProject, ready: MakeTrainer) -> None:
    """Rarely marked, equally likely everywhere: counted marks would make the rare class win."""
    project = make_project("a", "b", "c")
    labels = np.zeros((64, 64), np.uint8)
    labels[:2, :30], labels[10, :2], labels[12, :2] = 1, 2, 3
    project.add_image(np.random.default_rng(0).normal(size=(64, 64)), name="x", axes="YX").paint(labels)
    block = ready(project)._store.blocks[0]
    shares, rng = ClassShares(K, strength=1.0), np.random.default_rng(0)

    def says(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        weighed = shares.weights / shares.weights.sum()
        return np.broadcast_to(weighed[:, None, None], (K, *pixels.shape[1:])).astype(np.float32)

    for step in range(1, 201):
        shares.learn(TrainConfig(), given_of(labels[None]), torch.zeros(1, K, 64, 64))
        shares.look(step, [block], says, rng)
    np.testing.assert_allclose(shares.weights, 1, atol=0.01)


def test_a_class_that_was_marked_too_often_is_seen_less(make_project: MakeProject, ready: MakeTrainer) -> None:
    """A network that has learned the exact probabilities under the wrong shares finds the right ones."""
    shares, x = ClassShares(K, strength=1.0), values_of(TRUE, 128 * 128)[0].reshape(128, 128).astype(np.float32)
    project = make_project("a", "b", "c")
    labels = np.zeros((128, 128), np.uint8)
    labels[:2, :9] = np.repeat([1, 2, 3], 3)
    project.add_image(x, name="x").paint(labels)
    block = ready(project)._store.blocks[0]
    marks = np.array([[[1] * 2 + [2] * 5 + [3] * 3]], np.uint8)
    taught = np.array([0.2, 0.5, 0.3])

    def says(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        mean, spread = x.mean(), x.std()
        values = pixels[0] / pixels[0].std() * spread
        values = values - values.mean() + mean
        density = np.exp(-0.5 * (values - 2.0 * np.arange(K)[:, None, None]) ** 2) * taught[:, None, None]
        weighed = density * shares.weights[:, None, None]
        return np.asarray(weighed / weighed.sum(0), np.float32)

    rng = np.random.default_rng(0)
    for step in range(1, 301):
        shares.learn(TrainConfig(), given_of(marks), sure_of(marks))
        assert shares.look(step, [block], says, rng) == (step % 25 == 0)
    found = taught * shares.weights
    np.testing.assert_allclose(found / found.sum(), TRUE, atol=0.08)  # most of the way in three rounds
    said = says(block.pixels)
    even = values_of(TRUE, 128 * 128)[1].reshape(K, 128, 128)
    assert np.abs(shares.even(said) - even).mean() < 0.02  # and what it says evenly does not depend on the shares


def test_exact_images_tell_the_shares(
    painted: Project, make_project: MakeProject, ready: MakeTrainer, textures: tuple[NDArray[np.generic], ...]
) -> None:
    image, truth, _ = textures
    assert counted_shares(ready(painted)._store.blocks, 2) is None  # strokes alone tell nothing
    project = make_project()
    exact = project.add_image(image, name="a")
    exact.paint(np.where(np.arange(96) < 60, 1, 2).astype(np.uint8) * np.ones((96, 1), np.uint8))
    exact.coverage(None, "exact")
    project.add_image(image, name="b").paint(truth * (np.arange(96) % 7 == 0).astype(np.uint8))
    trainer = ready(project)
    np.testing.assert_allclose(counted_shares(trainer._store.blocks, 3), [60 / 96, 36 / 96, 0], atol=1e-6)


def test_told_areas_need_no_correction(
    painted: Project, ready: MakeTrainer, textures: tuple[NDArray[np.generic], ...]
) -> None:
    counted = painted.add_image(textures[0], name="counted")
    counted.paint(np.full((2, 2), 2, np.uint8), start=(0, 0))
    counted.coverage("nucleus", "all objects")
    trainer = ready(painted)
    assert areas_told(trainer._store.blocks)
    for _ in range(26):
        trainer.step()
    found = trainer.learner.shares.save()
    for _ in range(4):
        trainer.step()
    shares = ClassShares(2, strength=1.0)
    shares.restore(trainer.learner.shares.save())
    marks = np.array([[[1, 2]]], np.uint8)
    for each in (trainer.learner.shares, shares):  # nor are answers about marks counted, before and after a restart
        each.learn(TrainConfig(), given_of(marks), sure_of(marks))
        assert all(torch.equal(found[name], tensor) for name, tensor in each.save().items())
    assert (trainer.learner.voice.class_weights == 1).all()


@pytest.mark.parametrize("said", ["exact", "absent"])
def test_an_image_without_strokes_leaves_the_areas_of_the_others_untold(
    painted: Project, ready: MakeTrainer, textures: tuple[NDArray[np.generic], ...], said: str
) -> None:
    image, truth, _ = textures
    other = painted.add_image(image, name="other")
    if said == "absent":
        other.tag("nucleus", False)
    else:
        other.paint(np.where(truth == 2, 2, 0).astype(np.uint8))
        other.coverage(None, "exact")
    trainer = ready(painted)
    assert not areas_told(trainer._store.blocks)
    for _ in range(26):
        trainer.step()
    assert (trainer.learner.voice.class_weights != 1).any()


def test_nothing_is_corrected_where_tags_alone_tell_a_class(
    make_project: MakeProject, ready: MakeTrainer, textures: tuple[NDArray[np.generic], ...]
) -> None:
    image, _, strokes = textures
    project = make_project()
    project.add_image(image, name="a").paint(np.where(strokes == 2, strokes, 0).astype(np.uint8))
    project.add_image(image, name="b").tag("nucleus", False)
    trainer = ready(project)
    for _ in range(26):
        trainer.step()
    assert (trainer.learner.voice.class_weights == 1).all()


def test_nothing_is_corrected_where_a_class_is_learned_from_what_it_is_not(
    make_project: MakeProject, ready: MakeTrainer, textures: tuple[NDArray[np.generic], ...]
) -> None:
    """Each image annotated for one class: that of the background is certain nowhere."""
    image, truth, _ = textures
    project = make_project("background", "cell", "nucleus")
    for name, class_id in (("a", 2), ("b", 3)):
        project.add_image(image, name=name).paint(np.where(truth == 2, class_id, 0).astype(np.uint8))
        project.images[name].coverage(class_id, "exact")
    trainer = ready(project)
    assert not areas_told(trainer._store.blocks)
    for _ in range(30):
        trainer.step()
    assert (trainer.learner.voice.class_weights == 1).all()


def test_without_correction_nothing_is_weighed(painted: Project, ready: MakeTrainer) -> None:
    plain = ready(painted, prior_correction=0.0)
    corrected = ready(painted)
    for trainer in (plain, corrected):
        for _ in range(50):
            trainer.step()
    assert (plain.learner.voice.class_weights == 1).all()
    assert not (corrected.learner.voice.class_weights == 1).all()


def test_weights_and_looks_come_back(painted: Project, ready: MakeTrainer, tmp_path: Path) -> None:
    trainer, again = ready(painted), ready(painted)
    for _ in range(60):
        trainer.step()
    trainer.save(tmp_path)
    again.load(tmp_path)
    for a, b in zip(trainer.learner.shares.save().values(), again.learner.shares.save().values(), strict=True):
        torch.testing.assert_close(a, b)
    for _ in range(20):  # over the next look
        trainer.step()
        again.step()
    np.testing.assert_array_equal(trainer.learner.voice.class_weights, again.learner.voice.class_weights)
