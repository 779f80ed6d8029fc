"""Objects are matched by more than half of their union; merged ones are counted."""

import numpy as np
import pytest
from benchmarks.objects import compare, section


def ids(*spans: tuple[int, int, int]) -> np.ndarray:
    """Objects along a line: (id, from, to)."""
    line = np.zeros((4, 60), np.int32)
    for i, a, b in spans:
        line[:, a:b] = i
    return line


def test_the_same_objects_under_other_numbers_are_all_matched() -> None:
    assert compare(ids((3, 0, 10), (1, 20, 30)), ids((1, 0, 10), (2, 20, 30))) == {"ap": 1.0, "merged": 0.0}


def test_two_in_one_are_merged_and_none_of_them_matched_by_a_half() -> None:
    found = compare(ids((1, 0, 20)), ids((1, 0, 10), (2, 10, 20)))
    assert found == {"ap": 0.0, "merged": 1.0}
    larger = compare(ids((1, 0, 20)), ids((1, 0, 13), (2, 13, 20)))
    assert larger["ap"] == pytest.approx(1 / 2)  # 13 of 20 pixels are more than half


def test_specks_count_against_what_was_found() -> None:
    assert compare(ids((1, 0, 10), (2, 40, 42)), ids((1, 0, 10)))["ap"] == pytest.approx(1 / 2)
    assert compare(ids(), ids((1, 0, 10)))["ap"] == 0


def test_the_page_says_when_nothing_was_measured() -> None:
    assert "Not measured yet" in section([])


def test_the_page_stands_where_nothing_was_matched() -> None:
    common = {"set": "dsb2018_bf_cytology", "seed": 0, "device": "cpu", "seconds": 60.0, "images": 0, "judges": 0}
    none = {"ap": 0.0, "merged": 0.0}
    lines = [{**common, "arm": arm, "commit": "a", "objects": none, "components": none} for arm in ("ours", "full")]
    assert "| 0.000 | **0.000** | 0.000 | – | 0.0 % |" in section(lines)
