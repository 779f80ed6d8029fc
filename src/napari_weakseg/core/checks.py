"""Checks of what comes in from outside, with messages that say what, where and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.core.regions import Region, region_of, whole


@dataclass(frozen=True, slots=True)
class Place:
    """What is put on which image: words and sizes for the messages."""

    what: str
    name: str
    axes: str
    label_shape: tuple[int, ...]

    @property
    def size(self) -> str:
        """The image's size in words."""
        return f"{' × '.join(map(str, self.label_shape))} ({self.axes})"


def whole_numbers(values: object, *, what: str, name: str) -> NDArray[np.integer[Any]]:
    """`values` as an integer array.

    Raises
    ------
    AnnotationError
        If they are decimal numbers, truth values or no numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "b":
        raise AnnotationError(
            f"The {what} for “{name}” are true/false values, which name no class.",
            "Multiply the mask by the class id, for example mask * 2.",
        )
    raise AnnotationError(
        f"The {what} for “{name}” are {array.dtype} values; whole numbers are needed.",
        "Convert them first, for example with labels.astype(int), after checking that nothing is lost by it.",
    )


def placed(
    block: NDArray[np.integer[Any]], start: Sequence[int] | None, place: Place
) -> tuple[NDArray[np.integer[Any]], Region]:
    """Give the block all label axes, and find the region it covers.

    A block without the leading axes counts as one pixel thick there. `start` None means the whole image.

    Raises
    ------
    AnnotationError
        If it is of another shape than the image, or does not lie inside.
    """
    shape = place.label_shape
    if start is None:
        if block.shape != shape:
            raise AnnotationError(
                f"The {place.what} for “{place.name}” are {' × '.join(map(str, block.shape)) or 'one number'}"
                f", but the image is {place.size}.",
                "Give an array of the image's shape without its channels, or a block of it with its start.",
            )
        return block, whole(shape)
    origin = corner(start, "start", place)
    if block.ndim < len(shape):
        block = block.reshape((1,) * (len(shape) - block.ndim) + block.shape)
    stop = tuple(o + n for o, n in zip(origin, block.shape, strict=False))
    inside = block.ndim == len(shape) and all(o >= 0 and e <= n for o, e, n in zip(origin, stop, shape, strict=True))
    if not inside:
        raise AnnotationError(
            f"The {place.what} at start {origin} with shape {block.shape} reach outside “{place.name}”, "
            f"which is {place.size}.",
            "Move or cut the block so that it lies inside the image.",
        )
    return block, region_of(origin, stop)


def corner(values: Sequence[int], which: str, place: Place) -> tuple[int, ...]:
    """Check a corner in pixels of all label axes.

    Raises
    ------
    AnnotationError
        If it has another number of coordinates, or if they are no whole numbers.
    """
    array = np.atleast_1d(np.asarray(values))
    if array.shape != (len(place.axes),) or array.dtype.kind not in "iu":
        raise AnnotationError(
            f"The {which} of the {place.what} on “{place.name}” is {tuple(array.tolist())}.",
            f"Give one whole number for each of the axes {', '.join(place.axes)}, in this order.",
        )
    return tuple(int(value) for value in array)


def clipped_box(start: Sequence[int], stop: Sequence[int], place: Place) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cut a box at the image's border.

    Raises
    ------
    AnnotationError
        If nothing of it lies inside the image.
    """
    a, b = corner(start, "start", place), corner(stop, "stop", place)
    low = tuple(max(0, value) for value in a)
    high = tuple(min(size, value) for value, size in zip(b, place.label_shape, strict=True))
    if any(p >= q for p, q in zip(low, high, strict=True)):
        raise AnnotationError(
            f"The {place.what} from {a} to {b} holds no pixel of “{place.name}”, which is {place.size}.",
            "Give corners inside the image, the stop behind the start along every axis.",
        )
    return low, high


def check_class_ids(labels: NDArray[np.integer[Any]], region: Region, classes: ClassTable, *, name: str) -> None:
    """Refuse labels that are no class ids.

    Raises
    ------
    AnnotationError
        Naming the first wrong id and its place.
    """
    if labels.size == 0 or (int(labels.max()) <= len(classes) and int(labels.min()) >= 0):
        return
    value, place = _first(labels, (labels < 0) | (labels > len(classes)), region)
    raise AnnotationError(
        f"The labels for “{name}” hold {value} at {place}, but class ids go from 1 to {len(classes)} "
        "(0 = not annotated).",
        f"The classes are {', '.join(f'{i} {n}' for i, n in zip(classes.ids, classes.names, strict=True))}. "
        "Use these ids, or add the missing class first.",
    )


def check_object_ids(ids: NDArray[np.integer[Any]], region: Region, *, name: str) -> None:
    """Refuse object ids that are negative or do not fit 32 bits.

    Raises
    ------
    AnnotationError
        Naming the first wrong id and its place.
    """
    largest = np.iinfo(np.int32).max
    if ids.size == 0 or (int(ids.min()) >= 0 and int(ids.max()) <= largest):
        return
    value, place = _first(ids, (ids < 0) | (ids > largest), region)
    raise AnnotationError(
        f"The object ids for “{name}” hold {value} at {place}, but ids go from 1 to {largest}.",
        "Number the objects 1, 2, 3 and so on.",
    )


def _first(values: NDArray[Any], wrong: NDArray[np.bool_], region: Region) -> tuple[int, tuple[int, ...]]:
    where = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return int(values[where]), tuple(int(w) + s.start for w, s in zip(where, region, strict=True))
