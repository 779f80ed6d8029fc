"""The pieces of images that training works on.

A frame that fits is one block. A larger one is cut into a grid, of which only the blocks that hold marks, and a few
random ones without, are ever read: memory and time do not depend on the size of the image.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.knowledge import INTERFACE_UNKNOWN, Knowledge
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, intersection, region_of, shape_of, whole
from napari_weakseg.engine.growth import GrowthState
from napari_weakseg.engine.inwardness import inwardness_target, whole_objects
from napari_weakseg.engine.outline import Outline, outline
from napari_weakseg.engine.planes import seen
from napari_weakseg.engine.rough import Rough, rough_of
from napari_weakseg.engine.targets import blob_thickness

__all__ = [
    "Block",
    "Place",
    "areas_told",
    "by_class",
    "never_shown",
    "places",
    "read",
    "settle_growth",
    "start_claims",
    "update",
]

_WHOLE_PX = {2: 1536, 3: 160}  # a frame up to this size along every axis is one block
_CELL_PX = {2: 1024, 3: 96}
_UNLABELLED_CELLS = 4  # of an image, and of each frame with a tag
_MOSTLY, _BLOCKS_WORTH = 0.5, 2  # of the covered pixels so large a part has to follow, or so many blocks' worth
_ANY = -1  # frames without a tag of their own


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block lies.

    Attributes
    ----------
    image : str
    frame : tuple of int
    region : Region
        Along the spatial axes.
    marked : bool
        Whether a mark of any kind touches it.
    """

    image: str
    frame: tuple[int, ...]
    region: Region
    marked: bool

    @property
    def label_region(self) -> Region:
        """The same along the label axes of the image, its frame included."""
        return tuple(slice(i, i + 1) for i in self.frame) + self.region


