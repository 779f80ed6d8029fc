"""Masks that may be wrong are kept apart from what a person is sure of."""

from pathlib import Path

import numpy as np
import pytest

from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.core.project import Project

SHAPE = (20, 300)


def new(folder: Path) -> Project:
    project = Project.create(folder / "p.weakseg", ["background", "cell"])
    project.add_image(np.random.default_rng(0).random(SHAPE).astype(np.float32), name="a", axes="YX")
    return project


def test_claims_are_kept_apart_and_found_again(tmp_path: Path) -> None:
    rough, imported = np.zeros(SHAPE, np.uint8), np.zeros((5, 10), np.uint8)
    rough[2:9, 3:260] = 2
    imported[1:] = 1
    with new(tmp_path) as project:
        image = project.images["a"]
        image.paint(rough, trust="rough")
        image.paint(imported, start=(3, 4), trust="imported")
        assert not image.annotations.painted_region()
        assert image.knowledge().known.sum() == 0
        assert not image.unsaved
    with Project.open(tmp_path / "p.weakseg") as project:
        annotations = project.images["a"].annotations
        assert set(annotations.claims) == {"rough", "imported"}
        np.testing.assert_array_equal(annotations.claims["rough"][...], rough)
        np.testing.assert_array_equal(annotations.claims["imported"][3:8, 4:14], imported)
        assert len(annotations.claimed_region()) == 3
        assert not np.asarray(annotations.labels[...]).any()


def test_a_claim_can_be_taken_back(tmp_path: Path) -> None:
    with new(tmp_path) as project:
        image = project.images["a"]
        for trust in ("rough", "imported"):
            image.paint(np.full(SHAPE, 2, np.uint8), trust=trust)  # type: ignore[arg-type]
        image.drop_claims("rough")
        image.drop_claims("machine")
        assert not np.asarray(image.annotations.claims["rough"][...]).any()
        assert np.asarray(image.annotations.claims["imported"][...]).all()


def test_a_claim_counts_as_a_change(tmp_path: Path) -> None:
    with new(tmp_path) as project:
        image = project.images["a"]
        before = image.revision
        image.paint(np.full(SHAPE, 2, np.uint8), trust="machine")
        assert image.revision == before + 1


def test_bad_claims_are_told_and_change_nothing(tmp_path: Path) -> None:
    with new(tmp_path) as project:
        image = project.images["a"]
        with pytest.raises(AnnotationError, match=r"“good” is no kind of trust.*“rough”"):
            image.paint(np.zeros(SHAPE, np.uint8), trust="good")  # type: ignore[arg-type]
        with pytest.raises(AnnotationError, match="7"):
            image.paint(np.full(SHAPE, 7, np.uint8), trust="rough")
        assert not image.annotations.claims.get("rough", np.zeros(1))[...].any()
