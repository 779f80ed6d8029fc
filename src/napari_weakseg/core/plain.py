"""Numbers that lie in a file one behind the other, read part by part."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.regions import Region, shape_of, start_of

_AT_ONCE_BYTES = 2**20  # read in one go, although not all of it is asked for: that takes less time than a jump a row


class PlainFile:
    """Array within a file, read by slices of step 1.

    Parameters
    ----------
    path : Path
    dtype : dtype
    offset : int
        Byte at which it begins.
    shape : tuple of int
    fortran : bool
        Neighbours along the first axis lie beside one another, rather than those along the last.

    Notes
    -----
    Not mapped into memory: when another program cuts a mapped file off, the system kills whoever reads on. The file is
    opened for each reading, so that it can be saved anew meanwhile, which is noticed by its size.
    """

    def __init__(
        self, path: Path, dtype: DTypeLike, offset: int, shape: tuple[int, ...], *, fortran: bool = False
    ) -> None:
        self.dtype, self.shape = np.dtype(dtype), shape
        self._fortran = fortran
        self._path = path.resolve()  # the folders on the way may be renamed meanwhile
        self._offset, self._size_bytes = offset, path.stat().st_size
        stored = shape[::-1] if fortran else shape
        self._strides = tuple(self.dtype.itemsize * prod(stored[axis + 1 :]) for axis in range(len(stored)))

    def __getitem__(self, region: Region) -> NDArray[Any]:
        return self._read(region[::-1]).T if self._fortran else self._read(region)

    def _read(self, region: Region) -> NDArray[Any]:
        out = np.empty(shape_of(region), self.dtype)
        if out.size == 0:
            return out
        first = self._offset + _bytes_between(start_of(region), self._strides)
        jumps = next(axis for axis in range(out.ndim) if self._in_one_go(out.shape[axis:]))
        inner = out.shape[jumps:]
        data = np.empty(self._span(inner), np.uint8)
        wanted = np.ndarray(inner, self.dtype, buffer=data.data, strides=self._strides[jumps:])
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self._size_bytes:
                raise self._changed()
            for place in np.ndindex(out.shape[:jumps]):
                file.seek(first + _bytes_between(place, self._strides))
                if file.readinto(data.data) < data.size:
                    raise self._changed()
                out[place] = wanted
        return out

    def _span(self, inner: tuple[int, ...]) -> int:
        """Bytes from the first to the last number of a block along the last axes."""
        return self.dtype.itemsize + _bytes_between([n - 1 for n in inner], self._strides[-len(inner) :])

    def _in_one_go(self, inner: tuple[int, ...]) -> bool:
        return self._span(inner) <= max(_AT_ONCE_BYTES, prod(inner) * self.dtype.itemsize)

    def _changed(self) -> ImageError:
        return ImageError(
            f"“{self._path}” was changed or cut off by another program while it was in use here.",
            "Check the file, then open the project again.",
        )


def _bytes_between(index: Sequence[int], strides: tuple[int, ...]) -> int:
    return sum(i * stride for i, stride in zip(index, strides, strict=False))
