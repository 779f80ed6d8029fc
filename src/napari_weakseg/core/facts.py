"""From annotations to knowledge: every mark, tag and coverage is a fact about pixels; AND merges them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from napari_weakseg.core.annotations import ALL_OBJECTS, EXACT, Annotations, Box
from napari_weakseg.core.classes import BACKGROUND, ClassTable
from napari_weakseg.core.knowledge import Bag, Knowledge, numbered
from napari_weakseg.core.regions import Region, intersection, shape_of, shifted, start_of, stop_of

_connected: Callable[..., NDArray[np.integer]] = measure.label


@dataclass(frozen=True, slots=True)
class _Block:
    """The region asked for, read once; `frame` is the whole spatial extent around it."""

    annotations: Annotations
    region: Region
    frame: Region
    n_frame_axes: int
    labels: NDArray[np.uint8]  # (*S)
    tags: Mapping[int, bool]  # of the frame

    @property
    def spatial(self) -> Region:
        return self.region[self.n_frame_axes :]

    def squeezed(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return array.reshape(array.shape[self.n_frame_axes :])

    def boxes(self, class_id: int) -> Iterator[Box]:
        """Boxes of a class in this frame."""
        for box in self.annotations.boxes:
            if box.class_id == class_id and intersection(box.region, self.frame) is not None:
                yield box


def knowledge_of(
    annotations: Annotations,
    classes: ClassTable,
    region: Region,
    *,
    spatial_ndim: int,
    reach_px: Mapping[int, float],
    sampling: tuple[float, ...] | None = None,
    before: Knowledge | None = None,
) -> Knowledge:
    """Merge all facts about a region of one frame.

    Parameters
    ----------
    annotations : Annotations
    classes : ClassTable
    region : Region
        Over the label axes; one pixel thick along the frame axes.
    spatial_ndim : {2, 3}
        How many of the last label axes are spatial.
    reach_px : mapping of int to float
        Class id → distance from its blobs beyond which, under "all objects", the class is ruled out. Without
        it such blobs rule out nothing.
    sampling : tuple of float, optional
        Spacing of pixels along the spatial axes, for the distances; 1 if left out.
    before : Knowledge, optional
        Of the same region and the same annotations, with another reach or other classes: what these do not touch is
        taken over.

    Returns
    -------
    Knowledge
        Arrays of the region's spatial shape. A crop of it equals the knowledge of the crop, seeds' numbers
        and bags apart.

    Notes
    -----
    Two rules beyond the bare facts. Where *every* class is exact, an unpainted pixel is background: that is
    what is left over. And "all objects" of a class says nothing in a frame where the class has no mark at
    all: painting there has not begun (the tag "absent" says that there is none).
    """
    n_frame_axes = len(annotations.label_shape) - spatial_ndim
    if any(s.stop - s.start != 1 for s in region[:n_frame_axes]):
        raise ValueError("knowledge is built for one frame at a time")
    frame = region[:n_frame_axes] + tuple(slice(0, size) for size in annotations.label_shape[n_frame_axes:])
    labels = np.asarray(annotations.labels[region], np.uint8)
    tags = annotations.tags_of(start_of(region)[:n_frame_axes])
    block = _Block(annotations, region, frame, n_frame_axes, labels.reshape(labels.shape[n_frame_axes:]), tags)
    painted = block.labels > 0
    allowed = np.full(block.labels.shape, classes.full, np.uint32)
    if painted.any():
        only = np.left_shift(np.uint32(1), np.arange(256, dtype=np.uint32) & np.uint32(31))
        np.copyto(allowed, only[block.labels], where=painted)
    for class_id, present in tags.items():
        if not present:
            allowed &= ~classes.bit(class_id)
    complete = _apply_coverage(block, classes, allowed, reach_px, sampling)
    if before is not None:
        return replace(before, allowed=allowed, complete=complete, full=int(classes.full))
    seeds, seed_class = _seeds(block)
    bags = tuple(_bags(block))
    return Knowledge(allowed, painted, seeds, seed_class, complete, bags, int(classes.full))


def _apply_coverage(
    block: _Block,
    classes: ClassTable,
    allowed: NDArray[np.uint32],
    reach_px: Mapping[int, float],
    sampling: tuple[float, ...] | None,
) -> NDArray[np.bool_]:
    """Rule out in `allowed` what the coverage says; return where every class is exact, bool (*S)."""
    if not block.annotations.rules:
        return np.zeros(block.labels.shape, np.bool_)
    kinds = {c: block.squeezed(block.annotations.coverage_map(c, block.region)) for c in classes.ids}
    complete = np.ones(block.labels.shape, np.bool_)
    for kind in kinds.values():
        complete &= kind == EXACT
    for class_id, kind in kinds.items():
        outside = np.zeros(block.labels.shape, np.bool_)
        if (kind == EXACT).any():
            outside |= (kind == EXACT) & (block.labels != class_id)
            if class_id == BACKGROUND:
                outside &= ~(complete & (block.labels == 0))
        if class_id != BACKGROUND and (kind == ALL_OBJECTS).any():
            outside |= (kind == ALL_OBJECTS) & _outside_all_objects(block, class_id, reach_px.get(class_id), sampling)
        if outside.any():
            allowed[outside] &= ~classes.bit(class_id)
    return complete


def _outside_all_objects(
    block: _Block, class_id: int, reach: float | None, sampling: tuple[float, ...] | None
) -> NDArray[np.bool_]:
    """Where no object of a class can be, given that each one has a box or a blob; bool (*S)."""
    boxes = [box.region for box in block.boxes(class_id)]
    if reach is None:
        if not boxes or _has_paint_outside(block, class_id, boxes):
            return np.zeros(block.labels.shape, np.bool_)  # nobody knows how far those blobs' objects reach
        return ~_union(boxes, block.region, block.n_frame_axes)
    if not boxes and not _has_paint_outside(block, class_id, []):
        return np.zeros(block.labels.shape, np.bool_)
    spacing = sampling or (1.0,) * block.labels.ndim
    margin = [ceil(reach / step) for step in spacing]
    wide = block.region[: block.n_frame_axes] + tuple(
        slice(max(s.start - m, 0), min(s.stop + m, f.stop))
        for s, m, f in zip(block.spatial, margin, block.frame[block.n_frame_axes :], strict=True)
    )
    in_box = _union(boxes, wide, block.n_frame_axes)
    blobs = (block.squeezed(np.asarray(block.annotations.labels[wide])) == class_id) & ~in_box
    far = ~in_box
    if blobs.any():
        far &= np.asarray(ndimage.distance_transform_edt(~blobs, sampling=spacing)) > reach
    return far[shifted(block.spatial, start_of(wide[block.n_frame_axes :]))]


def _union(boxes: list[Region], region: Region, n_frame_axes: int) -> NDArray[np.bool_]:
    """Pixels of a region inside any of the boxes, bool (*S)."""
    inside = np.zeros(shape_of(region), np.bool_)
    for box in boxes:
        common = intersection(box, region)
        if common is not None:
            inside[shifted(common, start_of(region))] = True
    return inside.reshape(inside.shape[n_frame_axes:])


def _has_paint_outside(block: _Block, class_id: int, boxes: list[Region]) -> bool:
    """Whether the frame holds paint of a class outside all of the boxes."""
    for place in block.annotations.painted_region():
        common = intersection(place, block.frame)
        if common is None:
            continue
        paint = block.squeezed(np.asarray(block.annotations.labels[common])) == class_id
        if paint.any() and (paint & ~_union(boxes, common, block.n_frame_axes)).any():
            return True
    return False


def _seeds(block: _Block) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Objects of the painted pixels; see `Knowledge.seeds`."""
    foreground = np.where(block.labels == BACKGROUND, 0, block.labels)
    if not foreground.any():
        return np.zeros(foreground.shape, np.int32), np.zeros(1, np.uint8)
    ids = block.squeezed(np.asarray(block.annotations.objects[block.region]))
    given = (ids > 0) & (foreground > 0)
    loose = np.where(given, 0, foreground)
    if loose.any():
        blobs = _connected(loose, connectivity=foreground.ndim).astype(np.int64, copy=False)
    else:
        blobs = np.zeros(foreground.shape, np.int64)
    if given.any():
        key = ids[given].astype(np.int64) * 256 + foreground[given]  # the same id may serve two classes
        blobs[given] = blobs.max() + 1 + np.unique(key, return_inverse=True)[1]
    seed_class = np.zeros(int(blobs.max()) + 1, np.uint8)
    where = np.flatnonzero(blobs)
    seed_class[blobs.ravel()[where]] = foreground.ravel()[where]
    return numbered(blobs, seed_class)


