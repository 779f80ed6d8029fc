"""A first guess at the outlines of marked objects, from the edges of the image alone.

Blobs say where objects are, not where they end, and a network that has seen no border lets objects swell. Where every
object is marked, the image says much about borders before anything is learned: blobs and sure background flood the
landscape of edges and meet where an edge is strongest. The result is a claim of modest weight that the first rounds of
growth replace. Ours; it stands in for the exact masks that the recursion of Ke et al. (arXiv:2005.13053) starts from.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.stopping import edge_strength

__all__ = ["outline"]


def outline(
    pixels: NDArray[np.float32], knowledge: Knowledge, *, sampling: tuple[float, ...] | None = None
) -> NDArray[np.uint8] | None:
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
    uint8 array, (*S), or None
        Class ids, 0 within a pixel of where two floods meet (the border itself is left open); None where there is no
        blob or no sure background.
    """
    certain = knowledge.certain
    sure = certain == BACKGROUND
    if not knowledge.seeds.any() or not sure.any():
        return None
    n = len(knowledge.seed_class)
    markers = np.where(sure, n, knowledge.seeds).astype(np.int32)
    flooded = watershed(edge_strength(pixels, sampling=sampling), markers)
    classes = np.append(knowledge.seed_class, BACKGROUND)[flooded]
    low = ndimage.minimum_filter(classes, 3)
    high = ndimage.maximum_filter(classes, 3)
    return np.where(low == high, classes, 0).astype(np.uint8)
