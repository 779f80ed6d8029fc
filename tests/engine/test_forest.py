"""The early forest: right after a few strokes, and the same again from what was saved."""

from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_weakseg.core.project import Project
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.early import EarlyForest
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.store import BlockStore


def blocks_of(project: Project) -> list[Block]:
    store = BlockStore(project, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    while store.read_one() is not None:
        pass
    return store.blocks


def forest(channels: int = 1, classes: int = 2, *, ndim: int = 2) -> PixelForest:
    return PixelForest(ndim, channels, classes, seed=0, jobs=1)


def test_tells_two_textures_apart_at_once(painted: Project, textures: tuple[Any, Any, Any]) -> None:
    trees = forest()
    assert not trees.ready
    trees.fit(blocks_of(painted), np.random.default_rng(0))
    assert trees.ready
    p = trees.predict(blocks_of(painted)[0].pixels)
    assert p.shape == (2, 96, 96)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    assert (p.argmax(0) + 1 == textures[1]).mean() > 0.9
    assert np.abs(np.diff(p[0], axis=0)).max() < 0.2  # no single pixels
    assert np.abs(np.diff(trees.predict_at(blocks_of(painted)[0].pixels, np.arange(96 * 96))[0])).max() > 0.5


def test_a_class_that_is_never_marked_gets_nothing(painted: Project) -> None:
    trees = forest(classes=5)
    trees.fit(blocks_of(painted), np.random.default_rng(0))
    p = trees.predict(np.zeros((1, 7, 5), np.float32))
    assert p.shape == (5, 7, 5)
    assert not p[2:].any()


def test_stays_silent_with_fewer_than_two_classes(painted: Project, textures: tuple[Any, Any, Any]) -> None:
    trees = forest()
    trees.fit([], np.random.default_rng(0))
    assert not trees.ready
    painted.images["a"].paint(np.where(textures[2] == 2, textures[2], 0))
    trees.fit(blocks_of(painted), np.random.default_rng(0))
    assert not trees.ready
    assert trees.save() == {}


def test_answers_the_same_after_saving(painted: Project) -> None:
    trees, again = forest(), forest()
    blocks = blocks_of(painted)
    trees.fit(blocks, np.random.default_rng(0))
    again.restore({name: tensor.clone() for name, tensor in trees.save().items()})
    assert again.ready
    np.testing.assert_array_equal(again.predict(blocks[0].pixels), trees.predict(blocks[0].pixels))
    empty = forest()
    empty.restore({"something": torch.zeros(3)})
    assert not empty.ready


def test_learns_in_three_dimensions_and_several_channels(make_project: Any) -> None:
    project = make_project(ndim=3)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(6, 2, 20, 20)).astype(np.float32)
    pixels[:, 1, :, 10:] += 4
    image = project.add_image(pixels, name="a", axes="ZCYX")
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[2, 4:8, 2:6], labels[3, 4:8, 14:18] = 1, 2
    image.paint(labels)
    (block,) = blocks_of(project)
    trees = forest(2, ndim=3)
    trees.fit([block], np.random.default_rng(0))
    found = trees.predict(block.pixels).argmax(0) + 1
    assert (found[:, :, :8] == 1).mean() > 0.9
    assert (found[:, :, 12:] == 2).mean() > 0.9


