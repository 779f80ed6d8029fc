import pickle

import numpy as np
import pytest

from napari_weakseg.core.classes import ClassInfo, ClassTable
from napari_weakseg.core.errors import AnnotationError


def test_ids_and_bits_follow_the_table_order() -> None:
    table = ClassTable.from_names(["background", "nucleus", "debris"])
    assert table.ids == (1, 2, 3)
    assert table.id_of("debris") == table.id_of(3) == table.id_of(np.uint8(3)) == 3
    assert table.bit("nucleus") == 0b100
    assert table.bit("nucleus").dtype == np.uint32
    assert table.full == 0b1110
    assert len({*table.colors}) == 3


def test_31_classes_fit_32_bits_in_31_colours() -> None:
    table = ClassTable.from_names([f"class {i}" for i in range(31)])
    assert int(table.full) == 2**32 - 2
    assert len(set(table.colors)) == 31
    with pytest.raises(AnnotationError, match="1 to 31"):
        table.added("one too many")


def test_changes_make_a_new_table() -> None:
    table = ClassTable.from_names(["background", "nucleus"])
    other = table.added("debris", "#010203").renamed("nucleus", "cell").recolored(1, "#FFFFFF")
    assert table.names == ("background", "nucleus")
    assert other.names == ("background", "cell", "debris")
    assert other.colors[0] == "#ffffff"
    assert other.colors[2] == "#010203"
    assert other != table
    assert pickle.loads(pickle.dumps(other)) == other


@pytest.mark.parametrize(
    ("names", "match"),
    [(["a", "a"], "more than once"), (["a", "  "], "cannot be a class"), ([], "1 to 31")],
)
def test_bad_names_are_refused(names: list[str], match: str) -> None:
    with pytest.raises(AnnotationError, match=match):
        ClassTable.from_names(names)


def test_unknown_class_lists_the_known_ones() -> None:
    table = ClassTable.from_names([ClassInfo(name="background", color="#123456"), "nucleus"])
    for wrong in ("nucleolus", 0, 3, True):
        with pytest.raises(AnnotationError, match=r"background \(1\), nucleus \(2\)"):
            table.id_of(wrong)