@dataclass(slots=True, eq=False)
class Block:
    """A piece of an image in memory, with what is known about it and what is claimed.

    Attributes
    ----------
    place : Place
    pixels : float32 array, (C, *S)
        Normalised; neighbouring planes that are seen as well come last.
    knowledge : Knowledge
    interfaces : uint8 array, (*S)
        1 between two objects, 0 certainly not, 255 unknown.
    held_out : bool array, (*S)
        Marks that judge the network and are never learned from.
    growth : GrowthState or None
        None where there is no blob to grow.
    boxes : list of (class id, start, stop)
        In pixels of the block; may reach beyond it.
    tags : mapping of int to bool
        Of the frame: class id → present or absent.
    whole : bool
        Whether the block is all of its frame, so that the tags hold for it.
    annotated : set of int
        Class ids that are annotated exactly in the whole block.
    covered : bool
        Whether all objects of some class are said to be marked in it, or in a part of it.
    rough : Rough or None
        Masks of a person that may be wrong.
    claim, claim_weight : uint8 array, (*S)
        Claimed class id (0 = none) and trust in 1/255: grown pixels and background inferred with them.
    guess, guess_weight : uint8 array, (*S), or None
        The same of what the early forest says, for where nothing else is claimed.
    bare : bool array, (*S), or None
        What the early forest is sure is background: outlines are flooded from it as well. None where it has not looked.
    approximation : uint8 array, (*S)
        Target of the approximation head.
    revision : int
        Of the annotations that the knowledge was made from.
    spacing : tuple of float, optional
        Distance of neighbouring pixels along each axis, in pixels along X; None where it is even.
    neighbours : int
        Planes on either side that `pixels` holds beside its own.
    new_draws : int
        How often the block is still to be drawn with preference, because its marks are new.
    exact : bool
        Whether every class is annotated exactly in most of the block. Made by `refresh`, as what follows.
    shown : bool
        Whether a person painted in it or said that what is painted is all, held-out pixels aside.
    follows, open : int
        How many of the pixels that nobody painted or annotated exactly are of a class that follows from the coverage,
        and how many there are; both 0 where nothing is covered.
    narrowed : bool
        Whether of some pixels it is known only which classes they are not.
    allowed : int32 array, (*S)
        Bit sets that training may know: held-out pixels are unknown.
    marked_at : mapping of int to int64 array
        Flat indices of the pixels that training was shown to be of a class; patches are placed on them. What merely
        follows from the coverage is left out (it is learned from all the same): there is so much background among it
        that objects would be drawn too seldom. Only where nothing was shown it counts, and so does what boxes claim;
        of classes that are not painted in the block the latter always does.
    held_at : mapping of int to int64 array
        Flat indices of the held-out pixels that are certainly of a class.
    """

    place: Place
    pixels: NDArray[np.float32]
    knowledge: Knowledge
    interfaces: NDArray[np.uint8]
    held_out: NDArray[np.bool_]
    claim: NDArray[np.uint8]
    claim_weight: NDArray[np.uint8]
    approximation: NDArray[np.uint8]
    revision: int
    spacing: tuple[float, ...] | None = None
    growth: GrowthState | None = None
    boxes: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    tags: dict[int, bool] = field(default_factory=dict)
    whole: bool = False
    annotated: set[int] = field(default_factory=set)
    covered: bool = False
    rough: Rough | None = None
    guess: NDArray[np.uint8] | None = None
    guess_weight: NDArray[np.uint8] | None = None
    bare: NDArray[np.bool_] | None = None
    neighbours: int = 0
    new_draws: int = 0
    exact: bool = False
    shown: bool = False
    follows: int = 0
    open: int = 0
    narrowed: bool = False
    allowed: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    marked_at: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    held_at: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    _inward: NDArray[np.uint8] | None = None
    _outlined: tuple[Knowledge, NDArray[np.bool_] | None, Outline | None] | None = None
    _measured: tuple[Knowledge, dict[int, list[tuple[float, float]]]] | None = None

    @property
    def inwardness(self) -> NDArray[np.uint8]:
        """Target of the head that tells objects apart, uint8 (*S); made once after each `refresh`."""
        if self._inward is None:
            ids, known = whole_objects(self.knowledge, self.growth, self.claim, self.held_out)
            self._inward = inwardness_target(ids, known, sampling=self.spacing)
        return self._inward

    @property
    def outline(self) -> Outline | None:
        """Outlines of the marked objects by the edges of the image; made once for what is known now."""
        known, bare = self.knowledge, self.bare
        if self._outlined is None or self._outlined[0] is not known or self._outlined[1] is not bare:
            self._outlined = known, bare, outline(self.plane, known, bare=bare, sampling=self.spacing)
        return self._outlined[2]

    @property
    def thickness(self) -> dict[int, list[tuple[float, float]]]:
        """Thickness and slenderness of the blobs or exact objects of each class; measured once for what is known."""
        if self._measured is None or self._measured[0] is not self.knowledge:
            known = self.knowledge
            self._measured = known, blob_thickness(known.seeds, known.seed_class)
        return self._measured[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """*S."""
        return self.knowledge.shape

    @property
    def plane(self) -> NDArray[np.float32]:
        """Its pixels without those of neighbouring planes, (C, *S)."""
        return self.pixels[: len(self.pixels) // (2 * self.neighbours + 1)]

    @property
    def hinted(self) -> bool:
        """Whether something is said that shows no certain pixel: a box, a tag, a mask that may be wrong."""
        return bool(self.boxes or self.rough is not None) or self.only_tagged

    @property
    def only_tagged(self) -> bool:
        """Whether a class is said to be in it, and no box or mask says where."""
        return not self.boxes and self.rough is None and self.whole and any(self.tags.values())

    @property
    def hints(self) -> tuple[object, ...]:
        """What is said beside certain pixels, to be compared."""
        return self.boxes, self.tags, () if self.rough is None else self.rough.keys

    def claimed(self, at: Region) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Class ids that are claimed of some pixels, guesses included, and trust in them in 1/255."""
        claim, weight = self.claim[at], self.claim_weight[at]
        if self.guess is None or self.guess_weight is None:
            return claim, weight
        return np.where(claim > 0, claim, self.guess[at]), np.where(claim > 0, weight, self.guess_weight[at])

    def refresh(self) -> None:
        """Index the pixels that training knows, by class, and drop claims that a person has overruled."""
        self._inward = None
        certain, shown = self.knowledge.certain, self.knowledge.painted | self.knowledge.complete
        self.exact = bool(self.knowledge.complete.mean() > 0.5)
        open_ = self.covered & ~shown
        self.follows, self.open = int(((certain > 0) & open_).sum()), int(open_.sum())
        self.narrowed = bool((self.knowledge.known & (certain == 0)).any())
        known = np.where(self.held_out, np.uint32(self.knowledge.full), self.knowledge.allowed)
        self.allowed = known.view(np.int32)
        self._drop_overruled()
        self.held_at = by_class(np.where(self.held_out, certain, 0)) if self.held_out.any() else {}
        shown &= ~self.held_out
        self.shown = bool(shown.any())
        certain = np.where(shown if self.shown else ~self.held_out, certain, 0)
        if self.boxes:
            claimed = self.claim
            if self.shown:  # only what no paint shows: of the rest paint tells more
                unpainted = {class_id for class_id, *_ in self.boxes} - set(np.unique(certain).tolist())
                claimed = np.where(np.isin(claimed, list(unpainted)), claimed, np.uint8(0))
            certain = np.where(certain == 0, claimed, certain)
        self.marked_at = by_class(certain)

    def _drop_overruled(self) -> None:
        if not self.claim.any():
            return
        bit = np.left_shift(np.uint32(1), self.claim.astype(np.uint32))
        overruled = (self.claim > 0) & ((self.knowledge.allowed & bit) == 0)
        self.claim[overruled] = 0
        self.claim_weight[overruled] = 0


def by_class(labels: NDArray[np.integer]) -> dict[int, NDArray[np.int64]]:
    """Flat indices of the pixels of each class id; 0 is left out."""
    present = np.flatnonzero(np.bincount(labels.ravel()))
    return {int(c): np.flatnonzero(labels == c) for c in present if c}


def areas_told(blocks: Iterable[Block]) -> bool:
    """Whether areas are known as well as places: where all objects are marked, much of the rest is surely none.

    Where marked objects lie close together, or reach far, only what is farthest from them is known. A few images of
    which little is known tell nothing of the areas in others: most of them has to be, or as much as two whole ones.
    What exact parts and absent tags tell is left out: it says nothing where only strokes are painted.
    """
    covered = [block for block in blocks if block.open]
    follows, open_ = sum(block.follows for block in covered), sum(block.open for block in covered)
    return bool(covered) and follows > open_ * min(_MOSTLY, _BLOCKS_WORTH / len(covered))


def never_shown(blocks: Iterable[Block]) -> set[int]:
    """Class ids that nothing shows: that some pixels are of them follows from tags or coverage alone."""
    known: dict[bool, set[int]] = {True: set(), False: set()}
    for block in blocks:
        known[block.shown or bool(block.boxes)].update(block.marked_at)
    return known[False] - known[True]


def places(image: ProjectImage, ndim: int) -> Iterator[Place]:
    """List the blocks of an image that are worth reading: those with marks, then a few without.

    Which ones without is random, but always the same for an image as long as they stay without marks. Of a frame with
    a tag of its own some count as marked.
    """
    annotations = image.annotations
    frames, cells = image.frames(), list(_grid(image.label_shape[-ndim:], ndim))
    number = {frame: i for i, frame in enumerate(frames)}
    marked: set[int] = set()
    for frame, parts in _marks_by_frame(image, ndim).items():
        for i, cell in enumerate(cells):
            if any(intersection(cell, part) is not None for part in parts):
                marked.add(number[frame] * len(cells) + i)
                yield Place(image.name, frame, cell, marked=True)
    absent = any(present is False for present in annotations.tags.values())
    rng = np.random.default_rng(zlib.crc32(image.name.encode()))
    tagged = {number[frame] for frame in annotations.frame_tags if frame in number}
    wanted = dict.fromkeys((_ANY, *tagged), _UNLABELLED_CELLS)
    for i in rng.permutation(len(frames) * len(cells)):
        frame_number, cell_number = divmod(int(i), len(cells))
        group = frame_number if frame_number in tagged else _ANY
        if int(i) not in marked and wanted[group]:
            wanted[group] -= 1
            yield Place(image.name, frames[frame_number], cells[cell_number], marked=absent or group != _ANY)
            if not any(wanted.values()):
                return


def read(image: ProjectImage, place: Place, reach_px: dict[int, float], neighbours: int) -> Block:
    """Read a block, neighbouring planes on either side of it, and what is known about it."""
    pixels = seen(image.source, place.label_region, neighbours)
    pixels = pixels.reshape(len(pixels), *shape_of(place.region))
    revision = image.revision
    knowledge = image.knowledge(place.frame, region=place.region, reach_px=reach_px)
    shape = knowledge.shape
    block = Block(
        place,
        pixels,
        knowledge,
        interfaces_of(knowledge),
        np.zeros(shape, bool),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        revision,
        image.spacing,
        neighbours=neighbours,
    )
    _take_hints(block, image)
    start_claims(block)
    block.refresh()
    return block


def update(block: Block, image: ProjectImage, reach_px: dict[int, float]) -> None:
    """Take in changed annotations, classes or reach."""
    revision = image.revision  # read once: somebody may paint meanwhile
    before = block.knowledge if block.revision == revision else None
    block.revision = revision
    block.knowledge = image.knowledge(block.place.frame, region=block.place.region, reach_px=reach_px, before=before)
    if before is None or not np.array_equal(before.complete, block.knowledge.complete):
        block.interfaces = interfaces_of(block.knowledge)
    if before is None:  # the forest may see it in another way now
        block.bare = None
    boxes = block.boxes
    _take_hints(block, image)
    block.held_out &= block.knowledge.painted | block.knowledge.complete
    settle_growth(block)
    if block.boxes != boxes and not block.exact:
        start_claims(block)
    block.refresh()


def start_claims(block: Block) -> None:
    """Let growth and claims begin anew: other boxes bound the blobs, or show what has none."""
    seeds, seed_class = block.knowledge.seeds, block.knowledge.seed_class
    block.growth = GrowthState.start(seeds, seed_class) if seeds.any() else None
    block.claim, block.claim_weight = np.zeros(block.shape, np.uint8), np.zeros(block.shape, np.uint8)
    block.approximation = seed_class[seeds]


def settle_growth(block: Block) -> None:
    """Let growth go on from where it was with the blobs as they are now; those that changed get all their rounds."""
    before, knowledge = block.growth, block.knowledge
    if before is not None:
        block.growth = before.reseeded(knowledge.seeds, knowledge.seed_class, knowledge.allowed)
        _settle_claims(block, before, block.growth)
    elif knowledge.seeds.any():  # the first blobs; what boxes claimed is claimed anew where it still holds
        start_claims(block)


def _settle_claims(block: Block, before: GrowthState, after: GrowthState) -> None:
    """Drop the claims of objects that are gone, and claims of background where objects are now."""
    if np.array_equal(before.ids, after.ids):
        return
    held = after.seed_class[after.ids]
    of_objects = np.zeros(256, bool)
    of_objects[before.seed_class] = of_objects[after.seed_class] = True
    gone = (block.claim != held) & ((held > 0) | of_objects[block.claim])
    if np.array_equal(before.seeds, after.seeds):  # a correction: the claims of other objects stay
        gone &= before.ids != after.ids
    block.claim[gone] = 0
    block.claim_weight[gone] = 0
    block.approximation = held


def interfaces_of(knowledge: Knowledge) -> NDArray[np.uint8]:
    """Targets of the separation head; all unknown where fewer than two objects are marked."""
    if len(knowledge.seed_class) < 3:
        return np.full(knowledge.shape, INTERFACE_UNKNOWN, np.uint8)
    return knowledge.interfaces()


def _marks_by_frame(image: ProjectImage, ndim: int) -> dict[tuple[int, ...], list[Region]]:
    """Spatial regions that hold marks, frame by frame."""
    annotations = image.annotations
    marks = [*annotations.painted_region(), *annotations.claimed_region(), *(box.region for box in annotations.boxes)]
    marks += [rule.region(image.label_shape) for rule in annotations.rules if rule.kind == "exact"]
    found: dict[tuple[int, ...], list[Region]] = {}
    for mark in marks:
        for frame in product(*(range(s.start, s.stop) for s in mark[:-ndim])):
            found.setdefault(frame, []).append(mark[-ndim:])
    return dict(sorted(found.items()))


def _take_hints(block: Block, image: ProjectImage) -> None:
    annotations = image.annotations
    block.boxes = _boxes_in(image, block.place)
    block.tags = annotations.tags_of(block.place.frame)
    block.whole = block.shape == image.label_shape[-len(block.shape) :]
    classes = range(1, block.knowledge.full.bit_length())
    coverage = {c: annotations.coverage_of(c, block.place.label_region) for c in classes}
    block.annotated = {c for c, kind in coverage.items() if kind == "exact"}
    block.covered = any(kind != "some" for kind in coverage.values())
    before, block.rough = block.rough, rough_of(annotations, block.place)
    if block.rough is not None:
        block.rough.keep_places(before)


def _boxes_in(image: ProjectImage, place: Place) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    ndim = len(place.region)
    origin = [s.start for s in place.region]
    found = []
    for box in image.annotations.boxes:
        frames = zip(box.start[:-ndim], place.frame, box.stop[:-ndim], strict=True)
        if all(a <= i < b for a, i, b in frames):
            corners = [
                tuple(x - o for x, o in zip(corner[-ndim:], origin, strict=True)) for corner in (box.start, box.stop)
            ]
            if intersection(region_of(*corners), whole(shape_of(place.region))) is not None:
                found.append((box.class_id, corners[0], corners[1]))
    return found


def _grid(shape: tuple[int, ...], ndim: int) -> Iterator[Region]:
    if all(size <= _WHOLE_PX[ndim] for size in shape):
        yield tuple(slice(0, size) for size in shape)
        return
    cell = _CELL_PX[ndim]
    counts = [max(1, round(size / cell)) for size in shape]
    for index in np.ndindex(*counts):
        yield tuple(slice(size * i // n, size * (i + 1) // n) for i, n, size in zip(index, counts, shape, strict=True))
