"""What a person said about one image: painted pixels, object ids, boxes, tags and how complete they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.chunks import ChunkedArray
from napari_weakseg.core.regions import Region, intersection, region_of, shape_of, shifted, start_of, whole

Coverage = Literal["some", "all objects", "exact"]
COVERAGE: tuple[Coverage, ...] = get_args(Coverage)
SOME, ALL_OBJECTS, EXACT = range(3)
Trust = Literal["sure", "rough", "imported", "machine"]
"""Whether a mask is known to be right, or only claims to be: drawn roughly, taken over from elsewhere, or predicted."""
CLAIMS: tuple[Trust, ...] = get_args(Trust)[1:]


class LabelArray(Protocol):
    """Integer array that is read by region: a numpy array or a `ChunkedArray`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pixels along every axis."""
        ...

    def __getitem__(self, index: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Box:
    """A box around one object of a class: `start` and `stop` in pixels of the label axes, half-open."""

    class_id: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def region(self) -> Region:
        """The box as a region."""
        return region_of(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class CoverageRule:
    """How complete the marks of a class are; class None = every class, no corners = the whole image."""

    class_id: int | None
    kind: Coverage
    start: tuple[int, ...] | None = None
    stop: tuple[int, ...] | None = None

    def region(self, shape: Sequence[int]) -> Region:
        """Where the rule holds in an image of the given label shape."""
        if self.start is None or self.stop is None:
            return whole(shape)
        return region_of(self.start, self.stop)


@dataclass(frozen=True)
class Annotations:
    """All that is known about one image.

    Attributes
    ----------
    label_shape : tuple of int
        Shape of `labels` and `objects`: the image without its channels.
    labels : LabelArray, uint8
        Class ids, 0 = not annotated.
    objects : LabelArray, int32
        Object ids, 0 = none given; an id counts together with the class painted at its pixel.
    boxes : tuple of Box
    tags : mapping of int to bool
        Class id → present (True) or absent (False) in the image; unknown classes are left out.
    rules : tuple of CoverageRule
        Later ones win where they overlap.
    claims : mapping of str to LabelArray, uint8
        Trust → class ids of masks that may be wrong, 0 = nothing claimed; only those that were given.
    frame_tags : mapping of tuple to mapping of int to bool
        Frame → class id → present or absent in it; only what was said of a frame by itself, see `tags_of`.

    Notes
    -----
    Boxes, tags and rules are a snapshot. `labels`, `objects` and `claims` of a project's image are live: they read what
    is painted at the moment of the call, one consistent region at a time.
    """

    label_shape: tuple[int, ...]
    labels: LabelArray
    objects: LabelArray
    boxes: tuple[Box, ...] = ()
    tags: Mapping[int, bool] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[CoverageRule, ...] = ()
    claims: Mapping[Trust, LabelArray] = field(default_factory=lambda: MappingProxyType({}))
    frame_tags: Mapping[tuple[int, ...], Mapping[int, bool]] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def empty(cls, label_shape: Sequence[int]) -> "Annotations":
        """Nothing annotated yet, in memory."""
        shape = tuple(int(size) for size in label_shape)
        return cls(shape, np.zeros(shape, np.uint8), np.zeros(shape, np.int32))

    def painted_region(self) -> list[Region]:
        """Chunk-aligned regions that hold any painted pixel, in C order; no pixel outside them is painted."""
        return _occupied(self.labels)

    def claimed_region(self) -> list[Region]:
        """As `painted_region`, of the masks that may be wrong."""
        return [region for labels in self.claims.values() for region in _occupied(labels)]

    def painted_counts(self, region: Region | None = None) -> dict[int, int]:
        """Count the painted pixels of each class that occurs, in a region or in the whole image."""
        total = np.zeros(256, np.int64)
        for place in self.painted_region():
            common = place if region is None else intersection(place, region)
            if common is not None:
                total += np.bincount(self.labels[common].ravel(), minlength=256)
        return {class_id: int(n) for class_id, n in enumerate(total) if class_id and n}

    def used_classes(self) -> set[int]:
        """Ids of the classes that any paint, box, tag or coverage names."""
        named = {box.class_id for box in self.boxes} | {rule.class_id for rule in self.rules}
        claimed = (labels[place] for labels in self.claims.values() for place in _occupied(labels))
        named |= {int(c) for labels in claimed for c in np.unique(labels) if c}
        tagged = {class_id for tags in self.frame_tags.values() for class_id in tags}
        return {*self.painted_counts(), *self.tags, *tagged, *(c for c in named if c is not None)}

    def tags_of(self, frame: Sequence[int]) -> dict[int, bool]:
        """Class id → present or absent in a frame: what is said of it by itself, else of the whole image.

        A class that is absent from the image is absent from all its frames; of one that is present somewhere in the
        image nobody knows in which of several.
        """
        only = all(size == 1 for size in self.label_shape[: len(frame)])
        tags = {class_id: present for class_id, present in self.tags.items() if only or not present}
        return {**tags, **self.frame_tags.get(tuple(frame), {})}

    def coverage_of(self, class_id: int, region: Region | None = None) -> Coverage | None:
        """Coverage of a class in a region or the whole image; None where it differs from place to place.

        Examples
        --------
        >>> Annotations.empty((4, 4)).coverage_of(1)
        'some'
        """
        region = whole(self.label_shape) if region is None else region
        kinds = {"some"}
        for rule in self.rules:
            if rule.class_id not in (None, class_id):
                continue
            place = rule.region(self.label_shape)
            common = intersection(place, region)
            if common == region:
                kinds = {rule.kind}
            elif common is not None:
                kinds.add(rule.kind)
        if len(kinds) == 1:
            return next(kind for kind in COVERAGE if kind in kinds)
        return None

    def coverage_map(self, class_id: int, region: Region) -> NDArray[np.uint8]:
        """Index into `COVERAGE` for each pixel of a region, uint8 (read-only)."""
        uniform = self.coverage_of(class_id, region)
        if uniform is not None:
            return np.broadcast_to(np.uint8(COVERAGE.index(uniform)), shape_of(region))
        kinds = np.zeros(shape_of(region), np.uint8)
        for rule in self.rules:
            if rule.class_id in (None, class_id):
                common = intersection(rule.region(self.label_shape), region)
                if common is not None:
                    kinds[shifted(common, start_of(region))] = COVERAGE.index(rule.kind)
        return kinds


def _occupied(labels: LabelArray) -> list[Region]:
    if isinstance(labels, ChunkedArray):
        return labels.occupied()
    return [whole(labels.shape)] if np.any(labels[...]) else []
