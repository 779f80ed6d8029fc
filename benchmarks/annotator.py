"""A simulated annotator whose time is counted: marks for so many minutes of work, or in answer to a question.

Every mark depends on the seed, the image, its kind and its object only. More minutes give the same marks and more.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.marks import blob
from benchmarks.sets import ImageSet, Picture
from benchmarks.simulated_marks import Costs, Rough, background_stroke, drawn_box, rough_masks, scribble
from napari_weakseg.core.annotations import COVERAGE, Box, CoverageRule
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, intersection, start_of, stop_of, whole

Kind = Literal["background", "blob", "scribble", "box", "tag", "exact", "rough"]
Asked = Literal["tag", "box", "blob", "exact"]
Policy = Literal["blobs", "scribbles", "boxes", "tags", "exact", "rough", "mixed"]

#: What is done on one image after another, over and over. Somebody who mixes paints blobs in two images of five, draws
#: boxes in one, tags one and outlines everything in one.
POLICIES: dict[Policy, tuple[tuple[Kind, ...], ...]] = {
    "blobs": (("background", "blob"),),
    "scribbles": (("background", "scribble"),),
    "boxes": (("box",),),
    "tags": (("tag",),),
    "exact": (("exact",),),
    "rough": (("rough",),),
    "mixed": (("background", "blob"), ("box",), ("background", "blob"), ("tag",), ("exact",)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """Painted pixels of one class.

    Attributes
    ----------
    class_id : int
    object_id : int
        0 = no object, for the background.
    start : tuple of int
        First pixel of the block in the image.
    pixels : bool array, (*S)
        What is painted of the block.
    """

    class_id: int
    object_id: int
    start: tuple[int, ...]
    pixels: NDArray[np.bool_]

    @property
    def region(self) -> Region:
        """Where the block lies."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.pixels.shape, strict=True))


