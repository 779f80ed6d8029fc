"""Volumes are marked on one slice in so many, and the page says what was measured."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from benchmarks.quality import Options
from benchmarks.sets import Picture
from benchmarks.volumes import WAYS, mark_slices, section

from benchmarks import volumes
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
        for way, median in zip(WAYS, (0.72, 0.5, 0.6, 0.8), strict=True)
        for seed in (0, 1)
    ]
    page = section(lines)
    assert "| 0.725 (0.720–0.730) | 0.505 (0.500–0.510) | 0.605 (0.600–0.610) | 0.805 (0.800–0.810) | 90 % |" in page
    assert "2 seeds" in page


def test_volumes_that_have_nothing_in_common_are_judged_by_their_blank_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny3d_cells"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
        for volume in ("a", "b"):
            tifffile.imwrite(folder / name / f"{volume}.tif", np.ones((12, 8, 8), np.uint8), photometric="minisblack")
    (folder / "classes.json").write_text('{"kind": "instance", "classes": {"0": "background", "1": "cell"}}')
    (folder / "split.json").write_text('{"train": ["a"], "test": ["b"]}')
    monkeypatch.setenv("WEAKSEG_DATA", str(tmp_path))
    found = list(volumes._judges(volumes.SETS["tiny3d_cells"], {"seed": 0, "images": 0, "judges": 0}))
    assert [slices.tolist() for _, slices in found] == [[0, 1, 3, 4, 5, 6, 8, 9, 10, 11]] * 2
    assert len(list(volumes._judges(volumes.SETS["tiny3d_cells"], {"seed": 0, "images": 1, "judges": 0}))) == 1
    options = Options(sets=("tiny3d_cells",), seeds=1)
    assert [key["way"] for key in volumes._grid(options)] == ["sparse", "slices", "beside"]


@pytest.mark.parametrize(
    ("way", "asked"), [("sparse", [(2, 4, 5, 6)]), ("slices", [(2, 5, 6)] * 4), ("beside", [(10, 5, 6)] * 4)]
)
def test_slices_are_seen_one_by_one_or_with_their_neighbours_and_volumes_whole(
    way: str, asked: list[tuple[int, ...]]
) -> None:
    shapes = []

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        shapes.append(pixels.shape)
        return pixels[:2]  # two channels, taken for two classes

    pixels = np.random.default_rng(0).random((2, 4, 5, 6), np.float32)
    trainer = SimpleNamespace(probabilities=probabilities)
    np.testing.assert_array_equal(volumes._seen(trainer, WAYS[way], pixels), pixels.argmax(0) + 1)  # type: ignore[arg-type]
    assert shapes == asked


def test_the_page_has_no_share_of_what_was_not_measured() -> None:
    common = {"set": "tiny3d_cells", "device": "cpu", "seconds": 60.0, "images": 0, "judges": 0, "commit": "abc"}
    page = section([{**common, "way": "sparse", "seed": 0, "median": 0.7}])
    assert "| 0.700 | – | – | – | – |" in page
