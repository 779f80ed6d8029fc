"""A simulated annotator: rough marks made from true masks, the same for every method and every run of a seed.

Each image has a random stream of its own, from the seed and the name of the image, so that marks do not depend on the
order or the number of images.
"""

import heapq
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.sets import ImageSet, Picture

#: Share of an object that its blob covers.
BLOB_SHARE = 0.25
#: How uneven the outline of a blob is, and how far from the middle it may lie.
_UNEVEN = 0.25
#: Length of the stroke of background, as a share of the height of the image, and half its width in pixels.
_BACKGROUND_LENGTH = 0.6
_BACKGROUND_RADIUS_PX = 2
#: Strokes per image, their length and half their width in pixels, for each class id of vnc_sstem that is no object.
_TISSUE_STROKES = {1: (6, 80, 2), 2: (6, 80, 1), 3: (3, 60, 1)}
#: Share of the objects of the other classes (mitochondria, synapses) that get a blob.
_TISSUE_BLOBS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """An image as somebody annotated it.

    Attributes
    ----------
    picture : Picture
    labels : uint8 array, (Y, X)
        Painted class ids, 0 = not annotated.
    objects : int32 array, (Y, X)
        Ids of the painted objects, 0 = none.
    exact : bool
        Everything is painted as it is.
    all_objects : bool
        Every object has a mark, and the person says so.
    """

    picture: Picture
    labels: NDArray[np.uint8]
    objects: NDArray[np.int32]
    exact: bool = False
    all_objects: bool = False


def annotate(image_set: ImageSet, *, seed: int, exact: int | None, limit: int = 0) -> Iterator[Marked]:
    """Annotate the training images of a set.

    Parameters
    ----------
    image_set : ImageSet
    seed : int
        Chooses the exact images and makes the marks.
    exact : int or None
        Images with their exact mask; None = all.
    limit : int
        Annotate so many images only; 0 = all.
    """
    names = image_set.names("train")
    order = np.random.default_rng(seed).permutation(len(names))[: limit or None]
    for place, i in enumerate(order):
        picture = image_set.picture(names[i])
        if exact is None or place < exact:
            yield Marked(picture, picture.truth, picture.objects, exact=True)
        else:
            yield _rough(image_set, picture, np.random.default_rng([seed, zlib.crc32(picture.name.encode())]))


def _rough(image_set: ImageSet, picture: Picture, rng: np.random.Generator) -> Marked:
    if image_set.marks == "scribbles":
        labels = image_set.scribbles(picture.name)
        return Marked(picture, labels, np.zeros(labels.shape, np.int32))
    if image_set.marks == "strokes":
        objects = blobs(np.where(picture.truth > max(_TISSUE_STROKES), picture.objects, 0), rng, share=_TISSUE_BLOBS)
        labels = np.where(objects > 0, picture.truth, 0).astype(np.uint8)
        for class_id, (count, length, radius) in _TISSUE_STROKES.items():
            drawn = strokes(picture.truth == class_id, rng, count=count, length=length, radius_px=radius)
            labels[drawn] = class_id
        return Marked(picture, labels, objects)
    objects = blobs(picture.objects, rng)
    labels = np.where(objects > 0, picture.truth, 0).astype(np.uint8)
    length = round(_BACKGROUND_LENGTH * labels.shape[0])
    labels[strokes(picture.truth == 1, rng, length=length, radius_px=_BACKGROUND_RADIUS_PX)] = 1
    return Marked(picture, labels, objects, all_objects=True)


def blobs(objects: NDArray[np.int32], rng: np.random.Generator, *, share: float = 1.0) -> NDArray[np.int32]:
    """Paint a blob into each object, or into a random share of them; ids as in `objects`."""
    painted = np.zeros_like(objects)
    for i, place in enumerate(ndimage.find_objects(objects), 1):
        if place is not None and rng.random() < share:
            painted[place][blob(objects[place] == i, rng)] = i
    return painted


def blob(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Paint one connected, uneven patch of a quarter of a mask, rather in its middle; bool, (*S).

    The patch spreads from the pixel it likes best to the neighbour it likes best, until it is large enough; deep inside
    is liked, and so is what a smooth noise says.
    """
    area = int(mask.sum())
    depth = _depth(mask)
    noise = ndimage.gaussian_filter(rng.standard_normal(mask.shape), max(1.0, area ** (1 / mask.ndim) / 4))
    liking = np.where(mask, depth / depth.max() + _UNEVEN * noise / max(float(noise.std()), 1e-6), -np.inf)
    padded = np.pad(liking, 1, constant_values=-np.inf)  # so that no neighbour lies outside
    steps = [sign * stride // padded.itemsize for stride in padded.strides for sign in (-1, 1)]
    likes, painted = padded.ravel(), np.zeros(padded.size, bool)
    seen = ~np.isfinite(likes)
    first = int(likes.argmax())
    seen[first] = True
    waiting = [(-likes[first], first)]
    for _ in range(max(1, round(BLOB_SHARE * area))):
        if not waiting:
            break
        _, at = heapq.heappop(waiting)
        painted[at] = True
        for near in (at + step for step in steps):
            if not seen[near]:
                seen[near] = True
                heapq.heappush(waiting, (-likes[near], near))
    inside = (slice(1, -1),) * mask.ndim
    return painted.reshape(padded.shape)[inside]


def strokes(
    mask: NDArray[np.bool_], rng: np.random.Generator, *, count: int = 1, length: int, radius_px: int
) -> NDArray[np.bool_]:
    """Draw wandering lines inside a mask, up to `length` pixels long; bool, (Y, X).

    A line that comes to the border turns away from it, and ends where it finds no way on.
    """
    drawn = np.zeros_like(mask)
    depth = _depth(mask)
    starts = np.argwhere(depth > min(3.0, 0.6 * depth.max()))
    for _ in range(count if len(starts) else 0):
        for y, x in _line(depth, starts[rng.integers(len(starts))], rng, length):
            drawn[max(0, y - radius_px) : y + radius_px + 1, max(0, x - radius_px) : x + radius_px + 1] = True
    return np.asarray(drawn & mask, bool)


def _line(
    depth: NDArray[np.float64], start: NDArray[np.int64], rng: np.random.Generator, length: int
) -> Iterator[tuple[int, int]]:
    at, angle = start.astype(float), rng.uniform(0, 2 * np.pi)
    least = min(1.5, 0.5 * depth.max())
    yield int(start[0]), int(start[1])
    for _ in range(length):
        angle += rng.normal(0, 0.2)
        for _ in range(8):
            ahead = at + np.array([np.sin(angle), np.cos(angle)])
            y, x = (int(value) for value in np.rint(ahead))
            if 0 <= y < depth.shape[0] and 0 <= x < depth.shape[1] and depth[y, x] > least:
                break
            angle += rng.uniform(-1.5, 1.5)
        else:
            return
        at = ahead
        yield y, x


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the border of a mask, that of the image included."""
    inside = (slice(1, -1),) * mask.ndim
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))[inside], np.float64)
