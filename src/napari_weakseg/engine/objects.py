"""Objects in a map of classes: told apart by their shape and by what is known, joined or parted again at a touch.

Touching objects are one connected part of their class. Each part is cut at its waists into *fragments*, one for each
place that lies deepest inside; where two fragments meet, the *pass* between them has a depth of its own. How deep the
pass is beside the shallower of the two tells whether they are one object with a waist or two that touch. Fragments and
passes are found once; which are joined is decided after that, without any work on borders, so that a slider can ask
again and again. How deep a pixel lies is its distance to the border, averaged over how sure of the object one asks the
network to be (where two objects touch it is less sure, so that the pass is shallower there), and what the network has
learned of how far inside its object a pixel lies.

A marker-controlled watershed [1]_ whose basins are merged by the dynamics of their passes [2]_; the depth, the dynamics
as a share of it, and what marks say about objects are ours.

NumPy and SciPy, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``.

References
----------
.. [1] F. Meyer, S. Beucher, "Morphological segmentation", JVCIR 1990.
.. [2] M. Grimaud, "New measure of contrast: the dynamics", Proc. SPIE 1769, 1992.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.engine.fragments import Fragments, Ids

__all__ = ["Cut", "cut_at_waists", "deepest_of", "fragments_of", "least_told", "meetings"]

_SURE = (0.8, 0.95, 0.99)  # that the network is asked to be, beside being more sure of the class than of others
_LEAST = 5  # percentile of the marked objects, for smaller ones to be taken for specks
_INWARD = 2 / 3  # share of the inwardness in the depth, where it is known
_SMOOTH_PX = 1.0  # of the distance, so that a jagged border makes no fragments


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A map of classes that is cut at its waists.

    Attributes
    ----------
    ids : int32 array, (*S)
        Fragment 1 … n of each pixel, 0 = background.
    depth : float32 array, (*S)
        How deep each pixel lies.
    classes : uint8 array, (n + 1,)
        Class id of each fragment.
    marked : int32 array, (n + 1,)
        Object that a person has marked in each fragment, 0 = none.
    """

    ids: Ids
    depth: NDArray[np.float32]
    classes: NDArray[np.uint8]
    marked: Ids

    @property
    def deepest(self) -> NDArray[np.float32]:
        """Greatest depth in each fragment, (n + 1,)."""
        found = np.zeros(len(self.classes), np.float32)
        np.maximum.at(found, self.ids.ravel(), self.depth.ravel())
        return found


def cut_at_waists(
    classes: NDArray[np.uint8],
    *,
    certainty: NDArray[np.floating] | None = None,
    inwardness: NDArray[np.floating] | None = None,
    marked: Ids | None = None,
    spacing: Sequence[float] | None = None,
    deepest: float | None = None,
) -> Cut:
    """Cut what is not background at its waists.

    Parameters
    ----------
    classes, certainty, inwardness, marked, spacing
        As of `fragments_of`.
    deepest : float, optional
        Pixels that lie deeper count as if they did not: how deep a pixel of a window lies is certain up to its distance
        from the end of the window.

    Returns
    -------
    Cut
    """
    ids = np.zeros(classes.shape, np.int32)
    depth = np.zeros(classes.shape, np.float32)
    of_class: list[int] = [0]
    marks: list[int] = [0]
    for class_id in np.unique(classes[classes > BACKGROUND]).tolist():
        inside = classes == class_id
        here = _depth(inside, certainty, inwardness, spacing, deepest)
        found, objects = _basins(here, inside, np.where(inside, 0 if marked is None else marked, 0))
        ids = np.where(inside & (found > 0), found + len(of_class) - 1, ids).astype(np.int32)
        depth = np.where(inside, here, depth)
        of_class += [class_id] * len(objects)
        marks += objects
    return Cut(ids, depth, np.array(of_class, np.uint8), np.array(marks, np.int32))


def fragments_of(
    classes: NDArray[np.uint8],
    *,
    certainty: NDArray[np.floating] | None = None,
    inwardness: NDArray[np.floating] | None = None,
    marked: Ids | None = None,
    spacing: Sequence[float] | None = None,
    least_px: Mapping[int, int] | None = None,
) -> Fragments:
    """Cut what is not background into fragments, with the passes between them.

    Parameters
    ----------
    classes : uint8 array, (*S)
        Class ids.
    certainty : float array, (*S), optional
        Probability of the class of each pixel.
    inwardness : float array, (*S), optional
        How far inside its object each pixel lies, in the eyes of the network: above 0 to 1, or 0 throughout where
        nothing is known of it.
    marked : int32 array, (*S), optional
        Objects that a person has marked, 0 = none. They may be marked in part.
    spacing : sequence of float, optional
        Distance of neighbouring pixels along each axis.
    least_px : mapping of int to int, optional
        Size that objects are expected to have at least, by class id.

    Returns
    -------
    Fragments
    """
    cut = cut_at_waists(classes, certainty=certainty, inwardness=inwardness, marked=marked, spacing=spacing)
    return Fragments(
        cut.classes,
        cut.deepest,
        np.bincount(cut.ids.ravel(), minlength=len(cut.classes)),
        *deepest_of(*meetings(cut.ids, cut.depth, classes)),
        cut.marked,
        least_px or {},
        cut.ids,
    )


