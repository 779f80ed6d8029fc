"""Looks through a project for what is worth annotating next."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.project import Project
from napari_weakseg.engine import blocks as reading
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.memory import key_of
from napari_weakseg.engine.query_measures import Candidate, Place, measure

__all__ = ["Says", "candidates"]

Says: TypeAlias = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(C, *S) → probabilities of V views (V, K, *S) and features (F,)."""

_MOST = 128  # places that are looked at
_PIXELS = 400_000  # of a place that are measured; of larger ones every second, third, …


def candidates(
    project: Project, blocks: Sequence[Block], says: Says, seed: int, *, neighbours: int, tags_teach: bool
) -> Iterator[Candidate]:
    """Measure places of every image: those with marks and a few without, a random choice where there are many.

    Parameters
    ----------
    project : Project
    blocks : sequence of Block
        In memory already.
    says : callable
    seed : int
        Draws the places.
    neighbours : int
        Planes that are seen on either side of each.
    tags_teach : bool
        Whether training learns from a class that is said to be present.
    """
    known = {key_of(block.place): block for block in blocks}
    images = [image for image in project.images.values() if not image.missing]
    places = [(image, place) for image in images for place in reading.places(image, project.ndim)]
    for i in np.random.default_rng(seed).permutation(len(places))[:_MOST]:
        image, place = places[i]
        try:
            block = known.get(key_of(place)) or reading.read(image, place, {}, neighbours)
        except ImageError:  # training leaves it out, too, and says so
            continue
        probabilities, features = says(block.pixels)
        step = int(np.ceil((block.knowledge.allowed.size / _PIXELS) ** (1 / project.ndim)))
        every = (slice(None, None, step),) * project.ndim
        yield measure(
            probabilities[(slice(None), slice(None), *every)],
            block.knowledge.allowed[every],
            at=Place(place.image, place.frame, place.region),
            features=features,
            tags=block.tags if block.whole else None,
            tags_teach=tags_teach,
        )
