"""Planes that are seen with those beside them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.project import Project
from napari_weakseg.engine.planes import nearest, seen
from napari_weakseg.engine.trainer import Trainer
from napari_weakseg.session import Session

MakeProject = Callable[..., Project]
MakeTrainer = Callable[..., Trainer]

PLANE = (16, 32)


def region(z: int) -> tuple[slice, ...]:
    return (slice(z, z + 1), slice(2, 9), slice(4, 20))


@given(z=st.integers(0, 6), count=st.integers(1, 7), neighbours=st.integers(0, 4))
def test_the_plane_comes_first_then_those_nearest(z: int, count: int, neighbours: int) -> None:
    z = min(z, count - 1)
    found = nearest(z, count, neighbours)
    assert found[0] == z
    assert len(found) == 2 * neighbours + 1
    assert set(found) == set(range(max(0, z - neighbours), min(count, z + neighbours + 1)))
    away = [abs(i - z) for i in found]
    assert all(a <= (i + 1) // 2 for i, a in enumerate(away))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("z", [0, 2, 4])
def test_each_neighbour_is_what_is_read_there(channels: int, z: int) -> None:
    pixels = np.random.default_rng(0).random((5, channels, *PLANE), np.float32)
    source = ImageSource.open(pixels, "ZCYX")
    found = seen(source, region(z), 2)
    expected = [source.normalised(region(i)) for i in nearest(z, 5, 2)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    np.testing.assert_array_equal(seen(source, region(z), 0), source.normalised(region(z)))


def test_an_image_without_planes_is_its_own_neighbour() -> None:
    source = ImageSource.open(np.random.default_rng(0).random(PLANE, np.float32), "YX")
    found = seen(source, region(0)[1:], 1)
    np.testing.assert_array_equal(found, np.concatenate([source.normalised(region(0)[1:])] * 3))


def stack() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Noise in which a plane shows nothing: what an odd one is of is told by how bright the plane below it is."""
    rng = np.random.default_rng(0)
    pixels, classes = rng.random((12, 48, 48), np.float32), np.ones((12, 48, 48), np.uint8)
    for z in range(1, 12, 2):
        classes[z] = rng.integers(1, 3, (4, 4)).repeat(12, 0).repeat(12, 1)
        pixels[z - 1] += 1.5 * (classes[z] == 2)
    return pixels, classes


@pytest.mark.parametrize(("neighbours", "told"), [(0, False), (1, True)])
def test_what_only_the_planes_beside_it_tell_is_learned_from_them(
    make_project: MakeProject, ready: MakeTrainer, neighbours: int, *, told: bool
) -> None:
    project, (pixels, classes) = make_project(), stack()
    image = project.add_image(pixels, name="stack", axes="ZYX")
    odd = classes.copy()
    odd[::2] = 0
    odd[11] = 0
    image.paint(odd)
    trainer = ready(project, neighbours=neighbours, growth="off", orientation="fixed", intensity=0)
    for _ in range(60):
        trainer.step()
    (tile,) = trainer.predict("stack", (11,))
    right = tile.probabilities.argmax(0) + 1 == classes[11]
    assert bool(right.mean() > 0.95) is told


def test_growth_and_the_forest_look_at_the_plane_alone(make_project: MakeProject, ready: MakeTrainer) -> None:
    project, (pixels, classes) = make_project(), stack()
    image = project.add_image(pixels, name="stack", axes="ZYX")
    image.paint(np.where(np.arange(12)[:, None, None] == 5, classes, 0))
    image.paint(np.full((1, 4, 4), 2, np.uint8), start=(4, 20, 30))
    trainer = ready(project, neighbours=2, forest=True)
    for block in trainer._store.blocks:
        assert block.pixels.shape == (5, 48, 48)
        np.testing.assert_array_equal(block.plane, image.source.normalised(block.place.label_region)[:, 0])
    trainer.step()
    assert [said for said in trainer.suggest(2) if "stack" not in said] == []


def test_learning_begins_anew_with_other_neighbours(make_project: MakeProject) -> None:
    project, (pixels, classes) = make_project(), stack()
    project.add_image(pixels, name="stack", axes="ZYX").paint(classes)

    def learned(project: Project, neighbours: int) -> int:
        project.set_config(TrainConfig(width=8, batch=2, patch_px=32, forest=False, neighbours=neighbours))
        with Session(project, device="cpu") as session:
            return session.train(steps=2).step

    assert [learned(project, n) for n in (0, 0, 1, 1)] == [2, 4, 2, 4]


def test_volumes_are_seen_whole_anyway(make_project: MakeProject, ready: MakeTrainer) -> None:
    project, (pixels, classes) = make_project(ndim=3), stack()
    project.add_image(pixels, name="volume", axes="ZYX").paint(classes)
    trainer = ready(project, neighbours=3, patch_px=16)
    assert trainer._store.blocks[0].pixels.shape == (1, *pixels.shape)
    trainer.step()
