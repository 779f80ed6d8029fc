"""Single simulated marks: strokes, boxes, rough masks, and the time that a person takes for them.

Masks are 2-D or 3-D. Whoever paints a volume sees one plane (Y, X) of it at a time: a stroke lies in one plane, an
outline goes through all of them.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP_Geometric

from benchmarks.marks import _BACKGROUND_LENGTH, _BACKGROUND_RADIUS_PX, _depth, strokes
from napari_weakseg.core.regions import Region, intersection, shape_of, whole

#: Share of a middle line that a scribble leaves out at each end, how much it wavers, and half its width in pixels.
_SCRIBBLE_ENDS = 0.1
_SCRIBBLE_UNEVEN = 0.4
_SCRIBBLE_RADIUS_PX = 1


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a person's time.

    Attributes
    ----------
    class_s : float
        To look for one class in an image or region, and to say that it is present, absent or complete [1]_.
    first_s, click_s, stroke_px_s : float
        A stroke: turning to another class, each stroke, and a pixel of its extent. In [1]_ a squiggle takes 10.9 s for
        the first object of a class and 6.3 s for each other, a point 0.9 s there. Assumptions: a squiggle is 100 pixels
        long; a blob, and a stroke in a volume, take as long as a squiggle of their extent.
    box_s : float
        A box in an image, by its four outermost points [2]_. Assumption: in a volume six points, half as much again.
    outline_px_s : float
        A pixel of an exact outline. One object of COCO took 79 s [3]_; assumption: it is of 100 × 100 pixels, with an
        outline of 400. In a volume every plane is outlined. An outline takes no less than a box: its points lie on it.
    rough_share : float
        Time of a rough outline as a share of that of an exact one (assumption).

    Notes
    -----
    The means that [1]_ gives per image (20 classes, 1.5 of them present, 2.8 objects) follow from these numbers: 20 s
    for tags, 18.5 + 1.5 · 10.9 = 34.9 s for one squiggle a class, 18.5 + 2.8 · 79 = 239.7 s for outlines.

    References
    ----------
    .. [1] A. Bearman et al., "What's the point: semantic segmentation with point supervision", ECCV 2016.
    .. [2] D. P. Papadopoulos et al., "Extreme clicking for efficient object annotation", ICCV 2017.
    .. [3] T.-Y. Lin et al., "Microsoft COCO: common objects in context", ECCV 2014.
    """

    class_s: float = 1.0
    first_s: float = 10.9 - 6.3
    click_s: float = 0.9
    stroke_px_s: float = (6.3 - 0.9) / 100
    box_s: float = 7.0
    outline_px_s: float = 79 / 400
    rough_share: float = 0.25

    def stroke(self, pixels: NDArray[np.bool_], *, first: bool) -> float:
        """Seconds for a stroke that paints pixels, not none; the first of a class or a further one."""
        extent_px = max(int(np.ptp(places)) + 1 for places in np.nonzero(pixels))
        return self.first_s * first + self.click_s + self.stroke_px_s * extent_px

    def box(self, ndim: int) -> float:
        """Seconds for a box in an image of so many axes."""
        return self.box_s * ndim / 2

    def outline(self, mask: NDArray[np.bool_]) -> float:
        """Seconds for an exact outline."""
        return max(self.box(mask.ndim), self.outline_px_s * outline_px(mask))


@dataclass(frozen=True, slots=True)
class Rough:
    """In which way rough masks are wrong.

    Attributes
    ----------
    how : {"dilated", "eroded", "shifted", "box"}
        What happens to the mask of each object; a box is filled.
    amount_px : int
        Pixels it grows or shrinks by, or moves by along each axis; a box needs none.
    corrupted : float
        Share of the objects, 0 … 1, that are forgotten or drawn in another place, by turns.
    """

    how: Literal["dilated", "eroded", "shifted", "box"] = "dilated"
    amount_px: int = 2
    corrupted: float = 0.0


