"""What a project does in its folder, and what it leaves alone there."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_weakseg import Project
from napari_weakseg.core.errors import ProjectError, StorageError

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
