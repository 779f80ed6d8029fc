"""Objects in a map of classes: told apart by their shape and by what is known, joined or parted again at a touch.

Touching objects are one connected part of their class. Each part is cut at its waists into *fragments*, one for each
place that lies deepest inside; where two fragments meet, the *pass* between them has a depth of its own. How deep the
pass is beside the shallower of the two tells whether they are one object with a waist or two that touch. Fragments and
passes are found once; which are joined is decided after that, without any work on borders, so that a slider can ask
again and again. How deep a pixel lies is its distance to the border, averaged over how sure of the object one asks the
network to be: where two objects touch it is less sure, so that the pass is shallower there.

A marker-controlled watershed [1]_ whose basins are merged by the dynamics of their passes [2]_; the averaged depth, the
dynamics as a share of it, and what marks say about objects are ours.

NumPy and SciPy, 2-D or 3-D alike: ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``.

References
----------
.. [1] F. Meyer, S. Beucher, "Morphological segmentation", JVCIR 1990.
.. [2] M. Grimaud, "New measure of contrast: the dynamics", Proc. SPIE 1769, 1992.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from napari_weakseg.core.classes import BACKGROUND

__all__ = ["SPLIT", "Fragments", "fragments_of", "least_px"]

SPLIT = 0.9
"""How deep the pass between two fragments must be, in shares of the shallower one, for them to be one object."""

_SURE = (0.8, 0.95, 0.99)  # that the network is asked to be, beside being more sure of the class than of others
_LEAST = 5  # percentile of the marked objects, for smaller ones to be taken for specks
_SMOOTH_PX = 1.0  # of the depth, so that a jagged border makes no fragments

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Pieces of objects, and how deep the passes between them are.

    Attributes
    ----------
    ids : int32 array, (*S)
        Fragment 1 … n of each pixel, 0 = background.
    classes : uint8 array, (n + 1,)
        Class id of each fragment.
    depth : float32 array, (n + 1,)
        Greatest depth in each fragment.
    passes : int32 array, (m, 2)
        Fragments of one class that meet.
    pass_depth : float32 array, (m,)
        Where they meet deepest.
    marked : int32 array, (n + 1,)
        Object that a person has marked in each fragment, 0 = none.
    least_px : int
        Size that objects are expected to have at least.
    """

    ids: Ids
    classes: NDArray[np.uint8]
    depth: NDArray[np.float32]
    passes: Ids
    pass_depth: NDArray[np.float32]
    marked: Ids
    least_px: int = 0

    def objects(self, *, split: float | None = None, min_px: int | None = None) -> Ids:
        """Join fragments to objects.

        What a person has marked as one object is one, and as two is two, whatever is asked for.

        Parameters
        ----------
        split : float, optional
            0: whatever touches is one object. 1: every fragment is an object. Between: as `SPLIT`, which is
            the default.
        min_px : int, optional
            Smaller objects are left out, unless a person has marked them; `least_px` where not given.

        Returns
        -------
        int32 array, (*S)
            1 … n without gaps, 0 = background.
        """
        table = self._joined(SPLIT if split is None else split)
        pixels = np.bincount(self.ids.ravel(), minlength=len(table))
        kept = np.bincount(table, pixels, minlength=len(table)) >= max(1, self.least_px if min_px is None else min_px)
        kept[table[self.marked > 0]] = True
        kept[0] = False
        number: Ids = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        return number[table][self.ids]

    def _joined(self, split: float) -> Ids:
        """Fragment that stands for the object of each fragment, (n + 1,)."""
        parent = list(range(len(self.depth)))
        depth, marked = self.depth.tolist(), self.marked.tolist()

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        def join(a: int, b: int) -> None:
            parent[b] = a
            depth[a], marked[a] = max(depth[a], depth[b]), max(marked[a], marked[b])

        first: dict[int, int] = {}
        for i in np.flatnonzero(self.marked).tolist():
            if (other := root(first.setdefault(marked[i], i))) != root(i):
                join(other, root(i))
        for k in np.argsort(-self.pass_depth, kind="stable").tolist():
            a, b = sorted(root(int(i)) for i in self.passes[k])
            both = marked[a] and marked[b]
            if a != b and not both and split < 1 and self.pass_depth[k] >= split * min(depth[a], depth[b]):
                join(a, b)
        return np.array([root(i) for i in range(len(parent))], np.int32)


