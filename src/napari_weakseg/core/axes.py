"""Axis letters: what they mean, how they are guessed, and which order arrays have."""

from collections.abc import Mapping, Sequence
from math import isfinite

from napari_weakseg.core.errors import ImageError

LABEL_AXES = "TZYX"
CHANNEL = "C"
_MIN_SIDE_PX = 8  # an axis shorter than this may just as well hold channels

_LETTERS = "Use each of these letters at most once: T time, Z planes, C channels (S for RGB colour), Y rows, X columns."


def normalised_axes(axes: str, shape: Sequence[int], name: str) -> str:
    """Check axis letters against a shape and write S as C.

    Raises
    ------
    ImageError
        If letters are unknown, repeated, too many or too few, or if Y or X is missing.

    Examples
    --------
    >>> normalised_axes("yxs", (10, 20, 3), "field01")
    'YXC'
    """
    letters = axes.upper().replace("S", CHANNEL)
    sizes = " × ".join(map(str, shape))
    if len(letters) != len(shape):
        raise ImageError(
            f"“{name}” has {len(shape)} axes ({sizes}), but the axes “{axes}” name {len(letters)}.", _LETTERS
        )
    if len(set(letters)) != len(letters) or not set(letters) <= {*LABEL_AXES, CHANNEL}:
        raise ImageError(f"The axes “{axes}” of “{name}” ({sizes}) are not understood.", _LETTERS)
    if "Y" not in letters or "X" not in letters:
        raise ImageError(f"The axes “{axes}” of “{name}” ({sizes}) lack Y or X.", _LETTERS)
    return letters


def guessed_axes(shape: Sequence[int], name: str, *, spatial_ndim: int = 2) -> str:
    """Axis letters of an array that does not tell them.

    A last axis of 3 or 4 is colour; otherwise the last axes are TZYX. A short first axis could be channels or
    planes, so it is asked for rather than guessed.

    Raises
    ------
    ImageError
        If the shape can be read in several ways.

    Examples
    --------
    >>> guessed_axes((256, 256, 3), "field01"), guessed_axes((40, 256, 256), "stack")
    ('YXS', 'ZYX')
    """
    n = len(shape)
    if n >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) >= _MIN_SIDE_PX:
        if n <= 5:
            return LABEL_AXES[-(n - 1) :] + "S"
    elif n == 2 or (n == 3 and (shape[0] >= _MIN_SIDE_PX or spatial_ndim == 3)):
        return LABEL_AXES[-n:]
    elif n == 4 and shape[1] >= _MIN_SIDE_PX:
        return LABEL_AXES
    sizes = " × ".join(map(str, shape))
    example = {3: "CYX, ZYX or TYX", 4: "CZYX, ZCYX, TCYX or TZYX"}.get(n, "TZCYX")
    raise ImageError(
        f"It is not clear what the axes of “{name}” ({sizes}) are.",
        f"Say which, for example {example}. {_LETTERS}",
    )


def file_axes(axes: str, *, spatial_ndim: int = 2) -> str | None:
    """Axis letters as a TIFF file tells them, its generic stack axes turned into T or Z.

    None where it tells nothing but that there is a stack of something.

    Examples
    --------
    >>> file_axes("IYX"), file_axes("IYX", spatial_ndim=3), file_axes("QYX")
    ('TYX', 'ZYX', None)
    """
    letters = axes.upper()
    if not set(letters) & set("QI"):
        return letters
    if len(letters) == 3 and letters[0] == "Q":
        return None
    for generic in [letter for letter in letters if letter in "QI"]:
        free = [letter for letter in ("ZT" if spatial_ndim == 3 else "TZ") if letter not in letters]
        if free:
            letters = letters.replace(generic, free[0], 1)
    return letters


def checked_pixel_size(sizes: Mapping[str, tuple[float, str]], name: str) -> dict[str, tuple[float, str]]:
    """Pixel size by axis letter, as a person gave it.

    Raises
    ------
    ImageError
        If a letter is no axis, if there are not a number and a unit to each, or if a number is no length.

    Examples
    --------
    >>> checked_pixel_size({"y": (0.5, "µm"), "x": (0.5, "µm")}, "field01")
    {'Y': (0.5, 'µm'), 'X': (0.5, 'µm')}
    """
    try:
        found = {axis.upper(): (float(size), str(unit)) for axis, (size, unit) in sizes.items()}
    except (TypeError, ValueError):
        found = {}
    if not found or not set(found) <= set(LABEL_AXES):
        raise ImageError(
            f"The pixel size {sizes} of “{name}” is not understood.",
            'Give size and unit of each axis, for example {"Y": (0.1, "µm"), "X": (0.1, "µm")}.',
        )
    for axis, (size, unit) in found.items():
        if not is_length(size):
            raise ImageError(
                f"The pixels of “{name}” cannot be {size:g} {unit} large along {axis}.", "Give a size above 0."
            )
    return found


def is_length(size: float) -> bool:
    """Whether a number can be how large a pixel is: above 0, and not endless.

    Examples
    --------
    >>> is_length(0.5), is_length(0.0), is_length(float("inf"))
    (True, False, False)
    """
    return isfinite(size) and size > 0


def label_axes_of(axes: str) -> str:
    """Axes without channels, in the order TZYX.

    Examples
    --------
    >>> label_axes_of("YXCZ")
    'ZYX'
    """
    return "".join(letter for letter in LABEL_AXES if letter in axes)
