"""A label array on disk in small chunks, with the chunks in use kept in memory."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.folder import ProjectFolder
from napari_weakseg.core.regions import (
    Region,
    chunk_region,
    explicit,
    grid_keys,
    intersection,
    shape_of,
    shifted,
    start_of,
)
from napari_weakseg.core.storage import storage_error

if TYPE_CHECKING:
    import zarr

CHUNK_PX = 256
_CACHE_BYTES = 128 * 2**20

Key = tuple[int, ...]


class ChunkedArray:
    """Integer array in a zarr 3 folder, one chunk a plane of 256 × 256; chunks of zeros are not stored.

    Parameters
    ----------
    path : Path
        The zarr folder; made if it does not exist and may be written.
    home : ProjectFolder
        The project it belongs to, which is told if a damaged chunk is met.
    shape : sequence of int
    dtype : dtype
        Integer type; the fill value is 0.
    lock : RLock
        Held while chunks are read or written; shared by arrays that change together.

    Notes
    -----
    A chunk is replaced atomically: zarr's local store writes a temporary file and renames it. If the disk
    refuses, the new chunk stays in memory as *unsaved* and is written with the next change or by `flush`.
    """

    def __init__(
        self,
        path: Path,
        home: ProjectFolder,
        shape: Sequence[int],
        dtype: type[np.integer[Any]],
        *,
        lock: RLock,
    ) -> None:
        self.path = path
        self._home = home
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.chunks = (1,) * (len(self.shape) - 2) + tuple(min(CHUNK_PX, size) for size in self.shape[-2:])
        self._lock = lock
        self._zarr = self._open()
        self._stored = self._listing()
        self._unsaved: dict[Key, NDArray[Any]] = {}
        self._cache: OrderedDict[Key, NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def keys(self) -> list[Key]:
        """Indices of the chunks that hold anything but zeros, in C order."""
        with self._lock:
            return sorted(self._stored | {k for k, chunk in self._unsaved.items() if chunk.any()})

    def occupied(self) -> list[Region]:
        """Regions of the chunks that hold anything but zeros, in C order."""
        return [self.region(key) for key in self.keys]

    def region(self, key: Key) -> Region:
        """Region of one chunk."""
        return chunk_region(key, self.chunks, self.shape)

    def chunk(self, key: Key) -> NDArray[Any]:
        """Contents of one chunk, read-only; zeros where nothing is stored."""
        with self._lock:
            if key in self._unsaved:
                return self._unsaved[key]
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            if key not in self._stored:
                return np.zeros(shape_of(self.region(key)), self.dtype)
            chunk = self._load(key)
            self._remember(key, chunk)
            return chunk

    def read(self, region: Region) -> NDArray[Any]:
        """Copy of a region; only the chunks it touches are read."""
        out = np.zeros(shape_of(region), self.dtype)
        if out.size == 0:
            return out
        with self._lock:
            for key in grid_keys(region, self.chunks):
                if key in self._stored or key in self._unsaved:
                    place = self.region(key)
                    common = intersection(place, region)
                    assert common is not None
                    target, source = (shifted(common, start_of(r)) for r in (region, place))
                    out[target] = self.chunk(key)[source]
        return out

    def stage(self, key: Key, chunk: NDArray[Any]) -> None:
        """Replace one chunk in memory; `flush` writes it."""
        with self._lock:
            new = np.array(chunk, self.dtype, order="C")
            new.flags.writeable = False
            self._forget(key)
            self._unsaved[key] = new

    @property
    def unsaved(self) -> bool:
        """Whether chunks wait for the disk."""
        return bool(self._unsaved)

    def flush(self) -> None:
        """Write all staged chunks, those of an earlier refusal of the disk included.

        Raises
        ------
        StorageError
            If the disk refuses; what is left stays in memory and is written by the next flush.
        """
        with self._lock:
            if self._unsaved:
                self._home.check_there()
            for key in list(self._unsaved):
                chunk = self._unsaved[key]
                try:
                    self._zarr[self.region(key)] = chunk
                except OSError as error:
                    raise storage_error(error, self.path) from error
                del self._unsaved[key]
                (self._stored.add if chunk.any() else self._stored.discard)(key)
                self._remember(key, chunk)

    def __getitem__(self, index: object) -> NDArray[Any]:
        region, dropped = explicit(index, self.shape)
        return self.read(region).squeeze(axis=dropped) if dropped else self.read(region)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self[...]
        return array if dtype is None else array.astype(dtype, copy=False)

    def _open(self) -> "zarr.Array[Any]":
        import zarr  # a sixth of a second, so not before it is needed

        metadata, writable = self.path / "zarr.json", self._home.writable
        try:
            if metadata.exists():
                try:
                    return zarr.open_array(self.path, mode="r+" if writable else "r")
                except (ValueError, KeyError, TypeError) as error:  # cut-off metadata, which is known anyway
                    if writable:
                        metadata.replace(self.path / "damaged-zarr.json")
                    what = "was damaged and was made anew" if writable else "is damaged; nothing counts as painted"
                    self._home.note(f"“{metadata}” {what} ({error}).")
            if writable:
                self._home.check_there()
            return zarr.create_array(
                self.path if writable else {},
                shape=self.shape,
                chunks=self.chunks,
                dtype=self.dtype,
                fill_value=0,
                chunk_key_encoding={"name": "default", "separator": "."},  # one flat folder, listed at once
                overwrite=False,
            )
        except OSError as error:
            raise storage_error(error, self.path, doing="opened") from error

    def _file(self, key: Key) -> Path:
        return self.path / ".".join(("c", *map(str, key)))

    def _listing(self) -> set[Key]:
        """Chunks on disk; temporary files of a killed program are removed."""
        keys = set()
        for file in self.path.iterdir() if self.path.exists() else ():
            kind, *index = file.name.split(".")
            if kind == "c" and all(part.isdigit() for part in index):
                keys.add(tuple(map(int, index)))
            elif file.suffix == ".partial" and self._home.writable:
                file.unlink(missing_ok=True)
        return keys

    def _load(self, key: Key) -> NDArray[Any]:
        try:
            chunk = np.asarray(self._zarr[self.region(key)])
        except OSError as error:
            raise storage_error(error, self._file(key), doing="read") from error
        except (RuntimeError, ValueError) as error:  # what the decoders raise on cut-off data
            chunk = self._set_aside(key, error)
        chunk.flags.writeable = False
        return chunk

    def _set_aside(self, key: Key, error: Exception) -> NDArray[Any]:
        """Rename a damaged chunk file, so that the rest of the image stays usable and nothing is deleted."""
        kept = self._file(key)
        if self._home.writable:
            kept = kept.replace(kept.with_name(f"damaged-{kept.name}"))
        self._stored.discard(key)
        region = self.region(key)
        self._home.note(
            f"A piece of the annotation at {describe(region)} could not be read ({error}). "
            f"It counts as not painted; the file was kept as “{kept.name}” in “{self.path}”: "
            "paint that place again."
        )
        return np.zeros(shape_of(region), self.dtype)

    def _remember(self, key: Key, chunk: NDArray[Any]) -> None:
        self._cache[key] = chunk
        self._cached_bytes += chunk.nbytes
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._cached_bytes -= old.nbytes

    def _forget(self, key: Key) -> None:
        old = self._cache.pop(key, None)
        if old is not None:
            self._cached_bytes -= old.nbytes


def describe(region: Region) -> str:
    """Corners of a region in words.

    Examples
    --------
    >>> describe((slice(0, 10), slice(5, 20)))
    'start (0, 5), stop (10, 20)'
    """
    return f"start {tuple(s.start for s in region)}, stop {tuple(s.stop for s in region)}"
