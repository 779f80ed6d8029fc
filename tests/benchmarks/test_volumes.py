"""Volumes are marked on one slice in so many, and the page says what was measured."""

from pathlib import Path

import numpy as np
from benchmarks.sets import Picture
from benchmarks.volumes import WAYS, mark_slices, section

from napari_weakseg.core.project import Project


def test_one_slice_in_five_is_known_and_nothing_of_the_others(tmp_path: Path) -> None:
    truth = np.ones((12, 10, 10), np.uint8)
    truth[:, 3:6, 3:6] = 2
    picture = Picture("a", tmp_path / "none.tif", truth, np.zeros(truth.shape, np.int32))
    with Project.create(tmp_path / "v.weakseg", ("background", "cell"), ndim=3) as project:
        image = project.add_image(truth.astype(np.float32), name="a", axes="ZYX")
        mark_slices(image, picture, 5)
        certain = image.knowledge().certain
    assert np.flatnonzero(certain.any((1, 2))).tolist() == [2, 7]
    assert np.array_equal(certain[[2, 7]], truth[[2, 7]])


def test_the_page_says_how_far_sparse_marks_come() -> None:
    assert "Not measured yet" in section([])
    common = {"set": "hippocampus3d_a", "device": "cpu", "seconds": 60.0, "images": 0, "judges": 0, "commit": "abc"}
    lines = [
        {**common, "way": way, "seed": seed, "median": median + seed / 100}
        for way, median in zip(WAYS, (0.72, 0.5, 0.8), strict=True)
        for seed in (0, 1)
    ]
    page = section(lines)
    assert "| 0.725 (0.720–0.730) | 0.505 (0.500–0.510) | 0.805 (0.800–0.810) | 90 % |" in page
    assert "2 seeds" in page
