"""What a project does in its folder, and what it leaves alone there."""

from pathlib import Path

import numpy as np
import tifffile
import zarr

from napari_weakseg import Project


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
