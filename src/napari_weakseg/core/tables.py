"""A table of the objects of an image: one row each, for a spreadsheet or a statistics program."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.errors import StorageError

__all__ = ["object_rows", "object_table", "write_table"]

_SIZE = {2: "area", 3: "volume"}
_POWER = {2: "²", 3: "³"}


def object_table(
    ids: NDArray[np.int32],
    classes: NDArray[np.uint8],
    names: Sequence[str],
    *,
    axes: str,
    pixel_size: Mapping[str, tuple[float, str]],
) -> list[dict[str, object]]:
    """List the objects of an image.

    Parameters
    ----------
    ids : int32 array, (*S)
        1 … n, 0 = background.
    classes : uint8 array, (*S)
        Class ids.
    names : sequence of str
        Of the classes, in the order of their ids.
    axes : str
        Letter of each axis.
    pixel_size : mapping of str to (float, str)
        Axis → size and unit, as far as known.

    Returns
    -------
    list of dict
        ``object``, ``class``, ``pixels``, the area or volume where the size of a pixel is known in one unit, and the
        middle along each axis, in pixels.
    """
    counts = np.bincount(ids.ravel())
    numbers = np.flatnonzero(counts[1:]) + 1
    of_class = ndimage.maximum(classes, ids, numbers) if len(numbers) else []
    middles = ndimage.center_of_mass(np.ones(ids.shape, bool), ids, numbers) if len(numbers) else []
    found = zip(numbers.tolist(), of_class, counts[numbers].tolist(), middles, strict=True)
    ndim = sum(axis in "ZYX" for axis in axes)
    return object_rows(found, names, axes=axes, ndim=ndim, pixel_size=pixel_size)


def object_rows(
    objects: Iterable[tuple[int, int, int, Sequence[float]]],
    names: Sequence[str],
    *,
    axes: str,
    ndim: int,
    pixel_size: Mapping[str, tuple[float, str]],
) -> list[dict[str, object]]:
    """List objects of which number, class id, pixels, and the middle along each axis are known; see `object_table`.

    `ndim`: axes along which objects extend, the last ones; in a stack whose planes are images of their own, two.
    """
    spatial = axes[-ndim:]
    sizes = [pixel_size[axis] for axis in spatial if axis in pixel_size]
    column, each = "", 0.0
    if len(sizes) == len(spatial) and len({unit for _, unit in sizes}) == 1 and len(spatial) in _SIZE:
        column = f"{_SIZE[len(spatial)]} ({sizes[0][1]}{_POWER[len(spatial)]})"
        each = float(np.prod([size for size, _ in sizes]))
    rows: list[dict[str, object]] = []
    for number, class_id, n, middle in objects:
        row: dict[str, object] = {"object": number, "class": names[int(class_id) - 1], "pixels": n}
        if column:
            row[column] = float(f"{n * each:.6g}")
        row |= {axis.lower(): round(float(place), 2) for axis, place in zip(axes, middle, strict=True)}
        rows.append(row)
    return rows


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as CSV.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    head = list(rows[0]) if rows else ["object", "class", "pixels"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8-sig") as file:  # with a mark that spreadsheets know UTF-8 by
            writer = csv.DictWriter(file, head)
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise StorageError(
            f"The table cannot be written to “{path}”.",
            "Choose another folder, or close the program that has the file open.",
            details=str(error),
        ) from error
    return path
