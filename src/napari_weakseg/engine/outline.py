"""A first guess at the outlines of marked objects, from the edges of the image alone.

Blobs say where objects are, not where they end, and a network that has seen no border lets objects swell. Where every
object is marked, the image says much about borders before anything is learned: blobs and sure background flood the
landscape of edges and meet where an edge is strongest. The result is a claim of modest weight that the first rounds of
growth replace. Ours; it stands in for the exact masks that the recursion of Ke et al. (arXiv:2005.13053) starts from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.core.windows import largest_near, smallest_near
from napari_weakseg.engine.stopping import edge_strength, watershed_objects

__all__ = ["Outline", "outline"]

_SLOPE_PX = 8  # how far from its crest the slope of an edge is looked for
_SHARP_PX = 2.1  # to which the slope of a sharp edge reaches, smoothed as it is by `edge_strength`


@dataclass(frozen=True, slots=True)
class Outline:
    """Objects as the edges of an image give them.

    Attributes
    ----------
    objects : int32 array, (*S)
        Seed that each pixel falls to, 0 for the background.
    classes : uint8 array, (*S)
        Class ids; 0 where two classes meet: the border itself is left open.
    slopes : bool array, (*S)
        Pixels on the slopes of a blurred edge between an object and the background: people draw the border anywhere
        there, mostly outside of the crest.
    """

    objects: NDArray[np.int32]
    classes: NDArray[np.uint8]
    slopes: NDArray[np.bool_]


def outline(
    pixels: NDArray[np.float32],
    knowledge: Knowledge,
    *,
    bare: NDArray[np.bool_] | None = None,
    sampling: tuple[float, ...] | None = None,
) -> Outline | None:
    """Flood the edges of an image from its blobs and its sure background.

    Parameters
    ----------
    pixels : float32 array, (C, *S)
    knowledge : Knowledge
        Must know of background somewhere, painted or far from all blobs, unless `bare` does.
    bare : bool array, (*S), optional
        Where else background is: known by something but this knowledge.
    sampling : tuple of float, optional
        Distance between neighbouring pixels per axis.

    Returns
    -------
    Outline or None
        None where there is no blob or no sure background.
    """
    sure = knowledge.certain == BACKGROUND
    if bare is not None:
        sure |= bare & (knowledge.certain == 0) & ((knowledge.allowed & np.uint32(1 << BACKGROUND)) != 0)
    if not knowledge.seeds.any() or not sure.any():
        return None
    edges = edge_strength(pixels, sampling=sampling)
    objects = watershed_objects(edges, knowledge.seeds, sure)
    classes = np.where(objects > 0, knowledge.seed_class[objects], np.uint8(BACKGROUND))
    least = smallest_near(classes, 1)
    meet = least != largest_near(classes, 1)
    return Outline(objects, np.where(meet, np.uint8(0), classes), _slopes(edges, meet & (least == BACKGROUND)))


def _slopes(edges: NDArray[np.float32], border: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the slopes of those borders that are broader than a sharp edge would be."""
    crest = largest_near(np.where(border, edges, np.float32(0)), _SLOPE_PX)
    slope = (edges > crest / 2) & (crest > 0)
    away = ndimage.distance_transform_edt(~border)
    reaches = largest_near(np.where(slope, away, 0), 2)
    broad: NDArray[np.bool_] = slope & (reaches > _SHARP_PX)
    return broad
