from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from napari_weakseg import Project

# a shared machine may pause at any moment: no deadline for a single example
settings.register_profile("weakseg", deadline=None)
settings.load_profile("weakseg")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of three classes with one image of 40 x 50, “field”."""
    with Project.create(tmp_path / "cells.weakseg", ["background", "nucleus", "debris"]) as project:
        pixels = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
        project.add_image(pixels, name="field")
        yield project
