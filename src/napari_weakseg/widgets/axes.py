"""How a napari layer's axes are understood, and where its label layers lie over it: pure functions, no Qt."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_weakseg.core.errors import ImageError

#: Letter → what it means to a person.
WORDS = {"T": "time points", "Z": "slices", "C": "channels", "Y": "rows", "X": "columns"}

_NAMES = {
    "time": "T",
    "frame": "T",
    "depth": "Z",
    "slice": "Z",
    "plane": "Z",
    "channel": "C",
    "row": "Y",
    "column": "X",
}
_MAX_CHANNELS = 6  # a leading or last axis this long or shorter may as well be channels


@dataclass(frozen=True, slots=True)
class Guess:
    """Axes of a layer's data.

    Attributes
    ----------
    axes : str
        Letters of TZCYX, one for each axis of the data; the colours of an RGB layer are C.
    sure : bool
        False where a person should have a look.
    """

    axes: str
    sure: bool


def guess_axes(shape: Sequence[int], *, rgb: bool = False, labels: Sequence[str] = ()) -> Guess:
    """Guess what the axes of a layer mean, from its axis labels where these say it, otherwise from the shape.

    Parameters
    ----------
    shape : sequence of int
        Shape of the data, colours included.
    rgb : bool
        The last axis holds the colours of a pixel.
    labels : sequence of str
        The layer's axis labels, without the colours.

    Raises
    ------
    ImageError
        If there are more axes than can be told apart.

    Examples
    --------
    >>> guess_axes((60, 512, 512))
    Guess(axes='ZYX', sure=True)
    >>> guess_axes((3, 512, 512))
    Guess(axes='CYX', sure=False)
    """
    n = len(shape) - rgb
    if not choices(len(shape), rgb=rgb):
        raise ImageError(
            f"An image of {' × '.join(map(str, shape))} has more axes than time, slices, channels, rows and columns.",
            "Make a layer of a part of it, for example data[0].",
        )
    named = _from_labels(labels, n)
    if named is not None:
        return Guess(named + "C" * rgb, True)
    rest = list(shape)[: n - 2]
    lead, sure = _leading(rest, colours=rgb)
    channels_last = n > 2 and shape[n - 1] <= _MAX_CHANNELS
    return Guess(lead + "YX" + "C" * rgb, sure and not channels_last)


def choices(n_axes: int, *, rgb: bool = False) -> tuple[str, ...]:
    """All readings of that many axes (colours of RGB included) a person can choose from.

    Examples
    --------
    >>> choices(3)
    ('ZYX', 'TYX', 'CYX', 'YXC')
    """
    table = {
        2: ("YX",),
        3: ("ZYX", "TYX", "CYX", "YXC"),
        4: ("TZYX", "ZCYX", "CZYX", "TCYX", "CTYX", "ZYXC", "TYXC"),
        5: ("TZCYX", "TCZYX", "CTZYX", "TZYXC"),
    }
    if rgb:
        return tuple(axes + "C" for axes in choices(n_axes - 1) if "C" not in axes)
    return table.get(n_axes, ())


def in_words(axes: str, shape: Sequence[int], *, rgb: bool = False) -> str:
    """Say what an image is.

    Examples
    --------
    >>> in_words("ZCYX", (60, 2, 256, 256))
    '60 slices × 2 channels × 256 × 256 pixels'
    >>> in_words("YXC", (512, 512, 3), rgb=True)
    'colour image of 512 × 512 pixels'
    """
    sizes = dict(zip(axes, shape, strict=True))
    lead = [_count(sizes[axis], axis) for axis in axes if axis in "TZ" or (axis == "C" and not rgb)]
    plane = f"{sizes['Y']} × {sizes['X']} pixels"
    text = " × ".join([*lead, plane]) if lead else plane
    return f"colour image of {text}" if rgb else text


def choice_words(axes: str, *, rgb: bool = False) -> str:
    """Name a reading of the axes, for a drop-down list.

    Examples
    --------
    >>> choice_words("TZYX"), choice_words("YX"), choice_words("YXC")
    ('time points, slices', 'one plane', 'channels last')
    """
    kinds = [WORDS[axis] for axis in axes if axis in "TZ" or (axis == "C" and not rgb)]
    if not kinds:
        return "one colour image" if rgb else "one plane"
    words = ", ".join(kinds)
    return words + " last" if axes.endswith("C") and not rgb else words


def label_axes(axes: str) -> str:
    """Axes without channels: what an annotation has.

    Examples
    --------
    >>> label_axes("ZCYX")
    'ZYX'
    """
    return axes.replace("C", "")


def layer_axes(axes: str, *, rgb: bool = False) -> str:
    """Axes of the label layers over an image layer.

    napari lines up layers by their last axes. A channel axis in front can therefore be left out; one
    elsewhere stays, as an axis of length one that is stretched over all channels.

    Examples
    --------
    >>> layer_axes("CZYX"), layer_axes("ZCYX"), layer_axes("YXC"), layer_axes("YXC", rgb=True)
    ('ZYX', 'ZCYX', 'YXC', 'YX')
    """
    if rgb:
        return axes[:-1]
    return axes.removeprefix("C")


def _from_labels(labels: Sequence[str], n: int) -> str | None:
    if len(labels) != n:
        return None
    letters = "".join(_letter(label) for label in labels)
    fits = "?" not in letters and len(set(letters)) == n and "Y" in letters and "X" in letters
    return letters if fits and letters in choices(n) else None


def _letter(label: str) -> str:
    word = label.strip().lower()
    return word.upper() if word.upper() in WORDS else _NAMES.get(word.rstrip("s"), "?")


def _leading(sizes: Sequence[int], *, colours: bool) -> tuple[str, bool]:
    """Letters of the axes before Y and X, and whether they are certain enough not to ask."""
    if not sizes:
        return "", True
    if len(sizes) == 1:
        short = sizes[0] <= _MAX_CHANNELS and not colours
        return ("C", False) if short else ("Z", True)
    if len(sizes) == 2:
        if colours:
            return "TZ", False
        if sizes[1] <= _MAX_CHANNELS:
            return "ZC", False
        return ("CZ", False) if sizes[0] <= _MAX_CHANNELS else ("TZ", False)
    return ("TZC" if sizes[2] <= _MAX_CHANNELS else "TCZ"), False


def _count(size: int, axis: str) -> str:
    word = WORDS[axis]
    return f"{size} {word[:-1] if size == 1 else word}"