def scribble(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a wavering stroke along the middle line of a mask; bool, (*S).

    The stroke is the cheapest way between the two ends of the mask, where a pixel is the cheaper the deeper inside it
    lies. In a volume it lies in the plane that shows most of the mask.
    """
    drawn = np.zeros(mask.shape, bool)
    planes = _planes(mask)
    at = int(planes.sum((1, 2)).argmax())
    line = np.zeros(planes.shape[1:], bool)
    line[tuple(_middle_line(planes[at], rng).T)] = True
    _planes(drawn)[at] = (ndimage.distance_transform_edt(~line) <= _SCRIBBLE_RADIUS_PX) & planes[at]
    return drawn


def _middle_line(plane: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels from one end of a mask (Y, X) to the other, int64 (n, 2)."""
    depth = _depth(plane)
    noise = ndimage.gaussian_filter(rng.standard_normal(plane.shape), 2)
    waver = np.exp(_SCRIBBLE_UNEVEN * (noise - noise.mean()) / max(float(noise.std()), 1e-6))
    end = _farthest(plane, np.unravel_index(int(depth.argmax()), depth.shape))
    costs = np.where(plane, (depth.max() / np.maximum(depth, 1)) ** 2 * waver, -1)  # no way where it is negative
    walk = MCP_Geometric(costs)
    walk.find_costs([end])
    path = np.array(walk.traceback(_farthest(plane, end)))
    left_out = int(_SCRIBBLE_ENDS * len(path))
    return path[left_out : len(path) - left_out]


def _farthest(plane: NDArray[np.bool_], start: tuple[np.intp, ...]) -> tuple[np.intp, ...]:
    """Pixel of a mask that is the farthest from another on ways inside."""
    reached, _ = MCP_Geometric(np.where(plane, 1.0, -1.0)).find_costs([start])
    return np.unravel_index(int(np.where(np.isfinite(reached), reached, -1).argmax()), plane.shape)


def background_stroke(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw one wandering line through a mask, in a volume in one of its planes; bool, (*S), empty where the mask is."""
    drawn = np.zeros(mask.shape, bool)
    planes = _planes(mask)
    if mask.any():
        at = rng.choice(np.flatnonzero(planes.any((1, 2))))
        length = round(_BACKGROUND_LENGTH * mask.shape[-2])
        _planes(drawn)[at] = strokes(planes[at], rng, length=length, radius_px=_BACKGROUND_RADIUS_PX)
    return drawn


def drawn_box(tight: Region, within: Region, rng: np.random.Generator, *, jitter: float) -> Region:
    """Move each side of a tight box by up to a share `jitter` of its extent, inside of `within`; never empty."""
    sides = []
    for side, limit in zip(tight, within, strict=True):
        off = np.rint(jitter * (side.stop - side.start) * rng.uniform(-1, 1, 2)).astype(int)
        start = int(np.clip(side.start + off[0], limit.start, limit.stop - 1))
        sides.append(slice(start, int(np.clip(side.stop + off[1], start + 1, limit.stop))))
    return tuple(sides)


def outline_px(mask: NDArray[np.bool_]) -> int:
    """Count the pixels on the outline of a mask, in a volume in all of its planes.

    Examples
    --------
    >>> outline_px(np.ones((5, 5), bool)), outline_px(np.ones((3, 5, 5), bool))
    (16, 48)
    """
    cross = ndimage.generate_binary_structure(2, 1).reshape((1,) * (mask.ndim - 2) + (3, 3))
    return int(mask.sum() - ndimage.binary_erosion(mask, cross).sum())


def rough_masks(objects: NDArray[np.int32], rough: Rough, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw objects as somebody in a hurry would.

    Parameters
    ----------
    objects : int32 array, (*S)
        One id per object, 0 elsewhere.
    rough : Rough
    rng : Generator

    Returns
    -------
    int32 array, (*S)
        Ids as in `objects`. Who comes first keeps a pixel that two masks want. An object that is drawn in another
        place lies beside its own, as far as others leave room.
    """
    places = {i: place for i, place in enumerate(ndimage.find_objects(objects), 1) if place is not None}
    wrong = [int(i) for i in rng.permutation(list(places))[: round(rough.corrupted * len(places))]]
    moved = set(wrong[1::2])
    drawn = np.zeros_like(objects)
    for i in sorted(places.keys() - set(wrong[::2]), key=lambda i: (i in moved, i)):
        around = _widened(places[i], rough.amount_px, objects.shape)
        mask = _roughened(objects[around] == i, rough, rng)
        target = _beside(around, objects.shape, rng) if i in moved else around
        if target is not None:
            drawn[target][mask & (drawn[target] == 0)] = i
    return drawn


def _roughened(mask: NDArray[np.bool_], rough: Rough, rng: np.random.Generator) -> NDArray[np.bool_]:
    if rough.how == "dilated":
        return np.asarray(ndimage.distance_transform_edt(~mask) <= rough.amount_px)
    if rough.how == "eroded":
        depth = _depth(mask)
        return np.asarray(depth > min(rough.amount_px, depth.max() - 0.5))  # something is always left
    if rough.how == "shifted":
        offset = rough.amount_px * rng.choice([-1, 1], mask.ndim)
        return np.asarray(ndimage.shift(mask.astype(np.uint8), offset, order=0), bool)
    filled = np.zeros_like(mask)
    filled[ndimage.find_objects(mask.astype(np.uint8))[0]] = True
    return filled


def _widened(region: Region, margin: int, shape: tuple[int, ...]) -> Region:
    return tuple(slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(region, shape, strict=True))


def _beside(region: Region, shape: tuple[int, ...], rng: np.random.Generator) -> Region | None:
    """Move a region by its own extent along an axis, to where it lies inside of the image; None if it nowhere does."""
    found = []
    for axis, extent in enumerate(shape_of(region)):
        for step in (-extent, extent):
            side = slice(region[axis].start + step, region[axis].stop + step)
            moved = (*region[:axis], side, *region[axis + 1 :])
            if intersection(moved, whole(shape)) == moved:
                found.append(moved)
    return found[rng.integers(len(found))] if found else None


def _planes(array: NDArray[Any]) -> NDArray[Any]:
    """All planes (Y, X) of an image or a volume, (n, Y, X); a view if the array lies in one piece."""
    return array.reshape(-1, *array.shape[-2:])
