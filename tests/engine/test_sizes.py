"""How large patches are."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.sizes import Sizes
from napari_weakseg.engine.trainer import Trainer


def patch_of(*shapes: tuple[int, ...], factors: Sequence[int] | None = None, **settings: Any) -> tuple[int, ...]:
    ndim = len(shapes[0])
    sizes = Sizes(torch.device("cpu"), ndim, TrainConfig(**{"patch_px": 64, "batch": 2, **settings}))
    sizes.factors = tuple(factors or sizes.factors)
    blocks: list[Any] = [SimpleNamespace(shape=shape) for shape in shapes]
    return sizes.patch(blocks, 8)


def test_a_patch_of_a_thin_volume_is_as_thin() -> None:
    assert patch_of((5, 96, 96)) == (8, 64, 64)
    assert patch_of((5, 96, 96), (20, 30, 30)) == (24, 64, 64)
    assert patch_of((96, 96, 96)) == (64, 64, 64)


def test_patches_can_be_turned_unless_half_of_them_would_be_empty() -> None:
    assert patch_of((20, 600)) == (24, 64)
    assert patch_of((40, 600)) == (64, 64)
    assert patch_of((40, 44)) == (48, 48)


def test_a_patch_suits_the_scale_that_the_network_sees() -> None:
    assert patch_of((10, 300, 300), factors=(1, 4, 4)) == (16, 256, 256)
    assert patch_of((20, 300), factors=(2, 2)) == (32, 128)


def test_one_small_patch_has_values_enough_to_normalise() -> None:
    assert np.prod(patch_of((3, 5, 5), batch=1)) > 8**3
    assert patch_of((5, 5), batch=1) == (8, 16)


@pytest.mark.parametrize(("ndim", "shape"), [(3, (5, 48, 48)), (2, (12, 90))])
def test_thin_patches_teach_everything_that_others_do(
    make_project: Callable[..., Project], ready: Callable[..., Trainer], ndim: int, shape: tuple[int, ...]
) -> None:
    project = make_project(ndim=ndim)
    labels = np.ones(shape, np.uint8)
    labels[..., 8:16] = 2
    for name in ("a", "b"):
        image = project.add_image(np.random.default_rng(0).random(shape, np.float32), name=name, axes="ZYX"[-ndim:])
        image.paint(labels)
        image.add_box("nucleus", (*(0 for _ in shape[1:]), 30), (*shape[:-1], 40))
    trainer = ready(
        project, patch_px=32, zoom=2.0, bag_weight=0.1, consistency_weight=0.1, multiscale_weight=0.1, second="decoder"
    )
    for _ in range(4):
        trainer.step()
    (tile,) = trainer.predict("a", ())
    assert np.isfinite(tile.probabilities).all()