def least_told(marked: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Tell how small an object of each class may be.

    Parameters
    ----------
    marked : sequence of (class id, pixels)
        Marked objects, most of them marked in part.

    Returns
    -------
    dict of int to int
        Pixels, by class id.
    """
    sizes: dict[int, list[int]] = {}
    for class_id, pixels in marked:
        sizes.setdefault(class_id, []).append(pixels)
    return {class_id: int(np.percentile(pixels, _LEAST)) for class_id, pixels in sizes.items()}


def _depth(
    inside: NDArray[np.bool_],
    certainty: NDArray[np.floating] | None,
    inwardness: NDArray[np.floating] | None,
    spacing: Sequence[float] | None,
    deepest: float | None,
) -> NDArray[np.float32]:
    """Smoothed mean distance to the border, the end of the image being none; with inwardness their geometric mean."""
    away = _away(inside, spacing, deepest)
    if certainty is not None:
        away += sum(_away(inside & (certainty >= sure), spacing, deepest) for sure in _SURE)
        away /= 1 + len(_SURE)
    smooth = ndimage.gaussian_filter(away, _SMOOTH_PX)
    if inwardness is not None and inwardness.any():
        smooth = smooth ** (1 - _INWARD) * inwardness**_INWARD
    return np.where(inside, smooth, 0).astype(np.float32)


def _away(inside: NDArray[np.bool_], spacing: Sequence[float] | None, deepest: float | None) -> NDArray[np.float64]:
    """Distance to the border, the end of the image being none."""
    if inside.all():
        return np.full(inside.shape, 1 if deepest is None else deepest, np.float64)
    found: NDArray[np.float64] = ndimage.distance_transform_edt(inside, sampling=spacing)
    return found if deepest is None else np.minimum(found, deepest, out=found)


def _basins(depth: NDArray[np.float32], inside: NDArray[np.bool_], marked: Ids) -> tuple[Ids, list[int]]:
    """Give fragment 1 … n of each pixel, and the marked object that each belongs to, 0 for none.

    There is one fragment around each place that lies deepest, but where objects are marked, one for each of these: what
    several share is parted by which is nearest.
    """
    corners = np.ones((3,) * depth.ndim, bool)  # pixels that meet at a corner belong together
    peaks, _ = ndimage.label(local_maxima(depth) & inside & (depth > 0), corners)
    parts, n_parts = ndimage.label(inside, corners)
    begun = np.zeros(n_parts + 1, bool)
    begun[np.unique(parts[peaks > 0])] = True
    peaks, n = ndimage.label((peaks > 0) | (inside & ~begun[parts]), corners)  # thin parts that no peak is in
    found = watershed(-depth, peaks, mask=inside, connectivity=depth.ndim)
    objects = np.unique(marked[marked > 0])
    if not len(objects):
        return found, [0] * n
    numbered = np.where(marked > 0, np.searchsorted(objects, marked) + 1, 0)
    held = np.unique(np.stack([found[numbered > 0], numbered[numbered > 0]]), axis=1)  # basin and object
    holders = np.bincount(held[0], minlength=n + 1)
    free = np.flatnonzero(holders[1:] == 0) + 1
    number = np.zeros(n + 1, np.int32)
    number[free] = len(objects) + 1 + np.arange(len(free))
    number[held[0]] = held[1]
    result: Ids = number[found]
    for basin, place in enumerate(ndimage.find_objects(found), 1):
        if place is not None and holders[basin] > 1:
            mine = found[place] == basin
            markers = np.where(mine, numbered[place], 0)
            parted = watershed(np.zeros(mine.shape), markers, mask=mine, connectivity=depth.ndim)
            result[place][mine] = parted[mine]
    return result, [*objects.tolist(), *[0] * len(free)]


def meetings(ids: Ids, depth: NDArray[np.float32], classes: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.float32]]:
    """Pairs of neighbouring pixels of one class in two fragments: the fragments (k, 2), and how deep both lie (k,)."""
    pairs, depths = [np.zeros((0, 2), np.int32)], [np.zeros(0, np.float32)]
    for axis in range(ids.ndim):
        a, b = (
            tuple(slice(i, None if i else -1) if other == axis else slice(None) for other in range(ids.ndim))
            for i in (0, 1)
        )
        meet = (ids[a] != ids[b]) & (ids[a] > 0) & (ids[b] > 0) & (classes[a] == classes[b])
        pairs.append(np.sort(np.stack([ids[a][meet], ids[b][meet]], 1), 1))
        depths.append(np.minimum(depth[a][meet], depth[b][meet]))
    return np.concatenate(pairs), np.concatenate(depths)


def deepest_of(pairs: Ids, depths: NDArray[np.float32]) -> tuple[Ids, NDArray[np.float32]]:
    """Each pair of fragments once, with the deepest of its meetings: the pass between them."""
    passes, member = np.unique(pairs, axis=0, return_inverse=True)
    deepest = np.zeros(len(passes), np.float32)
    np.maximum.at(deepest, member.ravel(), depths)
    return passes.astype(np.int32), deepest
