"""The early forest: right after a few strokes, and the same again from what was saved."""

from collections import deque
from typing import Any

import numpy as np
import torch

from napari_weakseg.core.project import Project
from napari_weakseg.engine.blocks import Block
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
