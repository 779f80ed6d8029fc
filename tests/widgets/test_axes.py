import pytest

from napari_weakseg.core.errors import ImageError
from napari_weakseg.widgets.axes import choices, guess_axes, in_words, label_axes, layer_axes


@pytest.mark.parametrize(
    ("shape", "rgb", "labels", "axes", "sure"),
    [
        ((100, 120), False, ("-2", "-1"), "YX", True),
        ((60, 100, 120), False, (), "ZYX", True),
        ((3, 100, 120), False, (), "CYX", False),
        ((100, 120, 5), False, (), "ZYX", False),
        ((3, 5), False, (), "YX", True),
        ((100, 120, 3), True, (), "YXC", True),
        ((20, 100, 120, 3), True, (), "ZYXC", True),
        ((60, 2, 100, 120), False, (), "ZCYX", False),
        ((2, 60, 100, 120), False, (), "CZYX", False),
        ((10, 60, 100, 120), False, (), "TZYX", False),
        ((10, 60, 3, 100, 120), False, (), "TZCYX", False),
        ((3, 100, 120), False, ("time", "y", "x"), "TYX", True),
        ((4, 100, 120), False, ("channel", "row", "column"), "CYX", True),
        ((4, 100, 120), False, ("a", "b", "c"), "CYX", False),
    ],
)
def test_axes_are_guessed_from_labels_and_shape(shape, rgb, labels, axes, sure):
    guess = guess_axes(shape, rgb=rgb, labels=labels)
    assert (guess.axes, guess.sure) == (axes, sure)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("rgb", [False, True])
def test_every_choice_names_each_axis_once_and_keeps_rows_before_columns(n, rgb):
    for axes in choices(n, rgb=rgb):
        assert len(axes) == n == len(set(axes))
        assert axes.index("X") == axes.index("Y") + 1
        assert label_axes(axes) == "".join(a for a in "TZYX" if a in axes)
        assert layer_axes(axes, rgb=rgb).replace("C", "") == label_axes(axes)


@pytest.mark.parametrize(("shape", "rgb"), [((2, 2, 2, 2, 32, 32), False), ((2, 2, 2, 32, 32, 3), True)])
def test_more_axes_than_have_a_meaning_are_refused_in_words(shape, rgb):
    with pytest.raises(ImageError, match="more axes"):
        guess_axes(shape, rgb=rgb)


def test_an_image_is_described_in_plain_words():
    assert in_words("TZYX", (5, 30, 64, 64)) == "5 time points × 30 slices × 64 × 64 pixels"
    assert in_words("CYX", (1, 64, 64)) == "1 channel × 64 × 64 pixels"
