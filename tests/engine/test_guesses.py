"""What the early forest says is claimed where nothing else is, while there are few marks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_weakseg.core.project import Project
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.guesses import Guesses
from napari_weakseg.engine.memory import BlockMemory
from napari_weakseg.engine.sampling import _fields
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.trainer import Trainer

MakeProject = Callable[..., Project]
MakeTrainer = Callable[..., Trainer]


def marked(make_project: MakeProject, *, areas: str = "some", images: int = 1) -> tuple[Project, np.ndarray]:
    """Make images with bright discs, one of which has a blob, and a stroke of background."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    truth = np.where(((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2) < 100, 2, 1).astype(np.uint8)
    labels = np.zeros_like(truth)
    labels[14:18, 14:18] = 2
    if areas == "some":  # else so much is surely far from the blob that areas are told
        labels[12:20, 12:20] = 2
    labels[31:33, 4:60] = 1
    project = make_project()
    for i in range(images):
        image = project.add_image(truth + rng.normal(0, 0.2, truth.shape), name=f"i{i}", axes="YX")
        image.paint(labels)
        image.coverage("nucleus", areas)
    return project, truth


def learned(project: Project) -> tuple[list[Block], PixelForest]:
    store, forest = BlockStore(project, np.random.default_rng(0)), PixelForest(2, 1, 2, seed=0, jobs=1)
    list(store.scan())
    while store.read_one():
        pass
    store.settle()
    forest.fit(store.blocks, np.random.default_rng(0))
    return store.blocks, forest


def test_guesses_yield_to_what_is_known_and_to_other_claims(make_project: MakeProject) -> None:
    project, truth = marked(make_project)
    (block,), forest = learned(project)
    everywhere = (slice(None), slice(None))
    block.claim[40:44, 40:44], block.claim_weight[40:44, 40:44] = 1, 99
    before = block.claim.copy()
    Guesses().step(0, [block], forest, 0.5)
    claim, weight = block.claimed(everywhere)
    np.testing.assert_array_equal(claim[before > 0], 1)
    np.testing.assert_array_equal(weight[before > 0], 99)
    assert not claim[block.knowledge.certain > 0].any()
    open_ = (block.knowledge.certain == 0) & (before == 0)
    assert (claim[open_] == truth[open_]).mean() > 0.9
    assert weight[open_].max() <= 0.5 * 255
    np.testing.assert_array_equal(block.claim, before)
    block.held_out[:] = True
    assert not _fields(block, everywhere, claimed=False)["claim"][0].any()


def test_a_block_is_guessed_about_at_a_time_and_again_when_the_forest_has_learned(make_project: MakeProject) -> None:
    project, _ = marked(make_project, images=3)
    blocks, forest = learned(project)
    guesses = Guesses()

    def go_on(first: int, last: int) -> list[bool]:
        for step in range(first, last):
            guesses.step(step, blocks, forest, 0.3)
        return [block.guess is not None for block in blocks]

    assert go_on(0, 5) == [True, False, False]
    assert go_on(5, 15) == [True, True, True]
    for block in blocks:
        block.guess[:] = 9
    go_on(15, 40)
    assert all((block.guess == 9).all() for block in blocks)
    forest.fit(blocks, np.random.default_rng(1))
    go_on(40, 55)
    assert not any((block.guess == 9).any() for block in blocks)
    guesses.step(56, blocks, forest, 0.0)
    assert all(block.guess is None for block in blocks)


def test_of_a_large_block_a_strip_is_guessed_about_at_a_time(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = marked(make_project)
    (block,), forest = learned(project)
    guesses, whole = Guesses(), Guesses()
    whole.step(0, [block], forest, 0.3)
    at_once, block.guess = block.guess, None
    monkeypatch.setattr("napari_weakseg.engine.guesses._PIXELS", 96 * 30)
    filled = []
    for turn in range(4):
        guesses.step(5 * turn, [block], forest, 0.3)
        filled.append(int((block.guess > 0).any(1).sum()))
    assert filled == [24, 48, 72, 96]
    assert (block.guess == at_once).mean() > 0.97
    forest.fit([block], np.random.default_rng(1))
    block.guess[:] = 9
    for turn in range(4, 10):  # it goes on below where it was, and begins again above when it is through
        guesses.step(5 * turn, [block], forest, 0.3)
        if turn in (5, 6):
            forest.fit([block], np.random.default_rng(turn))
    assert not (block.guess == 9).any()


def test_guesses_are_saved_with_the_block(make_project: MakeProject) -> None:
    project, _ = marked(make_project)
    (block,), forest = learned(project)
    Guesses().step(0, [block], forest, 0.3)
    (again,), _ = learned(project)
    BlockMemory.of(block).give_to(again)
    for name in ("guess", "guess_weight"):
        np.testing.assert_array_equal(getattr(again, name), getattr(block, name))


@pytest.mark.parametrize(("areas", "guessed"), [("some", True), ("all objects", False)])
def test_the_network_does_not_fill_with_objects_what_nobody_marked(
    make_project: MakeProject, ready: MakeTrainer, areas: str, *, guessed: bool
) -> None:
    project, truth = marked(make_project, areas=areas)
    trainer: Any = ready(project, forest=True)
    for _ in range(60):
        trainer.step()
    (block,) = trainer._store.blocks
    assert (block.guess is not None) is guessed
    if guessed:
        said = trainer.learner.voice.says(block.pixels, trainer.steps)[0].argmax(0) + 1
        assert (said == truth).mean() > 0.9
