"""Views vary the more, the fewer images are painted in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.augment import sample_geometry
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.variety import Variety

MakeProject = Callable[..., Any]


def blocks_of(project: Any) -> list[Block]:
    store = BlockStore(project, np.random.default_rng(0))
    list(store.scan())
    while store.read_one():
        pass
    store.settle()
    return store.blocks


def variety(make_project: MakeProject, *, painted: int, bare: int = 0, **settings: Any) -> Variety:
    project = make_project()
    for i in range(painted + bare):
        image = project.add_image(np.random.default_rng(i).random((32, 32)), name=f"i{i}", axes="YX")
        if i < painted:
            image.paint(np.ones((4, 4), np.uint8), start=(2, 2))
    return Variety.of(blocks_of(project), TrainConfig(**settings))


def test_up_to_three_images_are_seen_in_most_ways_and_from_five_on_in_fewest(make_project: MakeProject) -> None:
    one, three, four, five, nine = (variety(make_project, painted=n) for n in (1, 3, 4, 5, 9))
    assert one == three == Variety(zoom=2.0, resampled=0.7, intensity=0.5)
    assert three.zoom > four.zoom > five.zoom
    assert three.intensity > four.intensity > five.intensity
    assert five == nine == Variety(zoom=1.25, resampled=0.3, intensity=0.2)


def test_images_without_paint_do_not_count(make_project: MakeProject) -> None:
    assert variety(make_project, painted=2, bare=10) == variety(make_project, painted=2)


def test_painted_frames_of_a_stack_count_one_by_one(make_project: MakeProject) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((8, 32, 32)), name="stack", axes="TYX")
    for t in range(6):
        image.paint(np.ones((1, 4, 4), np.uint8), start=(t, 2, 2))
    assert Variety.of(blocks_of(project), TrainConfig()).intensity == 0.2


@pytest.mark.parametrize("painted", [1, 8])
def test_settings_say_otherwise(make_project: MakeProject, painted: int) -> None:
    found = variety(make_project, painted=painted, zoom=1.5, intensity=0.0)
    assert (found.zoom, found.intensity) == (1.5, 0.0)


def test_patches_are_zoomed_both_ways_and_no_further() -> None:
    geometry = sample_geometry(
        400, (8, 8), orientation="fixed", generator=torch.Generator().manual_seed(0), resampled=1, zoom=2
    )
    assert geometry.affine is not None
    scales = torch.linalg.det(geometry.affine).sqrt()
    assert 0.5 <= scales.min() < 0.52
    assert 1.9 < scales.max() <= 2
