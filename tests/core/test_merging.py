"""Projects with different classes in one: nothing is said that nobody said, and nothing is lost."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.errors import ImageError, ProjectError
from napari_weakseg.core.merging import merge
from napari_weakseg.core.project import Project

SHAPE = (40, 50)


def pixels(channels: int = 0) -> NDArray[np.float32]:
    shape = (channels, *SHAPE) if channels else SHAPE
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def square(class_id: int, *, background: int = 0) -> NDArray[np.uint8]:
    labels = np.full(SHAPE, background, np.uint8)
    labels[5:15, 5:15] = class_id
    return labels


@pytest.fixture
def nuclei(tmp_path: Path) -> Project:
    """One image exact, one with strokes."""
    project = Project.create(tmp_path / "nuclei", ("background", "nucleus"))
    tifffile.imwrite(tmp_path / "field.tif", pixels())
    exact = project.add_image(tmp_path / "field.tif")
    exact.paint(square(2, background=1))
    exact.paint_objects("nucleus", square(1).astype(np.int32) * 7)
    exact.coverage(None, "exact")
    loose = project.add_image(pixels(), name="loose", axes="YX", pixel_size={"X": (0.1, "µm"), "Y": (0.1, "µm")})
    strokes = square(2)
    strokes[30] = 1
    loose.paint(strokes)
    loose.add_box("nucleus", (20, 20), (30, 30))
    loose.tag("nucleus", True)
    return project


@pytest.fixture
def fibres(tmp_path: Path) -> Project:
    project = Project.create(tmp_path / "fibres", ("other", "fibre", "nucleus"))
    image = project.add_image(pixels(), name="field", axes="YX")
    image.paint(square(3))
    image.paint(square(2) + square(0), trust="rough")
    image.coverage("nucleus", "all objects", (0, 0), (20, 20))
    return project


def test_classes_are_joined_by_name(tmp_path: Path, nuclei: Project, fibres: Project) -> None:
    with merge(tmp_path / "both", [nuclei, fibres]) as both:
        assert both.classes.names == ("background", "nucleus", "fibre")
        assert list(both.images) == ["field", "loose", "field-2"]
        third = both.images["field-2"]
        np.testing.assert_array_equal(np.asarray(third.annotations.labels[...]), square(2))
        np.testing.assert_array_equal(np.asarray(third.annotations.claims["rough"][...]), square(3))
        assert [(rule.class_id, rule.kind, rule.start) for rule in third.annotations.rules] == [
            (2, "all objects", (0, 0))
        ]


def test_who_did_not_know_a_class_has_said_nothing_of_it(tmp_path: Path, nuclei: Project, fibres: Project) -> None:
    with merge(tmp_path / "both", [nuclei, fibres]) as both:
        known = both.images["field"].knowledge()
        inside = square(1) > 0
        np.testing.assert_array_equal(known.certain, np.where(inside, 2, 0))
        assert ((known.allowed[~inside] & 0b0100) == 0).all()  # no nucleus there
        assert ((known.allowed[~inside] & 0b1010) == 0b1010).all()  # background or fibre
        assert "imported" not in both.images["field"].annotations.claims


def test_loose_background_becomes_a_claim(tmp_path: Path, nuclei: Project, fibres: Project) -> None:
    with merge(tmp_path / "both", [nuclei, fibres]) as both:
        loose = both.images["loose"].annotations
        assert loose.painted_counts() == {2: 100}
        claimed = np.asarray(loose.claims["imported"][...])
        assert (claimed[30] == 1).all()
        assert claimed.sum() == SHAPE[1]
        assert [(box.class_id, box.start, box.stop) for box in loose.boxes] == [(2, (20, 20), (30, 30))]
        assert dict(loose.tags) == {2: True}


def test_projects_of_the_same_classes_keep_their_background(tmp_path: Path, nuclei: Project) -> None:
    with merge(tmp_path / "copy", [nuclei]) as copy:
        for name, image in nuclei.images.items():
            old, new = image.annotations, copy.images[name].annotations
            np.testing.assert_array_equal(np.asarray(old.labels[...]), np.asarray(new.labels[...]))
            np.testing.assert_array_equal(np.asarray(old.objects[...]), np.asarray(new.objects[...]))
            before, after = image.knowledge(), copy.images[name].knowledge()
            np.testing.assert_array_equal(before.allowed, after.allowed)


def test_a_copied_array_outlives_its_project(tmp_path: Path, nuclei: Project) -> None:
    copy = merge(tmp_path / "copy", [nuclei])
    assert copy.images["loose"].path.is_relative_to(tmp_path / "copy")
    assert copy.images["field"].path.resolve() == (tmp_path / "field.tif").resolve()
    assert copy.images["loose"].source.pixel_size == {"X": (0.1, "µm"), "Y": (0.1, "µm")}
    copy.close()
    with Project.open(tmp_path / "copy") as again:
        whole = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
        np.testing.assert_allclose(
            again.images["loose"].source.normalised(whole), nuclei.images["loose"].source.normalised(whole)
        )


def test_merged_classes_have_colours_of_their_own(tmp_path: Path, nuclei: Project) -> None:
    fibres = Project.create(tmp_path / "f", ("background", "fibre", "vessel"))
    with fibres, merge(tmp_path / "both", [nuclei, fibres]) as both:
        assert both.classes.names == ("background", "nucleus", "fibre", "vessel")
        assert both.classes.colors[1] == nuclei.classes.colors[1]
        assert len(set(both.classes.colors)) == 4


def test_each_image_is_told_and_merging_can_be_given_up(tmp_path: Path, nuclei: Project, fibres: Project) -> None:
    told: list[str] = []
    merge(tmp_path / "all", [nuclei, fibres], on_image=told.append).close()
    assert told == ["field", "loose", "field"]

    def give_up(name: str) -> None:
        if name == "loose":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path / "half", [nuclei, fibres], on_image=give_up)
    assert not (tmp_path / "half").exists()


def test_the_merged_projects_stay_as_they_are(tmp_path: Path, nuclei: Project, fibres: Project) -> None:
    before = [image.annotations.painted_counts() for p in (nuclei, fibres) for image in p.images.values()]
    merge(tmp_path / "both", [nuclei, fibres]).close()
    assert before == [image.annotations.painted_counts() for p in (nuclei, fibres) for image in p.images.values()]
    assert nuclei.classes.names == ("background", "nucleus")


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path, nuclei: Project) -> None:
    with pytest.raises(ProjectError, match="no project to merge"):
        merge(tmp_path / "none", [])
    with (
        Project.create(tmp_path / "volumes", ("background", "cell"), ndim=3) as volumes,
        pytest.raises(ProjectError, match="others for volumes"),
    ):
        merge(tmp_path / "new", [nuclei, volumes])
    with Project.create(tmp_path / "colour", ("background", "cell")) as colour:
        colour.add_image(pixels(2), name="two", axes="CYX")
        with pytest.raises(ImageError, match="2 channels"):
            merge(tmp_path / "new", [nuclei, colour])
        assert not (tmp_path / "new").exists()
    (tmp_path / "field.tif").unlink()
    nuclei.close()
    with Project.open(tmp_path / "nuclei") as lacking, pytest.raises(ProjectError, match="lacks the files"):
        merge(tmp_path / "newer", [lacking])


def test_a_background_that_is_an_object_elsewhere_is_refused(tmp_path: Path, nuclei: Project) -> None:
    turned = Project.create(tmp_path / "turned", ("nucleus", "background"))
    turned.add_image(pixels(), name="field", axes="YX").paint(square(1, background=2))
    for pair in ([nuclei, turned], [turned, nuclei]):
        with pytest.raises(ProjectError, match=r"first class of .* a class of objects in"):
            merge(tmp_path / "both", pair)
    assert not (tmp_path / "both").exists()


def test_a_file_in_several_projects_is_told(tmp_path: Path, nuclei: Project) -> None:
    second = Project.create(tmp_path / "second", ("background", "nucleus"))
    second.add_image(tmp_path / "field.tif").paint(square(1))
    with merge(tmp_path / "both", [nuclei, second]) as both:
        (note,) = both.notes
        assert "field.tif" in note
        assert "“field” and “field-2”" in note
