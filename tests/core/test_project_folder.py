"""What a project does in its folder, and what it leaves alone there."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from zarr.storage import _local as storage_of_zarr

from napari_weakseg import Project
from napari_weakseg.core.errors import ImageError, ProjectError, StorageError
from napari_weakseg.core.regions import whole

STROKE = np.full((3, 3), 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_files_that_were_put_into_the_project_by_hand_stay_there(project: Project) -> None:
    images = project.path / "images"
    tifffile.imwrite(images / "raw.tif", np.zeros((20, 20), np.uint8))
    zarr.create_array(images / "slide.zarr", data=np.full((20, 20), 7, np.uint8))
    for name in ("raw.tif", "slide.zarr"):
        project.add_image(images / name)
        project.remove_image(Path(name).stem)
        assert (images / name).exists()
    array = project.add_image(np.zeros((20, 20), np.uint8), name="slide")
    assert (zarr.open_array(images / "slide.zarr", mode="r")[:] == 7).all()
    project.remove_image("slide")
    assert not array.path.exists()


def test_a_project_stays_where_it_is_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.save("field.npy", np.zeros((20, 20), np.uint8))
    with Project.create("here", ["background", "nucleus"]) as project:
        image = project.add_image("field.npy")
        monkeypatch.chdir("elsewhere")
        image.paint(STROKE, start=(0, 0))
        image.tag("nucleus", True)
        assert image.source.read((slice(0, 2), slice(0, 2))).shape == (1, 2, 2)
    assert contents(tmp_path / "elsewhere") == {}
    with Project.open("~/here") as project:
        assert project.path == tmp_path / "here"
        assert project.images["field"].annotations.painted_counts() == {2: 9}
        assert project.add_image("~/field.npy").name == "field-2"


def test_nothing_is_written_where_a_renamed_project_was(project: Project) -> None:
    old, new = project.path, project.path.with_name("renamed")
    image = project.images["field"]
    image.paint(STROKE, start=(0, 0))
    old.rename(new)
    for change in (
        lambda: image.paint(STROKE, start=(10, 10)),
        lambda: image.tag("nucleus", True),
        lambda: project.add_image(np.zeros((9, 9)), name="late"),
        lambda: project.append_history({"step": 1}),
        lambda: project.set_classes(project.classes.added("yeast")),
        project.flush,
    ):
        with pytest.raises(StorageError, match=r"is not in “.*cells.weakseg” any more.*moved or renamed, put it back"):
            change()
    assert not old.exists()
    assert project.unsaved
    with Project.create(old, ["background"]), pytest.raises(StorageError, match="is another's"):
        project.flush()
    old.rename(old.with_name("another"))
    new.rename(old)
    project.flush()
    project.close()
    with Project.open(old) as opened:
        assert opened.images["field"].annotations.painted_counts() == {2: 18}
        assert opened.images["field"].annotations.tags == {2: True}
        assert opened.classes.names[-1] == "yeast"
        assert list(opened.images) == ["field"]


def test_a_renamed_project_opens_under_its_new_name(project: Project) -> None:
    project.path.rename(project.path.with_name("renamed"))
    with pytest.raises(StorageError):
        project.images["field"].tag("nucleus", True)
    with pytest.raises(StorageError):
        project.close()
    Project.open(project.path.with_name("renamed")).close()


def test_looking_changes_no_file_of_a_project(project: Project) -> None:
    """Somebody may be writing it at that moment."""
    image = project.images["field"]
    image.paint(STROKE, start=(0, 0))
    image.tag("nucleus", True)
    image.tag("debris", True)
    project.add_image(np.zeros((9, 9), np.float32), name="new")
    folder = project.path / "annotations" / "field"
    (folder / "labels.zarr" / "c.0.0.abc.partial").write_bytes(b"half of a chunk")
    (folder / "marks.json").write_text("{")
    (folder / "objects.zarr" / "zarr.json").write_text('{"shape": [4')
    (project.path / "project.json").write_text("{")
    before = contents(project.path)
    looked = Project.open(project.path, read_only=True)
    assert looked.images["field"].annotations.painted_counts() == {2: 9}
    assert looked.images["field"].annotations.tags == {2: True}
    assert len(looked.notes) == 3
    assert contents(project.path) == before
    (folder / "labels.zarr" / "c.0.0").write_bytes(b"")
    (folder / "marks.json.bak").write_text("{")
    (project.path / "project.json.bak").replace(project.path / "project.json")
    before = contents(project.path)
    looked = Project.open(project.path, read_only=True)
    assert looked.images["field"].annotations.painted_counts() == {}
    assert any("could not be read" in note for note in looked.notes)
    assert contents(project.path) == before
    with pytest.raises(ProjectError, match="for reading only"):
        looked.images["field"].paint(STROKE, start=(0, 0))
    looked.close()


def test_looking_makes_no_folders(project: Project) -> None:
    folder = project.path / "annotations" / "field"
    folder.rename(folder.with_name("gone"))
    with Project.open(project.path, read_only=True) as looked:
        assert looked.images["field"].annotations.painted_counts() == {}
    assert not folder.exists()
    folder.with_name("gone").rename(folder)


@pytest.mark.parametrize("forbidden", ["stat", "open"])
def test_images_where_one_may_not_look_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: str
) -> None:
    (tmp_path / "private").mkdir()
    np.save(tmp_path / "private" / "field.npy", np.zeros((20, 20), np.uint8))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        project.add_image(tmp_path / "private" / "field.npy").paint(STROKE, start=(0, 0))
    allowed = getattr(Path, forbidden)

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if "private" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied")
        return allowed(path, *args, **kwargs)

    monkeypatch.setattr(Path, forbidden, refuse)
    with Project.open(tmp_path / "p") as project:
        (note,) = project.notes
        assert "you have no permission to look at it. Ask for it" in note
        assert "annotations of “field” are kept" in note
        image = project.images["field"]
        assert image.annotations.painted_counts() == {2: 9}
        assert project.missing == (("field",) if forbidden == "stat" else ())
        if forbidden == "stat":
            with pytest.raises(ImageError, match="no permission"):
                _ = image.source
            with pytest.raises(ImageError, match="no permission"):
                project.add_image(tmp_path / "private" / "field.npy")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="all names are text there")
def test_a_file_name_that_is_no_text_is_refused_and_nothing_stays_of_it(project: Project, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"K\xf6rper.npy")
    np.save(file, np.zeros((40, 50), np.uint8))
    with pytest.raises(ImageError, match=r"K\?rper.npy” has characters.*Rename the file"):
        project.add_image(file)
    with pytest.raises(ImageError, match=r"K\?rper.npy” has characters"):
        project.relink("field", file)
    project.set_classes(project.classes.added("yeast"))
    assert list(project.images) == ["field"]
    assert project.add_image(file, copy=True).name == "K?rper"


def test_what_a_full_disk_refused_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    pixels, path = np.zeros((20, 20), np.uint8), tmp_path / "p"
    with monkeypatch.context() as patch:
        patch.setattr("napari_weakseg.core.storage.write_atomically", refuse)
        with pytest.raises(StorageError, match="disk is full"):
            Project.create(path, ["background", "nucleus"])
    with Project.create(path, ["background", "nucleus"]) as project:
        project.add_image(pixels, name="first")
        with monkeypatch.context() as patch:
            patch.setattr("napari_weakseg.core.storage.write_atomically", refuse)
            for change in (
                lambda: project.add_image(pixels, name="field"),
                lambda: project.remove_image("first"),
            ):
                with pytest.raises(StorageError, match="disk is full"):
                    change()
        assert list(project.images) == ["first"]
        project.add_image(pixels, name="field")
        project.remove_image("first")
        assert {file.name for file in (path / "images").iterdir()} == {"field.zarr"}
        assert [image["name"] for image in json.loads((path / "project.json").read_text())["images"]] == ["field"]


def test_an_image_stays_as_it_was_when_the_disk_refuses_its_new_place_or_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    old, new = tmp_path / "old.npy", tmp_path / "new.npy"
    np.save(old, np.zeros((20, 20), np.uint8))
    np.save(new, np.ones((20, 20), np.uint8))
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(old, name="field")
        before = image._record.model_copy()
        with monkeypatch.context() as patch:
            patch.setattr("napari_weakseg.core.storage.write_atomically", refuse)
            for change in (
                lambda: project.relink("field", new),
                lambda: project.set_pixel_size("field", {"X": (0.5, "µm"), "Y": (0.5, "µm")}),
            ):
                with pytest.raises(StorageError, match="disk is full"):
                    change()
        assert image._record == before
        assert image.path.resolve() == old.resolve()
        assert image.source.pixel_size is None
        assert not image.source.read(whole((20, 20))).any()
        project.relink("field", new)
        assert image.source.read(whole((20, 20))).all()


def test_nothing_stays_of_an_image_for_whose_annotation_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(path: Path, *args: Any, **kwargs: Any) -> Any:
        if refused in path.as_posix():
            raise OSError(errno.ENOSPC, "full")
        return written(path, *args, **kwargs)

    written = storage_of_zarr._put
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        with monkeypatch.context() as patch:
            patch.setattr(storage_of_zarr, "_put", put)
            for place in ("/annotations/", "/images/"):
                refused = place
                with pytest.raises(StorageError, match="disk is full"):
                    project.add_image(np.zeros((20, 20), np.uint8), name="field")
                assert not list((tmp_path / "p" / "images").iterdir())
        project.add_image(np.zeros((20, 20), np.uint8), name="field")
        assert {file.name for file in (tmp_path / "p" / "images").iterdir()} == {"field.zarr"}


def test_what_differs_in_capitals_only_is_kept_apart(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many disks see no difference."""
    monkeypatch.setattr("time.strftime", lambda *args: "now")
    for name in ("scan.txt", "Scan.txt"):
        (project.path / name).touch()
        project._folder.discard(project.path / name)
    assert {file.name for file in (project.path / "trash").iterdir()} == {"now-scan.txt", "now-Scan.txt-2"}
    np.save(project.path.parent / "Field.npy", np.zeros((9, 9)))
    assert project.add_image(project.path.parent / "Field.npy").name == "Field-2"
    assert project.add_image(np.zeros((9, 9)), name="FIELD").name == "FIELD"  # as somebody wants it
