"""Views vary the more, the fewer images are painted in."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine import learner
from napari_weakseg.engine.augment import Geometry, sample_geometry
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.intensity import Intensity, sample_intensity
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.trainer import Trainer
from napari_weakseg.engine.variety import Variety

MakeProject = Callable[..., Any]


def blocks_of(project: Any) -> list[Block]:
    store = BlockStore(project, np.random.default_rng(0))
    list(store.scan())
    while store.read_one():
        pass
    store.settle()
    return store.blocks


def variety(make_project: MakeProject, *, painted: int, bare: int = 1, **settings: Any) -> Variety:
    project = make_project()
    for i in range(painted + bare):
        image = project.add_image(np.random.default_rng(i).random((32, 32)), name=f"i{i}", axes="YX")
        if i < painted:
            image.paint(np.full((4, 4), 2, np.uint8), start=(2, 2))
    return Variety.of(blocks_of(project), TrainConfig(**settings))


def test_up_to_three_images_are_seen_in_most_ways_and_from_five_on_in_fewest(make_project: MakeProject) -> None:
    one, three, four, five, nine = (variety(make_project, painted=n) for n in (1, 3, 4, 5, 9))
    assert one == three == Variety(zoom=2.0, resampled_share=0.7, intensity=0.5)
    assert three.zoom > four.zoom > five.zoom
    assert three.intensity > four.intensity > five.intensity
    assert five == nine == Variety(zoom=1.25, resampled_share=0.3, intensity=0.2)


def test_where_there_is_no_other_image_nothing_has_to_vary_more(make_project: MakeProject) -> None:
    assert variety(make_project, painted=2, bare=0) == Variety(zoom=1.25, resampled_share=0.3, intensity=0.2)


def test_only_images_that_show_painted_objects_count(make_project: MakeProject) -> None:
    project = make_project()
    for i in range(12):
        project.add_image(np.random.default_rng(i).random((32, 32)), name=f"i{i}", axes="YX")
    project.images["i0"].paint(np.full((4, 4), 2, np.uint8), start=(2, 2))
    for i in range(1, 5):
        project.images[f"i{i}"].paint(np.full((4, 4), 1, np.uint8), start=(2, 2))  # background only
    for i in range(5, 9):
        project.images[f"i{i}"].tag(project.classes.names[1], False)
    for i in range(9, 12):
        project.images[f"i{i}"].add_box(2, (4, 4), (20, 20))
    assert Variety.of(blocks_of(project), TrainConfig()).zoom == 2


def test_painted_frames_of_a_stack_count_one_by_one(make_project: MakeProject) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((8, 32, 32)), name="stack", axes="TYX")
    found = []
    for t in range(6):
        image.paint(np.full((1, 4, 4), 2, np.uint8), start=(t, 2, 2))
        found.append(Variety.of(blocks_of(project), TrainConfig()).zoom)
    assert found == [2, 2, 2, 1.625, 1.25, 1.25]


@pytest.mark.parametrize("painted", [1, 9])
def test_settings_say_otherwise(make_project: MakeProject, painted: int) -> None:
    assert variety(make_project, painted=painted, zoom=1.5, intensity=0.0) == Variety(1.5, 0.3, 0.0)


def test_training_follows_what_is_painted(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the marks to the views: the network is taught on what `Variety` says, also after more was painted."""
    used: list[Variety] = []

    def geometry(*args: Any, resampled_share: float, zoom: float, **settings: Any) -> Geometry:
        used.append(Variety(zoom, resampled_share, 0))
        return sample_geometry(*args, resampled_share=resampled_share, zoom=zoom, **settings)

    def grey(*args: Any, strength: float, **settings: Any) -> Intensity:
        used[-1] = replace(used[-1], intensity=strength)
        return sample_intensity(*args, strength=strength, **settings)

    monkeypatch.setattr(learner, "sample_geometry", geometry)
    monkeypatch.setattr(learner, "sample_intensity", grey)
    project = make_project()
    for i in range(6):
        image = project.add_image(np.random.default_rng(i).random((32, 32)), name=f"i{i}", axes="YX")
        image.paint(np.full((4, 4), 1, np.uint8), start=(20, 20))
    project.images["i0"].paint(np.full((4, 4), 2, np.uint8), start=(2, 2))
    trainer = Trainer(project, TrainConfig(patch_px=32, batch=2, width=4, forest=False), device="cpu")
    list(trainer.prepare())
    trainer.step()
    for name, image in project.images.items():
        image.paint(np.full((4, 4), 2, np.uint8), start=(2, 2))
        trainer.annotations_changed(name)
    trainer.step()
    assert used == [Variety(2.0, 0.7, 0.5), Variety(1.25, 0.3, 0.2)]
    trainer.close()
