"""Which files and folders results may take the place of."""

from pathlib import Path

import pytest

from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.label_files import check_replaceable


def test_a_person_may_let_files_go_but_no_folder_of_another_program(tmp_path: Path) -> None:
    folder, file = tmp_path / "a.ome.zarr", tmp_path / "a_classes.tif"
    (folder / "0").mkdir(parents=True)
    file.touch()
    for there in (folder, file):
        with pytest.raises(ProjectError, match="is in the way"):
            check_replaceable([there], [])
    check_replaceable([file], [], asked=True)
    with pytest.raises(ProjectError, match=r"is in the way.*move that folder away"):
        check_replaceable([folder], [], asked=True)