@dataclass(frozen=True, slots=True)
class Tag:
    """A class is present in an image, or absent."""

    class_id: int
    present: bool


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Something that a person said about an image, and the seconds that it took."""

    image: str
    kind: Kind
    seconds: float
    what: Painted | Box | Tag | CoverageRule


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: one kind of mark, for everything in an image or in a region of it.

    Attributes
    ----------
    image : str
    kind : {"tag", "box", "blob", "exact"}
    region : Region, optional
        Over the axes of the mask; the whole image if left out.
    """

    image: str
    kind: Asked
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures in memory, for an `Annotator`; `classes` are names, the background first."""

    classes: Sequence[str]
    pictures: Sequence[Picture]

    def names(self, split: Literal["train"]) -> list[str]:
        """Names of the pictures, all of which are there to be annotated."""
        return [picture.name for picture in self.pictures]

    def picture(self, name: str) -> Picture:
        """Picture of a name."""
        return next(picture for picture in self.pictures if picture.name == name)


@dataclass(frozen=True, slots=True)
class Annotator:
    """Somebody who knows the true masks, and marks as a person would.

    A class is looked for, each of its objects gets its mark, then the class is said to be complete: "all objects", or
    "exact" if they are. A class that is not there is said to be absent. Rough masks may be wrong, so nothing is said
    beside them; what they leave over is painted as background, roughly too.

    Attributes
    ----------
    source : ImageSet or Pictures
    costs : Costs
    seed : int
        Chooses the order of the images and makes the marks.
    jitter : float
        Each side of a box is off by up to this share of the box's extent.
    rough : Rough
        In which way rough masks are wrong.
    """

    source: ImageSet | Pictures
    costs: Costs = field(default_factory=Costs)
    seed: int = 0
    jitter: float = 0.0
    rough: Rough = field(default_factory=Rough)

    def spend(self, minutes: float, policy: Policy) -> Iterator[Mark]:
        """Annotate the training images, one after another, until the next mark would take longer than is left."""
        spent_s = 0.0
        for mark in self._work(policy):
            spent_s += mark.seconds
            if spent_s > 60 * minutes:
                return
            yield mark

    def answer(self, query: Query) -> list[Mark]:
        """Mark what is asked for, and nothing outside its region.

        Notes
        -----
        Of an object that the region cuts, the part inside is marked. "Absent" is said of a region as "exact" with
        nothing painted; "present" holds for the image even if it was found in a region.
        """
        picture = self.source.picture(query.image)
        if query.region is None:
            return list(self._marks(picture, query.kind, None))
        region = intersection(query.region, whole(picture.truth.shape))
        return [] if region is None else list(self._marks(picture, query.kind, region))

    def _work(self, policy: Policy) -> Iterator[Mark]:
        names = self.source.names("train")
        order = np.random.default_rng(self.seed).permutation(len(names))
        for i, kinds in zip(order, cycle(POLICIES[policy]), strict=False):
            picture = self.source.picture(names[i])
            for kind in kinds:
                yield from self._marks(picture, kind, None)

    def _marks(self, picture: Picture, kind: Kind, region: Region | None) -> Iterator[Mark]:
        """Everything of a kind in an image or a region."""
        view = whole(picture.truth.shape) if region is None else region
        truth, objects = picture.truth[view], picture.objects[view]
        if kind == "background":
            yield from self._background(picture, view)
            return
        class_of = {i: int(truth[at][objects[at] == i][0]) for i, at in _places(objects)}
        if kind == "rough":
            objects = rough_masks(objects, self.rough, self._rng(picture, kind))
        found = list(_places(objects))
        for class_id in range(BACKGROUND + 1, len(self.source.classes) + 1):
            own = [(i, at) for i, at in found if class_of[i] == class_id]
            for nth, (i, at) in enumerate(own if kind != "tag" else ()):
                place = tuple(slice(s.start + v.start, s.stop + v.start) for s, v in zip(at, view, strict=True))
                rng = self._rng(picture, kind, i)
                if kind == "box":
                    box = drawn_box(place, view, rng, jitter=self.jitter)
                    yield Mark(picture.name, kind, self.costs.box(truth.ndim), Box(class_id, *_corners(box)))
                else:
                    pixels = _pixels(kind, objects[at] == i, rng)
                    what = Painted(class_id, i, start_of(place), pixels)
                    yield Mark(picture.name, kind, self._seconds(kind, pixels, first=nth == 0), what)
            if kind != "rough":
                statement = _statement(kind, class_id, region, present=bool(own))
                yield Mark(picture.name, kind, self.costs.class_s, statement)
        if kind == "exact":
            rest = _statement(kind, BACKGROUND, region, present=True)
            yield Mark(picture.name, kind, self.costs.class_s, rest)
        elif kind == "rough":
            filled = Painted(BACKGROUND, 0, start_of(view), objects == 0)
            yield Mark(picture.name, kind, self.costs.class_s, filled)

    def _background(self, picture: Picture, view: Region) -> Iterator[Mark]:
        """One stroke, if there is any background."""
        drawn = background_stroke(picture.truth[view] == BACKGROUND, self._rng(picture, "background"))
        if drawn.any():
            what = Painted(BACKGROUND, 0, start_of(view), drawn)
            yield Mark(picture.name, "background", self.costs.stroke(drawn, first=True), what)

    def _seconds(self, kind: Kind, pixels: NDArray[np.bool_], *, first: bool) -> float:
        """Seconds to paint an object."""
        if kind == "exact":
            return self.costs.outline(pixels)
        if kind == "rough":
            box = self.rough.how == "box"
            return self.costs.box(pixels.ndim) if box else self.costs.rough_share * self.costs.outline(pixels)
        return self.costs.stroke(pixels, first=first)

    def _rng(self, picture: Picture, kind: Kind, object_id: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(f"{picture.name}/{kind}/{object_id}".encode())])


def _places(objects: NDArray[np.int32]) -> Iterator[tuple[int, Region]]:
    """Id of each object and the smallest region around it."""
    return ((i, place) for i, place in enumerate(ndimage.find_objects(objects), 1) if place is not None)


def _pixels(kind: Kind, mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    if kind == "blob":
        return blob(mask, rng)
    return scribble(mask, rng) if kind == "scribble" else mask


def _statement(kind: Kind, class_id: int, region: Region | None, *, present: bool) -> Tag | CoverageRule:
    """What is said about a class when everything has its mark."""
    corners = (None, None) if region is None else _corners(region)
    if kind == "exact" or (not present and region is not None):
        return CoverageRule(class_id, "exact", *corners)
    if kind == "tag" or not present:
        return Tag(class_id, present)
    return CoverageRule(class_id, "all objects", *corners)


def _corners(region: Region) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return start_of(region), stop_of(region)


def apply(marks: Iterable[Mark], image: ProjectImage) -> None:
    """Write the marks of an image into its project, over what is there; marks of other images are left out.

    Paint that comes later covers earlier paint. Rough masks are painted as such, apart from what is sure. Of two
    coverages of one place the stronger stays, also if it was there before.
    """
    mine = [mark for mark in marks if mark.image == image.name]
    said = [mark.what for mark in mine]
    for rough in (False, True):
        _paint([mark.what for mark in mine if (mark.kind == "rough") == rough], image, rough=rough)
    for what in said:
        if isinstance(what, Box) and what not in image.annotations.boxes:
            image.add_box(what.class_id, what.start, what.stop)
        elif isinstance(what, Tag):
            image.tag(what.class_id, what.present)
    rules = [*image.annotations.rules, *(what for what in said if isinstance(what, CoverageRule))]
    for rule in sorted(rules, key=lambda rule: COVERAGE.index(rule.kind)):
        image.coverage(rule.class_id, rule.kind, rule.start, rule.stop)


def _paint(said: Iterable[Painted | Box | Tag | CoverageRule], image: ProjectImage, *, rough: bool) -> None:
    """Paint what was painted, as sure or as rough; rough paint knows no objects."""
    painted = [what for what in said if isinstance(what, Painted)]
    if not painted:
        return
    before = image.annotations
    stored = before.claims.get("rough") if rough else before.labels
    labels = np.zeros(image.label_shape, np.uint8) if stored is None else np.array(stored[...])
    objects = np.array(before.objects[...])
    for what in painted:
        labels[what.region][what.pixels] = what.class_id
        objects[what.region][what.pixels] = what.object_id
    image.paint(labels, trust="rough" if rough else "sure")
    for class_id in () if rough else np.unique(labels[objects > 0]):
        image.paint_objects(int(class_id), objects * (labels == class_id))
