"""Masks of a person that may be wrong, object by object."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.annotations import CLAIMS, Annotations, Trust
from napari_weakseg.core.regions import Region

if TYPE_CHECKING:
    from napari_weakseg.engine.blocks import Place

__all__ = ["Rough", "rough_of"]

Key = tuple[str, Trust, tuple[int, ...], tuple[int, ...], int]
"""Image, trust, frame, first pixel, and checksum of class and shape: an object that is drawn anew is another one."""


@dataclass(frozen=True, slots=True, eq=False)
class Rough:
    """Rough, imported and machine-made masks of a block.

    Attributes
    ----------
    labels : uint8 array, (*S)
        Class ids, 0 = nothing claimed.
    ids : int32 array, (*S)
        Connected object 1 … m of each claimed pixel, 0 = none.
    keys : tuple of Key
        Of the m objects.
    classes : uint8 array, (m,)
        Their class ids.
    pixels : int64 array, (m,)
    place : int32 array, (m + 1,)
        Of each object's weight, counted from 1; entry 0 is 0. Given by whoever keeps the weights.
    """

    labels: NDArray[np.uint8]
    ids: NDArray[np.int32]
    keys: tuple[Key, ...]
    classes: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    place: NDArray[np.int32]

    def keep_places(self, before: "Rough | None") -> None:
        """Let objects that were there before, unchanged, keep their weights."""
        if before is not None:
            place = dict(zip(before.keys, before.place[1:].tolist(), strict=True))
            self.place[1:] = [place.get(key, 0) for key in self.keys]

    def at(self, region: Region) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Claimed classes, and where the weight of each pixel's claim is, in a part of the block."""
        return self.labels[region], self.place[self.ids[region]]

    @property
    def parents(self) -> list[tuple[str, str, int]]:
        """Image, trust and class of each object: what it shares with others that may be as right or wrong."""
        return [(*key[:2], int(class_id)) for key, class_id in zip(self.keys, self.classes, strict=True)]


def rough_of(annotations: Annotations, place: "Place") -> Rough | None:
    """Read what is claimed in a block; None where nothing is.

    Where several masks claim a pixel the person's own rough one counts, then an imported one, then a machine's.
    """
    region = tuple(slice(i, i + 1) for i in place.frame) + place.region
    labels = np.zeros([s.stop - s.start for s in place.region], np.uint8)
    kinds = np.zeros(labels.shape, np.uint8)
    for number, kind in enumerate(CLAIMS, 1):
        if kind in annotations.claims:
            found = np.asarray(annotations.claims[kind][region], np.uint8).reshape(labels.shape)
            new = (labels == 0) & (found > 0)
            labels[new], kinds[new] = found[new], number
    if not labels.any():
        return None
    ids = np.zeros(labels.shape, np.int32)
    keys: list[Key] = []
    classes: list[int] = []
    for part, trust, box, class_id in _parts(labels, kinds):
        checksum = zlib.crc32(np.packbits(part).tobytes(), class_id)
        keys.append((place.image, trust, place.frame, _first(box, place.region), checksum))
        classes.append(class_id)
        ids[box][part] = len(keys)
    pixels = np.bincount(ids.ravel(), minlength=len(keys) + 1)[1:]
    places = np.zeros(len(keys) + 1, np.int32)
    return Rough(labels, ids, tuple(keys), np.array(classes, np.uint8), pixels, places)


def _parts(
    labels: NDArray[np.uint8], kinds: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.bool_], Trust, Region, int]]:
    """Find connected objects of one class and one kind: mask within a box, kind, box, class id."""
    around = np.ones((3,) * labels.ndim, bool)
    for number, trust in enumerate(CLAIMS, 1):
        for class_id in np.unique(labels[kinds == number]):
            parts, _ = ndimage.label((labels == class_id) & (kinds == number), around)
            for i, box in enumerate(ndimage.find_objects(parts), 1):
                yield parts[box] == i, trust, box, int(class_id)


def _first(box: Region, region: Region) -> tuple[int, ...]:
    return tuple(int(b.start + r.start) for b, r in zip(box, region, strict=True))
