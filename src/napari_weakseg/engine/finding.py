"""Finds the objects of a prediction, by what the network says and what a person has marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, region_of
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.fragments import Fragments
from napari_weakseg.engine.objects import fragments_of, least_told

__all__ = ["Said", "find_fragments", "least_of", "sizes_of"]

_PARTS = 4  # of an exact object, one of which a person in a hurry would have marked


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What is said about a part of an image: by a person where something is known, else by the network.

    Attributes
    ----------
    classes : uint8 array, (*S)
        Class ids.
    certainty : float array, (*S)
        Their probability.
    inwardness : float array, (*S)
        How far inside its object each pixel lies, in the eyes of the network, see `objects.fragments_of`.
    marked : int32 array, (*S)
        Objects that a person has marked, 0 = none.
    exact : bool array, (*S)
        Where the marks are exact.
    """

    classes: NDArray[np.uint8]
    certainty: NDArray[np.floating]
    inwardness: NDArray[np.floating]
    marked: NDArray[np.int32]
    exact: NDArray[np.bool_]

    @classmethod
    def about(
        cls,
        image: ProjectImage,
        frame: tuple[int, ...],
        region: Region,
        labels: NDArray[np.uint8],
        certainty: NDArray[np.floating],
        inwardness: NDArray[np.floating],
    ) -> "Said":
        """Bring a prediction of a region (along the spatial axes) and the marks there together."""
        known = image.knowledge(frame, region=region)
        told = known.certain
        return cls(
            np.where(told > 0, told, labels),
            np.where(told > 0, np.float32(1), certainty),
            inwardness,
            np.where(told > BACKGROUND, known.seeds, 0).astype(np.int32),
            known.complete,
        )


def find_fragments(
    image: ProjectImage,
    frame: tuple[int, ...],
    start: Sequence[int],
    labels: NDArray[np.uint8],
    certainty: NDArray[np.float32],
    inwardness: NDArray[np.float32],
    *,
    least_px: Mapping[int, int] | None = None,
) -> Fragments:
    """Cut a prediction into fragments of objects; where a person has said what is there, that counts.

    Parameters
    ----------
    image : ProjectImage
    frame : tuple of int
    start : sequence of int
        Where the prediction begins, along the spatial axes.
    labels : uint8 array, (*S)
        Predicted class ids.
    certainty : float32 array, (*S)
        Their probability.
    inwardness : float32 array, (*S)
        How far inside its object each pixel lies, see `objects.fragments_of`.
    least_px : mapping of int to int, optional
        Pixels that an object has at least, by class id; what the marks in the image tell where there are none.
    """
    region = region_of(start, [a + n for a, n in zip(start, labels.shape, strict=True)])
    said = Said.about(image, frame, region, labels, certainty, inwardness)
    return fragments_of(
        said.classes,
        certainty=said.certainty,
        inwardness=said.inwardness,
        marked=said.marked,
        spacing=image.spacing,
        least_px=least_px or least_told(sizes_of(said.marked, said.exact, said.classes)),
    )


def least_of(blocks: Sequence[Block]) -> dict[int, int]:
    """Tell from the marks of some blocks how many pixels an object of each marked class has at least."""
    known = [block.knowledge for block in blocks]
    return least_told([size for k in known for size in sizes_of(k.seeds, k.complete, k.seed_class[k.seeds])])


def sizes_of(marked: NDArray[np.int32], exact: NDArray[np.bool_], classes: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Class and pixels of each marked object, as if a part of it were marked only: of an exact one, a quarter."""
    pixels = np.bincount(marked.ravel())
    whole = np.bincount(marked[exact], minlength=len(pixels)) == pixels
    part = np.where(whole, -(-pixels // _PARTS), pixels)
    of_class = np.zeros(len(pixels), np.uint8)
    of_class[marked] = classes
    return [(c, n) for c, n in zip(of_class[1:].tolist(), part[1:].tolist(), strict=True) if n]
