"""Tags of single frames of a stack: kept, copied, and never about another frame."""

from pathlib import Path

import numpy as np
import pytest

from napari_weakseg.core.errors import AnnotationError, ProjectError
from napari_weakseg.core.knowledge import Bag
from napari_weakseg.core.merging import merge
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage

CLASSES = ("background", "nucleus", "debris")


def stack(path: Path, *, ndim: int = 2, axes: str = "TYX", n: int = 3) -> tuple[Project, ProjectImage]:
    project = Project.create(path, CLASSES, ndim=ndim)
    return project, project.add_image(np.zeros((n, 8, 9), np.float32), name="stack", axes=axes)


def tags(image: ProjectImage) -> list[dict[int, bool]]:
    return [image.annotations.tags_of(frame) for frame in image.frames()]


def test_tags_of_frames_are_there_again_after_opening(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p")
    image.tag("debris", False)
    image.tag("nucleus", True, (1,))
    image.tag("debris", True, frame=np.array([2]))
    image.tag("nucleus", False, (0,))
    image.tag("nucleus", None, (0,))
    assert image.revision == 5
    project.close()
    with Project.open(tmp_path / "p") as project:
        assert project.notes == ()
        image = project.images["stack"]
        assert tags(image) == [{3: False}, {2: True, 3: False}, {3: True}]
        assert image.annotations.tags == {3: False}
        assert image.annotations.frame_tags == {(1,): {2: True}, (2,): {3: True}}


def test_a_frame_knows_what_is_said_of_it_alone(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p")
    image.tag("nucleus", False, (0,))
    image.tag("nucleus", True, (1,))
    image.tag("background", True)  # somewhere
    with project:
        known = [image.knowledge(frame) for frame in image.frames()]
        assert [bool(k.allowed.any() and (k.allowed & 0b100).all()) for k in known] == [False, True, True]
        assert [k.bags for k in known] == [(), (Bag(2, (0, 0), (8, 9)),), ()]
        assert image.knowledge((1,), region=(slice(0, 8), slice(0, 5))).bags == ()


def test_what_is_said_of_a_frame_after_the_whole_image_wins_there(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p")
    with project:
        image.tag("nucleus", False)
        image.tag("nucleus", True, (2,))
        assert [2 in tags and tags[2] for tags in tags(image)] == [False, False, True]
        assert (image.knowledge((2,)).allowed & 0b100).all()
        image.tag("nucleus", True)  # which contradicts no frame
        assert tags(image) == [{}, {}, {2: True}]
        image.tag("nucleus", False)
        assert tags(image) == [{2: False}] * 3


def test_the_only_frame_is_the_image(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p", n=1)
    with project:
        image.tag("nucleus", True, (0,))
        assert image.annotations.tags == {2: True}
        assert not image.annotations.frame_tags
        assert tags(image) == [{2: True}]
        assert len(image.knowledge((0,)).bags) == 1
        image.tag("nucleus", None, (0,))
        assert not image.annotations.used_classes()


def test_a_frame_that_is_not_there_is_refused(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p")
    for frame in ((3,), (-1,), (), (0, 0)):
        with pytest.raises(AnnotationError, match=r"“stack” has no frame .*go along T: \(3,\)"):
            image.tag("nucleus", True, frame)
    project.close()
    volumes, volume = stack(tmp_path / "v", ndim=3, axes="ZYX")
    with volumes, pytest.raises(AnnotationError, match=r"no frame \(0,\)"):
        volume.tag("nucleus", True, (0,))


def test_a_tagged_frame_keeps_its_class_and_its_axes(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p", axes="ZYX")
    image.tag("debris", False, (1,))
    with project:
        with pytest.raises(ProjectError, match="“debris” is still used on “stack”"):
            project.set_classes(project.classes.__class__(list(project.classes)[:2]))
        with pytest.raises(ProjectError, match="carries marks"):
            project.set_axes("stack", "TYX")
        with pytest.raises(ProjectError, match="carries marks"):
            project.set_ndim(3)


def test_merging_takes_tags_of_frames_along(tmp_path: Path) -> None:
    project, image = stack(tmp_path / "p")
    image.tag("debris", False)
    image.tag("debris", True, (2,))
    image.tag("nucleus", True, (1,))
    other = Project.create(tmp_path / "other", ("background", "debris"))
    with merge(tmp_path / "both", [other, project]) as both:
        assert both.classes.names == ("background", "debris", "nucleus")
        assert tags(both.images["stack"]) == [{2: False}, {2: False, 3: True}, {2: True}]
