"""Bad input: each message says what happened, where and what to do, and nothing is lost."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import _local as storage_of_zarr

from napari_weakseg import Project
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import (
    AnnotationError,
    ImageError,
    NewerSchema,
    ProjectError,
    StorageError,
    WeaksegError,
)

STROKE = np.full((3, 3), 2)


@pytest.mark.parametrize(
    ("labels", "start", "what", "remedy"),
    [
        (
            np.zeros((40, 49), int),
            None,
            "labels for “field” are 40 × 49, but the image is 40 × 50",
            "array of the",
        ),
        (np.zeros((3, 40, 50), int), None, "3 × 40 × 50, but the image is 40 × 50", "without its channels"),
        (np.zeros((40, 50)), None, "“field” are float64 values; whole numbers are needed", "astype"),
        (np.ones((40, 50), bool), None, "“field” are true/false values", "mask * 2"),
        (np.full((2, 2), 4), (5, 6), "“field” hold 4 at (5, 6), but class ids go from 1 to 3", "2 nucleus"),
        (np.full((2, 2), -1), (5, 6), "“field” hold -1 at (5, 6)", "Use these ids"),
        (np.full((2, 2), 2**40), (5, 6), f"hold {2**40} at (5, 6)", "Use these ids"),
        (
            STROKE,
            (38, 0),
            "at start (38, 0) with shape (3, 3) reach outside “field”, which is 40 × 50",
            "cut the",
        ),
        (STROKE, (-1, 0), "at start (-1, 0)", "inside the image"),
        (STROKE, (1,), "start of the labels on “field” is (1,)", "each of the axes Y, X"),
        (STROKE, (1.5, 0), "start of the labels on “field” is (1.5, 0.0)", "whole number"),
        (np.full((1, 3, 3), 2), (0, 0), "with shape (1, 3, 3) reach outside", "Move or cut"),
    ],
)
def test_paint_that_does_not_fit(project: Project, labels: Any, start: Any, what: str, remedy: str) -> None:
    image = project.images["field"]
    image.paint(STROKE, start=(0, 0))
    with pytest.raises(AnnotationError) as caught:
        image.paint(labels, start=start)
    assert what in caught.value.problem
    assert remedy in caught.value.remedy
    assert image.annotations.painted_counts() == {2: 9}
    assert image.revision == 1


def test_objects_boxes_tags_and_coverage_that_do_not_fit(project: Project) -> None:
    image = project.images["field"]
    for call, match in (
        (
            lambda: image.paint_objects("nucleus", -STROKE, start=(1, 2)),
            r"hold -2 at \(1, 2\).*Number the objects",
        ),
        (lambda: image.paint_objects("nucleus", STROKE * 1.0, start=(1, 2)), "float64.*whole numbers"),
        (lambda: image.paint_objects("cell", STROKE, start=(1, 2)), "no class “cell”.*background"),
        (lambda: image.add_box("nucleus", (50, 0), (60, 10)), "no pixel of “field”.*inside the image"),
        (lambda: image.add_box("nucleus", (5, 5), (5, 9)), "no pixel of “field”.*stop behind the start"),
        (lambda: image.add_box("nucleus", (5,), (9,)), "axes Y, X"),
        (lambda: image.remove_box(0), "no box number 0.*has 0 boxes"),
        (lambda: image.tag(9, True), "no class “9”"),
        (lambda: image.tag("nucleus", "absent"), "“absent” says neither.*“nucleus” is on “field”.*False for absent"),
        (lambda: image.tag("nucleus", 1), "“1” says neither"),
        (lambda: image.coverage("nucleus", "all"), "“all” is no coverage.*'all objects'"),
        (lambda: image.coverage("nucleus", "exact", (0, 0)), "only one of start and stop.*Give both"),
        (lambda: image.frame_region((0,)), r"no frame \(0,\)"),
        (lambda: project.remove_image("fields"), "no image “fields”.*field"),
    ):
        with pytest.raises(WeaksegError, match=match):
            call()
    assert image.revision == 0


def test_corners_without_the_frame_axes_are_refused(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(np.zeros((9, 20, 20), np.uint8), name="stack")
        for call in (
            lambda: image.paint(STROKE, start=(0, 0)),
            lambda: image.add_box("nucleus", (0, 0), (5, 5)),
            lambda: image.coverage("nucleus", "exact", (0, 0), (5, 5)),
        ):
            with pytest.raises(AnnotationError, match="each of the axes Z, Y, X"):
                call()


def test_images_that_do_not_fit_the_project(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"“rgb” has 3 channels, but “field” has 1 channel;.*same channels"):
        project.add_image(np.zeros((30, 30, 3), np.uint8), name="rgb")
    with pytest.raises(ImageError, match=r"“field” in the project already.*another name"):
        project.add_image(np.zeros((30, 30)), name="field")
    for size in ({"X": 0.1, "Y": 0.1}, {"X": ("µm", 0.1)}, {"pixel": (0.1, "µm")}, {"X": "0.1"}):
        with pytest.raises(ImageError, match=r"pixel size .* of “field-2” is not understood.*\(0\.1, \"µm\"\)"):
            project.add_image(np.zeros((30, 30)), name="field-2", pixel_size=size)
    for number in (0.0, -0.5, float("nan"), float("inf")):
        for call in (
            lambda sizes: project.add_image(np.zeros((30, 30)), name="field-2", pixel_size=sizes),
            lambda sizes: project.set_pixel_size("field", sizes),
        ):
            with pytest.raises(ImageError, match=r"cannot be .* µm large along X\. Give a size above 0"):
                call({"Y": (0.5, "µm"), "X": (number, "µm")})
    with pytest.raises(ImageError, match="is empty"):
        project.add_image(np.zeros((0, 30)), name="nothing")
    with pytest.raises(ImageError, match="complex128"):
        project.add_image(np.zeros((30, 30), complex), name="waves")
    assert list(project.images) == ["field"]
    with (
        Project.create(tmp_path / "v", ["background", "nucleus"], ndim=3) as volumes,
        pytest.raises(ImageError, match="“flat” has the axes YX, but this project is for volumes"),
    ):
        volumes.add_image(np.zeros((30, 30)), name="flat")


def test_a_changed_file_of_another_shape_is_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", np.zeros((20, 20)))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        project.add_image(tmp_path / "field.npy").paint(STROKE, start=(0, 0))
    np.save(tmp_path / "field.npy", np.zeros((30, 20)))
    with Project.open(tmp_path / "p") as project:
        assert "was changed" in project.notes[0]
        with pytest.raises(ImageError, match=r"is \(30, 20\) now; it was \(20, 20\).*old file back"):
            _ = project.images["field"].source
        assert project.images["field"].annotations.painted_counts() == {2: 9}
    (tmp_path / "field.npy").unlink()
    with (
        Project.open(tmp_path / "p") as project,
        pytest.raises(ImageError, match="is missing; what you painted"),
    ):
        _ = project.images["field"].source


def test_folders_that_are_no_project(tmp_path: Path, project: Project) -> None:
    with pytest.raises(ProjectError, match=r"is no project.*Choose a folder"):
        Project.open(tmp_path / "nothing")
    with pytest.raises(ProjectError, match=r"holds a project already.*Open it"):
        Project.create(project.path, ["background", "nucleus"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(ProjectError, match=r"holds something else already.*new folder"):
        Project.create(tmp_path / "full", ["background", "nucleus"])
    with pytest.raises(ProjectError, match="2 or 3 spatial axes, not 4"):
        Project.create(tmp_path / "new", ["background"], ndim=4)
    assert not (tmp_path / "new").exists()


def test_a_project_of_a_newer_version_is_left_alone(project: Project) -> None:
    project.close()
    file = project.path / "project.json"
    newer = {**json.loads(file.read_text()), "schema": 99, "layers": []}
    file.write_text(json.dumps(newer))
    with pytest.raises(NewerSchema, match=r"newer version.*format 99.*pip install --upgrade"):
        Project.open(project.path)
    assert json.loads(file.read_text()) == newer
    assert not (project.path / "project.lock").exists()


@pytest.mark.parametrize("cut", ["", '{"schema": 1, "nd', "[]"])
def test_a_cut_off_project_file_falls_back_to_its_copy(project: Project, cut: str) -> None:
    project.images["field"].paint(STROKE, start=(0, 0))
    project.append_history({})
    project.set_config(project.config)
    project.close()
    file = project.path / "project.json"
    file.write_text(cut)
    with Project.open(file) as opened:
        assert "“project.json” was damaged" in opened.notes[0]
        assert opened.images["field"].annotations.painted_counts() == {2: 9}
    file.with_name("project.json.bak").write_text(cut)
    file.write_text(cut)
    with pytest.raises(ProjectError, match=r"project.json” is damaged or cut off.*Restore it"):
        Project.open(project.path)


def test_damaged_marks_and_chunks_do_not_hinder_opening(project: Project) -> None:
    image = project.images["field"]
    image.paint(STROKE, start=(0, 0))
    image.tag("nucleus", True)
    image.add_box("nucleus", (0, 0), (5, 5))
    project.close()
    folder = project.path / "annotations" / "field"
    (folder / "marks.json").write_text("{")
    with Project.open(project.path) as opened:
        assert "“field”: “marks.json” was damaged" in opened.notes[0]
        assert opened.images["field"].annotations.tags == {2: True}  # the copy before the box
    (folder / "marks.json").write_text("{")
    (folder / "marks.json.bak").unlink()
    (folder / "objects.zarr" / "zarr.json").write_text('{"shape": [4')
    chunk = folder / "labels.zarr" / "c.0.0"
    chunk.write_bytes(chunk.read_bytes()[:7])
    with Project.open(project.path) as opened:
        assert "tags and coverage of “field” could not be read" in opened.notes[0]
        assert opened.images["field"].annotations.painted_counts() == {}
        assert "zarr.json” was damaged and was made anew" in opened.notes[1]
        assert "A piece of the annotation at start (0, 0), stop (40, 50) could not be read" in opened.notes[2]
        opened.images["field"].paint(STROKE, start=(0, 0))
        assert opened.images["field"].annotations.painted_counts() == {2: 9}
    assert (folder / "damaged-marks.json").exists()
    assert (folder / "labels.zarr" / "damaged-c.0.0").exists()


def test_settings_not_understood_are_left_at_their_defaults(project: Project) -> None:
    project.close()
    file = project.path / "project.json"
    record = json.loads(file.read_text())
    record["config"] |= {"ema": -3, "rounds": 2, "magic": True}
    file.write_text(json.dumps(record))
    with Project.open(project.path) as opened:
        assert opened.config.ema == TrainConfig().ema
        assert opened.config.rounds == 2
        assert opened.notes == ("Training settings not understood and left at their defaults: magic, ema.",)


@pytest.mark.parametrize(
    ("code", "why", "remedy"),
    [
        (errno.ENOSPC, "the disk is full", "Free some space"),
        (errno.EACCES, "you may not write there", "permission"),
        (errno.EROFS, "that disk is read-only", "Copy the project"),
    ],
)
def test_a_disk_that_refuses_keeps_everything_in_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch, code: int, why: str, remedy: str
) -> None:
    image = project.images["field"]
    image.paint(STROKE, start=(0, 0))
    with monkeypatch.context() as patch:

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError(code, os.strerror(code))

        patch.setattr("zarr.storage._local._put", refuse)
        patch.setattr("napari_weakseg.core.storage.write_atomically", refuse)
        for call in (
            lambda: image.paint(STROKE, start=(10, 10)),
            lambda: image.paint_objects("debris", STROKE, start=(20, 20)),
            lambda: image.tag("nucleus", True),
            lambda: project.set_classes(project.classes.added("yeast")),
        ):
            with pytest.raises(StorageError) as caught:
                call()
            assert why in caught.value.problem
            assert str(project.path) in caught.value.problem
            assert remedy in caught.value.remedy
        assert project.unsaved
        assert image.revision == 4
        assert image.annotations.painted_counts() == {2: 18, 3: 9}
        with pytest.raises(StorageError):
            project.flush()
    project.flush()  # there is space again
    assert not project.unsaved
    project.close()
    with Project.open(project.path) as opened:
        again = opened.images["field"].annotations
        assert again.painted_counts() == {2: 18, 3: 9}
        assert np.asarray(again.objects)[20, 20] == 2
        assert again.tags == {2: True}
        assert opened.classes.names[-1] == "yeast"


def test_closing_gives_the_folder_free_even_if_the_disk_refuses(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage._local._put", refuse)
        with pytest.raises(StorageError):
            project.images["field"].paint(STROKE, start=(0, 0))
        with pytest.raises(StorageError):
            project.close()
    Project.open(project.path).close()


@pytest.mark.parametrize("way", ["flush", "close"])
def test_one_image_that_the_disk_refuses_does_not_keep_the_others_unsaved(
    project: Project, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    image = project.images["field"]
    last = project.add_image(np.zeros((40, 50)), name="last")
    image.paint(STROKE, start=(20, 20), trust="rough")

    def put(path: Path, *args: Any, **kwargs: Any) -> Any:
        if any(f"annotations/{name}/" in path.as_posix() for name in refused):
            raise OSError(errno.ENOSPC, "full")
        return written(path, *args, **kwargs)

    written = storage_of_zarr._put
    with monkeypatch.context() as patch:
        patch.setattr(storage_of_zarr, "_put", put)
        refused: tuple[str, ...] = ("field", "last")
        for each, trust in ((image, "sure"), (image, "rough"), (last, "sure")):
            with pytest.raises(StorageError):
                each.paint(STROKE, start=(0, 0), trust=trust)
        refused = ("field/labels.zarr",)
        with pytest.raises(StorageError, match="field"):
            getattr(project, way)()
    with project if way == "flush" else Project.open(project.path) as opened:
        assert way == "close" or (opened.unsaved and not last.unsaved)
        assert opened.images["last"].annotations.painted_counts() == {2: 9}
        assert (np.asarray(opened.images["field"].annotations.claims["rough"][...]) == 2).sum() == 18


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="you may not write there"):
            Project.create(tmp_path / "p", ["background", "nucleus"])
    finally:
        tmp_path.chmod(0o700)
