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
from napari_weakseg.engine.stopping import edge_strength, watershed_objects

__all__ = ["Outline", "outline"]


@dataclass(frozen=True, slots=True)
class Outline:
    """Objects as the edges of an image give them.

    Attributes
    ----------
    objects : int32 array, (*S)
        Seed that each pixel falls to, 0 for the background.
    classes : uint8 array, (*S)
        Class ids; 0 where two classes meet: the border itself is left open.
    """

    objects: NDArray[np.int32]
    classes: NDArray[np.uint8]


def outline(
    pixels: NDArray[np.float32], knowledge: Knowledge, *, sampling: tuple[float, ...] | None = None
) -> Outline | None:
    """Flood the edges of an image from its blobs and its sure background.

    Parameters
    ----------
    pixels : float32 array, (C, *S)
    knowledge : Knowledge
        Must know of background somewhere: painted, or far from all blobs.
    sampling : tuple of float, optional
        Distance between neighbouring pixels per axis.

    Returns
    -------
    Outline or None
        None where there is no blob or no sure background.
    """
    sure = knowledge.certain == BACKGROUND
    if not knowledge.seeds.any() or not sure.any():
        return None
    objects = watershed_objects(edge_strength(pixels, sampling=sampling), knowledge.seeds, sure)
    classes = np.where(objects > 0, knowledge.seed_class[objects], np.uint8(BACKGROUND))
    meet = ndimage.minimum_filter(classes, 3) != ndimage.maximum_filter(classes, 3)
    return Outline(objects, np.where(meet, np.uint8(0), classes))