def fragments_of(
    classes: NDArray[np.uint8],
    *,
    certainty: NDArray[np.floating] | None = None,
    marked: Ids | None = None,
    spacing: Sequence[float] | None = None,
    least_px: int = 0,
) -> Fragments:
    """Cut what is not background at its waists.

    Parameters
    ----------
    classes : uint8 array, (*S)
        Class ids.
    certainty : float array, (*S), optional
        Probability of the class of each pixel.
    marked : int32 array, (*S), optional
        Objects that a person has marked, 0 = none. They may be marked in part.
    spacing : sequence of float, optional
        Distance of neighbouring pixels along each axis.
    least_px : int
        Size that objects are expected to have at least.

    Returns
    -------
    Fragments
    """
    ids = np.zeros(classes.shape, np.int32)
    depth = np.zeros(classes.shape, np.float32)
    of_class: list[int] = [0]
    marks: list[int] = [0]
    for class_id in np.unique(classes[classes > BACKGROUND]).tolist():
        inside = classes == class_id
        here = _depth(inside, certainty, spacing)
        found, objects = _basins(here, inside, np.where(inside, 0 if marked is None else marked, 0))
        ids = np.where(inside & (found > 0), found + len(of_class) - 1, ids).astype(np.int32)
        depth = np.where(inside, here, depth)
        of_class += [class_id] * len(objects)
        marks += objects
    passes, pass_depth = _passes(ids, depth, classes)
    deepest = np.append(0, ndimage.maximum(depth, ids, np.arange(1, len(marks)))).astype(np.float32)
    return Fragments(
        ids, np.array(of_class, np.uint8), deepest, passes, pass_depth, np.array(marks, np.int32), least_px
    )


def least_px(pixels: Sequence[int]) -> int:
    """Tell from the sizes of marked objects, most of them marked in part, how small an object may be."""
    return int(np.percentile(pixels, _LEAST)) if len(pixels) else 0


def _depth(
    inside: NDArray[np.bool_], certainty: NDArray[np.floating] | None, spacing: Sequence[float] | None
) -> NDArray[np.float32]:
    """Smoothed mean distance to the border; the end of the image is none."""
    if inside.all():
        return np.ones(inside.shape, np.float32)
    away = ndimage.distance_transform_edt(inside, sampling=spacing)
    if certainty is not None:
        away += sum(ndimage.distance_transform_edt(inside & (certainty >= sure), sampling=spacing) for sure in _SURE)
        away /= 1 + len(_SURE)
    smooth: NDArray[np.float32] = np.where(inside, ndimage.gaussian_filter(away, _SMOOTH_PX), 0).astype(np.float32)
    return smooth


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


def _passes(ids: Ids, depth: NDArray[np.float32], classes: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.float32]]:
    """Pairs of fragments of one class that are neighbours, and the depth of their deepest pair of pixels."""
    pairs, depths = [np.zeros((0, 2), np.int32)], [np.zeros(0, np.float32)]
    for axis in range(ids.ndim):
        a, b = (
            tuple(slice(i, None if i else -1) if other == axis else slice(None) for other in range(ids.ndim))
            for i in (0, 1)
        )
        meet = (ids[a] != ids[b]) & (ids[a] > 0) & (ids[b] > 0) & (classes[a] == classes[b])
        pairs.append(np.sort(np.stack([ids[a][meet], ids[b][meet]], 1), 1))
        depths.append(np.minimum(depth[a][meet], depth[b][meet]))
    together, each = np.concatenate(pairs), np.concatenate(depths)
    passes, member = np.unique(together, axis=0, return_inverse=True)
    deepest = np.zeros(len(passes), np.float32)
    np.maximum.at(deepest, member.ravel(), each)
    return passes.astype(np.int32), deepest
