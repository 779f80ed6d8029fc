"""Finds the objects of a prediction, by what the network says and what a person has marked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import region_of
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.objects import Fragments, fragments_of, least_px

__all__ = ["find_fragments", "least_of"]


def find_fragments(
    image: ProjectImage,
    blocks: Sequence[Block],
    frame: tuple[int, ...],
    start: Sequence[int],
    labels: NDArray[np.uint8],
    certainty: NDArray[np.float32],
) -> Fragments:
    """Cut a prediction into fragments of objects; where a person has said what is there, that counts.

    Parameters
    ----------
    image : ProjectImage
    blocks : sequence of Block
        Whose marks tell how small objects may be; those of the image itself where there are none.
    frame : tuple of int
    start : sequence of int
        Where the prediction begins, along the spatial axes.
    labels : uint8 array, (*S)
        Predicted class ids.
    certainty : float32 array, (*S)
        Their probability.
    """
    region = region_of(start, [a + n for a, n in zip(start, labels.shape, strict=True)])
    known = image.knowledge(frame, region=region)
    said = known.certain
    return fragments_of(
        np.where(said > 0, said, labels),
        certainty=np.where(said > 0, np.float32(1), certainty),
        marked=np.where(said > BACKGROUND, known.seeds, 0).astype(np.int32),
        spacing=image.spacing,
        least_px=least_of(blocks) or _least([known.seeds]),
    )


def least_of(blocks: Sequence[Block]) -> int:
    """Tell from the marks of some blocks how many pixels an object has at least."""
    return _least([block.knowledge.seeds for block in blocks])


def _least(every: Sequence[NDArray[np.int32]]) -> int:
    return least_px([int(n) for seeds in every for n in np.bincount(seeds.ravel())[1:] if n])