def _bags(block: _Block) -> Iterator[Bag]:
    """Present tags of a whole frame, and the lines (planes in 3-D) across every box that touch its object."""
    shape = block.labels.shape
    if block.region == block.frame:
        for class_id, present in sorted(block.tags.items()):
            if present:
                yield Bag(class_id, (0,) * len(shape), shape)
    origin = start_of(block.spatial)
    for box in block.annotations.boxes:
        if intersection(box.region, block.region) is None:
            continue
        if any(s.stop - s.start > 1 for s in box.region[: block.n_frame_axes]):
            continue  # drawn through several frames: its object need not touch every side in this one
        yield from _box_bags(box, block, origin)


def _box_bags(box: Box, block: _Block, origin: tuple[int, ...]) -> Iterator[Bag]:
    """One bag for each line across a box, along every axis; lines that the region cuts off are left out."""
    region = box.region[block.n_frame_axes :]
    inside = intersection(region, block.spatial)
    assert inside is not None
    cut = [a != b for a, b in zip(inside, region, strict=True)]
    local = shifted(inside, origin)
    for axis in range(len(local)):
        if any(is_cut for other, is_cut in enumerate(cut) if other != axis):
            continue
        for place in range(local[axis].start, local[axis].stop):
            start, stop = list(start_of(local)), list(stop_of(local))
            start[axis], stop[axis] = place, place + 1
            yield Bag(box.class_id, tuple(start), tuple(stop))
