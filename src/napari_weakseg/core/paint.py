"""Painted labels and object ids of one image: two arrays that change together, chunk by changed chunk."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.chunks import ChunkedArray, Key
from napari_weakseg.core.errors import StorageError
from napari_weakseg.core.folder import ProjectFolder
from napari_weakseg.core.regions import Region, grid_keys, intersection, shape_of, shifted, start_of, union

_RECENT = 64

Change: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int32]]
Edit: TypeAlias = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.int32]], Change]


@dataclass(slots=True)
class _Changes:
    """Chunks to write, in this order, and where something changed."""

    vanished: dict[Key, NDArray[Any]] = field(default_factory=dict)
    labels: dict[Key, NDArray[Any]] = field(default_factory=dict)
    objects: dict[Key, NDArray[Any]] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)


class Paint:
    """Labels (uint8) and object ids (int32) of one image on disk.

    Notes
    -----
    Order of writes: ids that vanish first, then labels, then new ids. A process killed in between leaves no
    id on a pixel of another class.
    """

    def __init__(self, folder: Path, home: ProjectFolder, label_shape: tuple[int, ...], lock: RLock) -> None:
        self._lock = lock
        self.labels = ChunkedArray(folder / "labels.zarr", home, label_shape, np.uint8, lock=lock)
        self.objects = ChunkedArray(folder / "objects.zarr", home, label_shape, np.int32, lock=lock)
        self.recent: deque[Region] = deque(maxlen=_RECENT)  # newest first
        self.revision = 0  # grows with every change

    @property
    def unsaved(self) -> bool:
        """Whether chunks wait for the disk."""
        return self.labels.unsaved or self.objects.unsaved

    def put_labels(self, block: NDArray[Any], region: Region) -> None:
        """Replace the labels of a region; ids stay where the label stays."""

        def edit(block: NDArray[Any], labels: NDArray[np.uint8], objects: NDArray[np.int32]) -> Change:
            new = block.astype(np.uint8)
            return new, np.where(new == labels, objects, 0) if objects.any() else objects

        self._edit(block, region, edit)

    def put_objects(self, class_id: int, block: NDArray[Any], region: Region) -> None:
        """Replace the objects of a class in a region; paint without ids stays."""

        def edit(block: NDArray[Any], labels: NDArray[np.uint8], objects: NDArray[np.int32]) -> Change:
            gone = (block == 0) & (objects > 0) & (labels == class_id)
            new_labels = np.where(block > 0, class_id, np.where(gone, 0, labels)).astype(np.uint8)
            new_objects = np.where(block > 0, block, np.where(gone, 0, objects)).astype(np.int32)
            return new_labels, new_objects

        self._edit(block, region, edit)

    def flush(self) -> None:
        """Write what an earlier refusal of the disk left unsaved.

        Raises
        ------
        StorageError
            If the disk still refuses.
        """
        with self._lock:
            self.objects.flush()
            self.labels.flush()

    def _edit(self, block: NDArray[Any], region: Region, edit: Edit) -> None:
        with self._lock:
            changes = _Changes()
            stored = {*self.labels.keys, *self.objects.keys}
            for key in grid_keys(region, self.labels.chunks):
                place = self.labels.region(key)
                common = intersection(place, region)
                assert common is not None
                piece = block[shifted(common, start_of(region))]
                if key in stored or piece.any():
                    self._edit_chunk(key, piece, common, edit, changes)
            if changes.regions:
                self.revision += 1
                self._note_recent(changes.regions)
                self._write(changes)

    def _edit_chunk(self, key: Key, piece: NDArray[Any], common: Region, edit: Edit, changes: "_Changes") -> None:
        """Sort what changes in one chunk into ids that vanish, new labels and new ids."""
        labels, objects = self.labels.chunk(key), self.objects.chunk(key)
        inner = shifted(common, start_of(self.labels.region(key)))
        old_labels, old_objects = labels[inner], objects[inner]
        new_labels, new_objects = edit(piece, old_labels, old_objects)
        repainted = new_labels != old_labels
        touched = repainted | (new_objects != old_objects)
        if not touched.any():
            return
        changes.regions.append(_around(touched, start_of(common)))
        if repainted.any():
            changes.labels[key] = _with(labels, inner, new_labels)
        if (repainted & (old_objects > 0)).any():
            old_objects = np.where(repainted, 0, old_objects)
            changes.vanished[key] = _with(objects, inner, old_objects)
        if (new_objects != old_objects).any():
            changes.objects[key] = _with(objects, inner, new_objects)

    def _write(self, changes: "_Changes") -> None:
        """Write in the safe order; everything is in memory, whatever the disk says."""
        refused: StorageError | None = None
        steps = (
            (self.objects, changes.vanished),
            (self.labels, changes.labels),
            (self.objects, changes.objects),
        )
        for array, chunks in steps:
            for key, chunk in chunks.items():
                array.stage(key, chunk)
            if chunks and refused is None:
                try:
                    array.flush()
                except StorageError as error:
                    refused = error
        if refused is not None:
            raise refused

    def _note_recent(self, changed: list[Region]) -> None:
        """Remember where something changed: one region for a stroke across a few chunks, else one a chunk."""
        around = changed[0]
        for region in changed[1:]:
            around = union(around, region)
        sizes = zip(shape_of(around), self.labels.chunks, strict=True)
        small = all(size <= 2 * chunk for size, chunk in sizes)
        self.recent.extendleft([around] if small else changed)


def _with(chunk: NDArray[Any], inner: Region, values: NDArray[Any]) -> NDArray[Any]:
    new = chunk.copy()
    new[inner] = values
    return new


def _around(mask: NDArray[np.bool_], origin: tuple[int, ...]) -> Region:
    """Smallest region around the True pixels, counted from `origin`."""
    region = []
    for axis, offset in enumerate(origin):
        places = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        region.append(slice(int(places[0]) + offset, int(places[-1]) + 1 + offset))
    return tuple(region)
