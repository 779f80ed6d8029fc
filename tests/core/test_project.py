import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_weakseg import Project
from napari_weakseg.core.annotations import Box, CoverageRule
from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ImageError, ProjectError


def labels_of(project: Project, name: str = "field") -> np.ndarray:
    return np.asarray(project.images[name].annotations.labels)


def objects_of(project: Project, name: str = "field") -> np.ndarray:
    return np.asarray(project.images[name].annotations.objects)


def test_only_settings_that_differ_from_the_defaults_are_stored(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["background", "nucleus"], config=TrainConfig(batch=7, width=None)) as project:
        assert json.loads((project.path / "project.json").read_text())["config"] == {"batch": 7}
        project.set_config(TrainConfig(tau=0.7))
        assert json.loads((project.path / "project.json").read_text())["config"] == {"tau": 0.7}
    with Project.open(tmp_path / "p") as project:
        assert project.config == TrainConfig(tau=0.7)


def test_everything_is_there_again_after_opening(tmp_path: Path) -> None:
    path = tmp_path / "cells.weakseg"
    labels = np.zeros((40, 50), int)
    labels[3:9, 4:20] = 2
    with Project.create(path, ["background", "nucleus"], config=TrainConfig(batch=7)) as project:
        image = project.add_image(
            np.ones((40, 50, 3), np.uint8), name="a/b: é", pixel_size={"Y": (0.5, "µm"), "X": (0.5, "µm")}
        )
        image.paint(labels)
        image.paint_objects("nucleus", np.ones((2, 2), int), start=(3, 4))
        image.add_box("nucleus", (1, 2), (30, 60))
        image.tag("nucleus", True)
        image.coverage(None, "exact", (0, 0), (10, 10))
        project.set_classes(project.classes.added("debris"))
        project.append_history({"step": 3})
    with Project.open(path) as project:
        assert project.notes == ()
        assert project.name == "cells"
        assert project.ndim == 2
        assert project.config.batch == 7
        assert project.classes.names == ("background", "nucleus", "debris")
        image = project.images["a/b: é"]
        assert (image.axes, image.label_axes, image.label_shape, image.n_channels) == (
            "YXS",
            "YX",
            (40, 50),
            3,
        )
        assert image.source.is_rgb
        assert image.source.pixel_size == {"Y": (0.5, "µm"), "X": (0.5, "µm")}
        assert np.array_equal(labels_of(project, image.name), labels)
        assert objects_of(project, image.name).sum() == 4
        assert image.annotations.boxes == (Box(2, (1, 2), (30, 50)),)
        assert image.annotations.tags == {2: True}
        assert image.annotations.rules == (CoverageRule(None, "exact", (0, 0), (10, 10)),)
        assert [entry["step"] for entry in project.history()] == [3]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_paint_on_disk_equals_paint_in_memory(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any sequence of blocks, strokes across chunk borders and erasures included, in 2-D and 3-D."""
    shape = data.draw(st.sampled_from([(300, 270), (3, 20, 300)]))
    path = tmp_path_factory.mktemp("p") / "p"
    labels, objects = np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
    with Project.create(path, ["background", "nucleus", "debris"]) as project:
        axes = "ZYX"[-len(shape) :]
        image = project.add_image(np.zeros(shape, np.uint8), name="field", axes=axes)
        for _ in range(data.draw(st.integers(1, 6))):
            start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
            size = [data.draw(st.integers(1, n - a)) for n, a in zip(shape, start, strict=True)]
            where = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
            value = data.draw(st.integers(0, 3))
            block = np.full(size, value)
            if data.draw(st.booleans()):
                image.paint(block, start=start)
                objects[where] = np.where(labels[where] == value, objects[where], 0)
                labels[where] = value
            else:
                image.paint_objects("debris", block * 5, start=start)
                gone = (labels[where] == 3) & (objects[where] > 0)
                labels[where] = 3 if value else np.where(gone, 0, labels[where])
                objects[where] = 5 * value if value else np.where(gone, 0, objects[where])
            assert np.array_equal(labels_of(project), labels)
    with Project.open(path) as project:
        assert np.array_equal(labels_of(project), labels)
        assert np.array_equal(objects_of(project), objects)
        counts = project.images["field"].annotations.painted_counts()
        assert counts == {c: int((labels == c).sum()) for c in (1, 2, 3) if (labels == c).any()}
        mask = np.zeros(shape, bool)
        for region in project.images["field"].annotations.painted_region():
            mask[region] = True
        assert mask[labels > 0].all()


def test_removing_annotations_leaves_what_never_having_made_them_does(project: Project) -> None:
    image = project.images["field"]
    image.paint(np.pad(np.full((4, 4), 2), ((0, 36), (0, 46))))
    before = image.knowledge()
    image.paint(np.full((5, 5), 3), start=(20, 20))
    image.add_box("debris", (18, 18), (30, 30))
    image.tag("debris", False)
    image.coverage("nucleus", "exact")
    assert not np.array_equal(image.knowledge().allowed, before.allowed)
    image.paint(np.zeros((5, 5), int), start=(20, 20))
    image.remove_box(0)
    image.tag("debris", None)
    image.coverage("nucleus", "some")
    after = image.knowledge()
    assert np.array_equal(after.allowed, before.allowed)
    assert np.array_equal(after.seeds, before.seeds)
    assert after.bags == before.bags
    assert image.annotations.rules == ()


def test_only_changed_chunks_are_written(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(np.zeros((1000, 1000), np.uint8), name="field")
        labels = np.zeros((1000, 1000), int)
        labels[:300, :300] = 2
        image.paint(labels)
        folder = tmp_path / "p" / "annotations" / "field" / "labels.zarr"
        before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
        assert {name for name in before if name.startswith("c")} == {"c.0.0", "c.0.1", "c.1.0", "c.1.1"}
        labels[10, 10] = 1
        image.paint(labels)
        after = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
        assert {name for name in after if before.get(name) != after[name]} == {"c.0.0"}
        image.paint(labels * 0)
        assert [file.name for file in folder.iterdir()] == ["zarr.json"]  # empty chunks are not stored


def test_revision_and_recent_regions_follow_changes_only(project: Project) -> None:
    image = project.images["field"]
    stroke = np.full((3, 4), 2)
    image.paint(stroke, start=(5, 6))
    image.paint(stroke, start=(5, 6))
    assert image.revision == 1
    image.paint(np.ones((1, 1), int), start=(30, 30))
    assert image.revision == 2
    assert image.recent == [
        (slice(30, 31), slice(30, 31)),
        (slice(5, 8), slice(6, 10)),
    ]
    image.tag("nucleus", True)
    image.tag("nucleus", True)
    assert image.revision >= 3


def test_another_class_over_an_object_takes_its_id_away(project: Project) -> None:
    image = project.images["field"]
    image.paint_objects("nucleus", np.full((4, 4), 9), start=(0, 0))
    labels = labels_of(project).copy()
    labels[0, 0], labels[1, 1] = 3, 0
    image.paint(labels)
    assert objects_of(project)[:4, :4].tolist() == [[0, 9, 9, 9], [9, 0, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]


def test_objects_taken_away_take_their_paint_along_but_no_other_paint(project: Project) -> None:
    image = project.images["field"]
    image.paint(np.full((4, 4), 2), start=(20, 20))
    image.paint(np.full((2, 2), 1), start=(0, 10))
    image.paint_objects("nucleus", np.full((4, 4), 9), start=(0, 0))
    image.paint_objects("nucleus", np.zeros((40, 50), int))
    assert image.annotations.painted_counts() == {1: 4, 2: 16}


def test_frames_of_a_stack_and_of_a_volume(tmp_path: Path) -> None:
    stack = np.zeros((2, 9, 30, 30), np.uint8)
    with Project.create(tmp_path / "2d", ["background", "nucleus"]) as project:
        image = project.add_image(stack, name="stack", axes="TZYX")
        assert len(image.frames()) == 18
        assert image.frame_region((1, 3)) == (slice(1, 2), slice(3, 4), slice(0, 30), slice(0, 30))
        image.paint(np.full((5, 5), 2), start=(1, 3, 0, 0))
        assert image.knowledge((1, 3)).painted.sum() == 25
        assert not image.knowledge((0, 3)).painted.any()
        assert image.knowledge((1, 3), region=(slice(0, 7), slice(2, 9))).painted.sum() == 15
    with Project.create(tmp_path / "3d", ["background", "nucleus"], ndim=3) as project:
        sizes = {"Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.5, "µm")}
        image = project.add_image(stack, name="volumes", axes="TZYX", pixel_size=sizes)
        lower = {axis.lower(): size for axis, size in sizes.items()}
        assert project.add_image(stack, name="again", axes="tzyx", pixel_size=lower).spacing == image.spacing
        assert image.frames() == [(0,), (1,)]
        image.paint(np.full((1, 1, 1), 2), start=(0, 4, 15, 15))
        image.coverage("nucleus", "all objects")
        k = image.knowledge((0,), reach_px={2: 4.5})
        assert k.shape == (9, 30, 30)
        assert not k.known[5, 15, 15]  # one plane is 4 pixels away
        assert k.known[6, 15, 15]


def test_removed_images_can_be_found_in_the_trash(project: Project) -> None:
    project.images["field"].paint(np.full((3, 3), 2), start=(0, 0))
    project.remove_image("field")
    assert "field" not in project.images
    kept = [path for path in (project.path / "trash").rglob("c.0.0") if "labels.zarr" in path.parts]
    assert len(kept) == 1
    again = project.add_image(np.zeros((8, 8), np.uint8), name="field")
    assert again.annotations.painted_region() == []
    project.close()
    with Project.open(project.path) as opened:
        assert list(opened.images) == ["field"]


def test_image_files_stay_where_they_are_and_can_be_found_again(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", np.arange(400, dtype=np.uint16).reshape(20, 20))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(tmp_path / "one.tif")
        assert image.name == "one"
        image.paint(np.full((2, 2), 2), start=(0, 0))
        assert json.loads((tmp_path / "p" / "project.json").read_text())["images"][0]["path"] == "../one.tif"
    (tmp_path / "one.tif").rename(tmp_path / "moved.tif")
    with Project.open(tmp_path / "p") as project:
        assert project.missing == ("one",)
        assert "one.tif” of the image “one” is missing" in project.notes[0]
        assert project.images["one"].annotations.painted_counts() == {2: 4}
        project.images["one"].paint(np.full((1, 1), 1), start=(9, 9))  # annotating goes on
        project.relink("one", tmp_path / "moved.tif")
        assert project.missing == ()
        assert project.images["one"].source.read((slice(0, 1), slice(0, 2))).tolist() == [[[0, 1]]]
    tifffile.imwrite(tmp_path / "moved.tif", np.zeros((20, 20), np.uint16))
    with Project.open(tmp_path / "p") as project:
        assert "was changed since it was added" in project.notes[0]


def test_what_was_measured_on_an_image_is_kept(tmp_path: Path) -> None:
    def kept() -> list[object]:
        return [item["statistics"] for item in json.loads((tmp_path / "p" / "project.json").read_text())["images"]]

    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        for name in ("a", "b", "c"):
            project.add_image(pixels, name=name)
        for image in project.images.values():
            assert image.source.statistics.low == pytest.approx([3.99])
        assert kept() == [None, None, None]  # written at leisure: it can be measured again
    assert all(kept())
    with Project.open(tmp_path / "p") as project:
        assert project.images["b"].source.statistics.high == pytest.approx([395.01])


def test_images_of_one_name_get_numbers(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "field.tif", np.zeros((20, 20), np.uint8))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        names = [project.add_image(tmp_path / folder / "field.tif").name for folder in ("a", "b")]
        assert names == ["field", "field-2"]
        project.images["field-2"].paint(np.full((1, 1), 2), start=(0, 0))
        assert project.images["field"].annotations.painted_counts() == {}


def test_a_class_in_use_is_not_removed(project: Project) -> None:
    project.images["field"].paint(np.full((1, 1), 3), start=(0, 0))
    with pytest.raises(ProjectError, match="“debris” is still used on “field”"):
        project.set_classes(ClassTable.from_names(["background", "nucleus"]))
    project.images["field"].paint(np.zeros((1, 1), int), start=(0, 0))
    project.set_classes(ClassTable.from_names(["background", "nucleus"]))
    assert len(project.classes) == 2


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["background", "debris"], "would become “debris”"),
        (["background", "debris", "nucleus"], "would become “debris”"),
        (["background", "cell", "nucleus"], "would become “cell”"),
        (["background"], "would be gone"),
    ],
)
def test_paint_never_comes_to_mean_another_class(project: Project, names: list[str], what: str) -> None:
    project.images["field"].paint(np.full((1, 1), 2), start=(0, 0))
    with pytest.raises(ProjectError, match=f"“nucleus” is still used on “field” and {what}.*in their order"):
        project.set_classes(ClassTable.from_names(names))
    assert project.classes.names == ("background", "nucleus", "debris")
    for table in (project.classes.renamed("nucleus", "cell"), ClassTable.from_names(["background", "cell"])):
        project.set_classes(table)  # another name for the same class; one that nothing uses
    project.images["field"].paint(np.zeros((1, 1), int), start=(0, 0))
    project.set_classes(ClassTable.from_names(names))


def test_projects_made_when_any_fourth_channel_was_opacity_go_on_with_three(tmp_path: Path) -> None:
    np.save(tmp_path / "four.npy", np.arange(4 * 400, dtype=np.uint16).reshape(20, 20, 4))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        assert project.add_image(tmp_path / "four.npy").n_channels == 4
    file = tmp_path / "p" / "project.json"
    record = json.loads(file.read_text())
    record["images"][0] |= {"n_channels": 3, "axes": "YXS"}
    file.write_text(json.dumps(record))
    with Project.open(tmp_path / "p") as project:
        image = project.images["four"]
        assert image.source.n_channels == image.n_channels == 3
        assert image.source.normalised((slice(0, 5), slice(0, 5))).shape == (3, 5, 5)


def test_normalisation_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_weakseg.core.images import ImageSource

    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(np.random.default_rng(0).normal(100, 10, (64, 64)), name="field")
        first = image.source.normalised((slice(0, 9), slice(0, 9)))
    monkeypatch.setattr(ImageSource, "_measured", lambda self: pytest.fail("measured again"))
    with Project.open(tmp_path / "p") as project:
        again = project.images["field"].source.normalised((slice(0, 9), slice(0, 9)))
    assert np.array_equal(first, again)


def test_coverage_of_a_class_in_plain_words(project: Project) -> None:
    image = project.images["field"]
    image.coverage(None, "exact")
    image.coverage("nucleus", "all objects", (0, 0), (10, 10))
    annotations = image.annotations
    assert annotations.coverage_of(3) == "exact"
    assert annotations.coverage_of(2) is None
    assert annotations.coverage_of(2, (slice(0, 5), slice(0, 5))) == "all objects"
    image.coverage("nucleus", "some")
    assert image.annotations.rules == (CoverageRule(None, "exact"), CoverageRule(2, "some"))
    image.coverage(None, "some")
    assert image.annotations.rules == ()


def test_history_survives_a_cut_off_line(project: Project) -> None:
    project.append_history({"step": 1})
    with (project.path / "history.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    project.append_history({"step": 3})
    assert [entry["step"] for entry in project.history()] == [1, 3]


def test_the_number_of_spatial_axes_changes_only_while_nothing_is_marked(tmp_path):
    with Project.create(tmp_path / "p", ["background", "cell"]) as project:
        project.add_image(np.zeros((4, 20, 30), np.uint8), name="stack", axes="ZYX")
        project.set_ndim(3)
        assert project.images["stack"].frames() == [()]
        image = project.images["stack"]
        image.paint(np.full((1, 2, 2), 2, np.uint8), start=(0, 0, 0))
        with pytest.raises(ProjectError, match="marks"):
            project.set_ndim(2)
    with Project.open(tmp_path / "p") as project:
        assert project.ndim == 3


def test_a_project_with_a_flat_image_does_not_become_one_of_volumes(tmp_path):
    with Project.create(tmp_path / "p", ["background", "cell"]) as project:
        project.add_image(np.zeros((20, 30), np.uint8), name="flat", axes="YX")
        with pytest.raises(ProjectError, match="no Z axis"):
            project.set_ndim(3)
        assert project.ndim == 2


def test_other_axes_leave_pixels_and_pixel_size_where_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 20, 30), np.uint8)
    size = {"Y": (0.5, "µm"), "X": (0.5, "µm")}
    with Project.create(tmp_path / "p", ["background", "cell"]) as project:
        project.add_image(pixels, name="stack", axes="TYX", pixel_size=size)
        project.add_image(pixels[0], name="flat", axes="YX")
        file = project.images["stack"].path
        with pytest.raises(ImageError, match="3 channels"):
            project.set_axes("stack", "CYX")
        assert project.images["stack"].axes == "TYX"
        project.set_axes("stack", "ZYX")
        assert list(project.images) == ["stack", "flat"]
        project.images["stack"].paint(np.ones((1, 4, 5), np.uint8), start=(2, 0, 0))
        with pytest.raises(ProjectError, match="marks already"):
            project.set_axes("stack", "TYX")
    with Project.open(tmp_path / "p") as project:
        image = project.images["stack"]
        assert (image.path, image.axes, dict(image.pixel_size or {})) == (file, "ZYX", size)
        np.testing.assert_array_equal(image.source.read_exactly((slice(0, 3), slice(0, 20), slice(0, 30)))[0], pixels)
        assert image.annotations.painted_counts() == {1: 20}
        project.remove_image("stack")
        assert not file.exists()