def test_more_blocks_share_the_pixels_that_are_learned_from(
    painted: Project, textures: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = int((textures[2] > 0).sum())
    blocks = blocks_of(painted)
    trees = forest()
    trees.fit(blocks, np.random.default_rng(0))
    responses = trees.save()["forest.responses"].shape[1]
    monkeypatch.setattr("napari_weakseg.engine.forest._MAX_RESPONSES", known * responses)
    trees = forest()
    trees.fit(blocks, np.random.default_rng(0))
    alone = len(trees.save()["forest.labels"])
    for name in "bc":
        painted.add_image(textures[0], name=name, axes="YX").paint(textures[2])
    trees.fit(blocks + blocks_of(painted)[1:], np.random.default_rng(0))
    together = len(trees.save()["forest.labels"])
    assert 0.8 * known < alone <= known
    assert together <= known + 9  # rounded up for each block and class


def test_an_image_with_a_box_alone_teaches_nothing(painted: Project, textures: tuple[Any, Any, Any]) -> None:
    """Its object is claimed, so that patches are placed there, but no pixel of it is certain."""
    painted.add_image(textures[0], name="boxed", axes="YX").add_box(2, (10, 10), (30, 30))
    *others, boxed = blocks_of(painted)
    boxed.claim[12:28, 12:28], boxed.claim_weight[12:28, 12:28] = 2, 100
    boxed.refresh()
    assert boxed.marked_at
    trees = forest()
    trees.fit([boxed], np.random.default_rng(0))
    assert not trees.ready
    trees.fit([boxed, *others], np.random.default_rng(0))
    assert trees.ready


def test_knows_the_blocks_that_it_learned_from_as_long_as_they_stay_as_they_are(
    painted: Project, textures: tuple[Any, Any, Any]
) -> None:
    painted.add_image(textures[0], name="b", axes="YX").paint(textures[2])
    blocks, trees = blocks_of(painted), forest()
    assert not trees.knows(blocks)
    trees.fit(blocks, np.random.default_rng(0))
    assert trees.knows(blocks)
    assert not trees.knows(blocks[:1])
    blocks[0].held_out[:40] = True
    assert not trees.knows(blocks)
    trees.fit(blocks, np.random.default_rng(0))
    assert trees.knows(blocks)
    trees._kept.clear()  # as where the scales change and then nothing is learned
    assert not trees.knows(blocks)


def test_a_part_of_many_pixels_tells_how_often_it_is_right_about_what_it_has_not_seen(
    painted: Project, textures: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    painted.add_image(textures[0], name="b", axes="YX").paint(textures[2])
    trees = forest()
    trees.fit(blocks_of(painted), np.random.default_rng(0))
    asked: list[int] = []
    grown = trees._grown

    def counted(rows: NDArray[np.float32], *more: Any) -> Any:
        asked.append(len(rows))
        return grown(rows, *more)

    def right() -> dict[int, float]:
        return trees.right_without(lambda place, at: np.full(len(at), place.image == "b"))

    monkeypatch.setattr(trees, "_grown", counted)
    every = right()
    monkeypatch.setattr("napari_weakseg.engine.forest._LEFT_OUT_ROWS", 300)
    some = right()
    assert asked[-1] < 300 < asked[0]
    assert every.keys() == some.keys() == {1, 2}
    assert some == pytest.approx(every, abs=0.15)


def test_learns_again_when_many_more_blocks_have_been_read_and_when_all_have(
    painted: Project, textures: tuple[Any, Any, Any]
) -> None:
    for name in "bcde":
        painted.add_image(textures[0], name=name, axes="YX").paint(textures[2])
    store = BlockStore(painted, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    early = EarlyForest(store, np.random.default_rng(0), seed=0, wanted=True)
    early.begin(2, 1, 2)
    pixels = []
    while not store.complete:
        store.read_one()
        early.read_on(0)
        pixels.append(len(early.save(0)["forest.labels"]))
    learned = [i + 1 for i, (a, b) in enumerate(zip([0, *pixels], pixels, strict=False)) if b != a]
    assert learned == [1, 4, 5]


def test_looks_more_broadly_where_marks_lie_in_more_places(make_project: Any) -> None:
    project = make_project()
    pixels = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    image = project.add_image(pixels, name="a", axes="YX")
    few, many = np.zeros((2, 512, 512), np.uint8)
    few[10:14, 10:40], few[50:54, 10:40] = 1, 2
    many[8::32, 8::32], many[24::32, 24::32] = 1, 2
    responses = []
    for labels in (few, many):
        image.paint(labels)
        trees = forest()
        trees.fit(blocks_of(project), np.random.default_rng(0))
        responses.append(trees.save()["forest.responses"].shape[1])
    assert responses == [1 + 6, 1 + 6 * 5]


def test_stays_silent_where_it_has_never_seen_background(make_project: Any, textures: tuple[Any, Any, Any]) -> None:
    """Each of two images is annotated for one class only: no pixel is certainly background."""
    project = make_project("background", "stripes", "noise")
    for name, class_id in (("a", 2), ("b", 3)):
        image = project.add_image(textures[0], name=name, axes="YX")
        image.paint(np.where(textures[2] == class_id - 1, class_id, 0))
        image.coverage(class_id, "exact")
    trees = forest(classes=3)
    trees.fit(blocks_of(project), np.random.default_rng(0))
    assert not trees.ready
    project.images["a"].paint(np.where(textures[2] == 1, 2, 1))
    trees.fit(blocks_of(project), np.random.default_rng(0))
    assert trees.ready


def test_a_long_stroke_counts_no_more_than_a_short_one(make_project: Any) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32), name="a")
    labels = np.zeros((200, 200), np.uint8)
    labels[:100], labels[150:155, :20] = 1, 2
    image.paint(labels)
    trees = forest()
    trees.fit(blocks_of(project), np.random.default_rng(0))
    assert np.bincount(trees.save()["forest.labels"].numpy()).tolist() == [0, 500, 100]
