"""Images that were moved are found again by the names of their files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_weakseg.core.moved import find_moved
from napari_weakseg.core.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two plates, each with a field of the same name, and an array of the project's own; the plates are moved."""
    project = Project.create(tmp_path / "p.weakseg", ("background", "cell"))
    for i, plate in enumerate(("plate1", "plate2")):
        (tmp_path / "old" / plate).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "old" / plate / "field.tif", np.full((8, 9), i, np.float32))
        project.add_image(tmp_path / "old" / plate / "field.tif").paint(np.full((8, 9), 2, np.uint8))
    project.add_image(np.zeros((8, 9), np.float32), name="own", axes="YX")
    (tmp_path / "old").rename(tmp_path / "new")
    return project


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, project: Project) -> None:
    assert project.missing == ("field", "field-2")
    assert find_moved(project, tmp_path) == ["field", "field-2"]
    assert project.images["field"].path.resolve() == tmp_path / "new" / "plate1" / "field.tif"
    assert project.images["field-2"].path.resolve() == tmp_path / "new" / "plate2" / "field.tif"
    assert project.images["field"].annotations.painted_counts() == {2: 72}
    project.close()
    with Project.open(project.path) as again:
        assert not again.missing


def test_what_was_noticed_of_it_goes(tmp_path: Path, project: Project) -> None:
    project.close()
    with Project.open(project.path) as again:
        assert [note for note in again.notes if "is missing" in note] == list(again.notes)
        assert len(again.notes) == 2
        find_moved(again, tmp_path)
        assert again.notes == ()


def test_another_image_of_that_name_is_passed_by(tmp_path: Path, project: Project) -> None:
    assert find_moved(project, tmp_path / "new" / "plate1") == ["field"]
    assert project.missing == ("field-2",)  # not a second image of the same file
    assert find_moved(project, tmp_path / "new" / "plate1") == []
    tifffile.imwrite(tmp_path / "new" / "plate2" / "field.tif", np.full((8, 9), 7, np.float32))
    assert find_moved(project, tmp_path) == []
    assert find_moved(project, tmp_path, wanted=lambda: False) == []
