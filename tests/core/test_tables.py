"""The table of objects: one row each, sizes in the unit of the image where it is known."""

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_weakseg.core.errors import StorageError
from napari_weakseg.core.tables import object_table, write_table

NAMES = ("background", "cell", "debris")


def test_sizes_classes_and_middles() -> None:
    ids = np.zeros((10, 12), np.int32)
    ids[2:4, 3:6], ids[6:8, 8:10] = 1, 4
    classes = np.where(ids == 4, 3, 2).astype(np.uint8)
    sizes = {"Y": (0.5, "µm"), "X": (0.5, "µm")}
    rows = object_table(ids, classes, NAMES, axes="YX", pixel_size=sizes)
    assert rows == [
        {"object": 1, "class": "cell", "pixels": 6, "area (µm²)": 1.5, "y": 2.5, "x": 4.0},
        {"object": 4, "class": "debris", "pixels": 4, "area (µm²)": 1.0, "y": 6.5, "x": 8.5},
    ]


@pytest.mark.parametrize("sizes", [{}, {"Y": (1.0, "µm")}, {"Y": (1.0, "µm"), "X": (1.0, "mm")}])
def test_without_a_size_in_one_unit_there_are_pixels_only(sizes: dict[str, tuple[float, str]]) -> None:
    (row,) = object_table(np.ones((2, 2), np.int32), np.full((2, 2), 2, np.uint8), NAMES, axes="YX", pixel_size=sizes)
    assert list(row) == ["object", "class", "pixels", "y", "x"]


def test_a_stack_tells_the_frame_and_a_volume_its_volume() -> None:
    ids = np.zeros((3, 4, 4), np.int32)
    ids[2] = 1
    classes = np.full(ids.shape, 2, np.uint8)
    sizes = {"Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.5, "µm")}
    (frame,) = object_table(ids, classes, NAMES, axes="TYX", pixel_size=sizes)
    assert (frame["t"], frame["area (µm²)"]) == (2.0, 4.0)
    (volume,) = object_table(ids, classes, NAMES, axes="ZYX", pixel_size=sizes)
    assert (volume["z"], volume["volume (µm³)"]) == (2.0, 8.0)


def test_no_object_gives_a_table_without_rows(tmp_path: Path) -> None:
    nothing = np.zeros((3, 3), np.int32)
    rows = object_table(nothing, np.ones((3, 3), np.uint8), NAMES, axes="YX", pixel_size={})
    path = write_table(tmp_path / "new" / "table.csv", rows)
    assert path.read_text(encoding="utf-8-sig") == "object,class,pixels\n"


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    rows = [{"object": 1, "class": "Zelle, groß", "pixels": 3}]
    path = write_table(tmp_path / "table.csv", rows)
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.DictReader(file)) == [{"object": "1", "class": "Zelle, groß", "pixels": "3"}]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_table(tmp_path / "file" / "table.csv", [])


def test_small_sizes_in_a_large_unit_are_not_nothing() -> None:
    sizes = dict.fromkeys("ZYX", (0.0005, "mm"))
    ids = np.ones((10, 10, 10), np.int32)
    (row,) = object_table(ids, np.full(ids.shape, 2, np.uint8), NAMES, axes="ZYX", pixel_size=sizes)
    assert row["volume (mm³)"] == pytest.approx(1.25e-7, rel=1e-5)
