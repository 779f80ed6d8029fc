"""Blocks in memory: read little by little, kept in step with the annotations."""

from collections import deque
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, intersection
from napari_weakseg.engine import blocks as reading
from napari_weakseg.engine.blocks import Block, Place
from napari_weakseg.engine.evaluate import hold_out, hold_out_new
from napari_weakseg.engine.memory import BlockMemory, Key, key_of, recalled, remembered
from napari_weakseg.engine.targets import (
    ENOUGH_BLOBS,
    IGNORE,
    approximation_fraction,
    estimate_reach,
    largest_radius,
    shrink_objects,
)

__all__ = ["BlockStore"]

_Seen: TypeAlias = tuple[object, Mapping[tuple[int, ...], Mapping[int, bool]], Region | None]
"""Marks that count anywhere in an image, tags of its frames, the newest painted region."""

_MAX_VALUES = 400_000_000  # float32 pixel values kept in memory
_MAX_BARE = 64  # blocks without marks that are read
_REACH_CHANGE = 0.2  # a new estimate of the reach counts from this relative change on
_AT_ONCE = 8  # newly marked blocks read before the next step; more of them wait


class BlockStore:
    """The blocks of a project that training works on.

    Exact blocks are read first, then other marked ones in random order, then a few without marks. Reading goes on
    while training runs (`read_one`), so that the first prediction does not wait for hundreds of images.

    Parameters
    ----------
    project : Project
    rng : numpy Generator
    neighbours : int
        Planes on either side of a block that are read with it.
    """

    def __init__(self, project: Project, rng: np.random.Generator, *, neighbours: int = 0) -> None:
        self._project, self._neighbours = project, neighbours
        self._rng = rng
        self.blocks: list[Block] = []
        self.notes: list[str] = []
        self.left_out: list[str] = []  # marked images that cannot be read
        self._waiting: deque[Place] = deque()
        self._reach: dict[int, float] = {}
        self._told_reach: set[int] = set()  # classes with blobs enough to tell it
        self._values = 0
        self._position: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._saved: dict[Key, BlockMemory] = {}
        self._untold: list[Block] = []  # took in other boxes, tags or masks before anybody asked what changed

    @property
    def complete(self) -> bool:
        """Whether everything has been read."""
        return not self._waiting

    def scan(self) -> Iterator[str]:
        """List what there is to read; yields the name of each image."""
        exact: list[Place] = []
        marked: list[Place] = []
        bare: list[Place] = []
        for name, image in list(self._project.images.items()):
            yield name
            self._position[name] = len(self._position)
            if image.missing:
                self.notes.append(f"“{name}” is left out: its file is missing.")
                if image.annotations.painted_region() or image.annotations.boxes:
                    self.left_out.append(name)
                continue
            is_exact = any(rule.kind == "exact" for rule in image.annotations.rules)
            self._regions_changed(image)
            for place in reading.places(image, self._project.ndim):
                (exact if place.marked and is_exact else marked if place.marked else bare).append(place)
        for group in (exact, marked, bare):
            order = self._rng.permutation(len(group))[: _MAX_BARE if group is bare else None]
            self._waiting.extend(group[i] for i in order)

    def read_one(self) -> Block | None:
        """Read the next block; None where nothing is left or memory is full."""
        while self._waiting:
            if self._values > _MAX_VALUES:
                self._waiting.clear()
                self.notes.append("Not all marked regions fit into memory; the rest is left out.")
                return None
            block = self._add(self._waiting.popleft())
            if block is not None:
                return block
        return None

    def changed(self, name: str) -> list[Block]:
        """Take in the annotations of an image anew; returns the blocks whose marks changed."""
        image = self._project.images.get(name)
        if image is None or image.missing:
            self._forget(name)
            return []
        regions = self._regions_changed(image)
        touched = [block for block in self.blocks if block.place.image == name and _touches(block, regions)]
        before = [(block.knowledge, block.hints) for block in touched]
        for block in touched:
            self._update(block)
        untold = self._untold
        self._untold = [block for block in untold if block.place.image != name]
        changed = [
            (block, known)
            for block, (known, hints) in zip(touched, before, strict=True)
            if hints != block.hints
            or block in untold
            or not np.array_equal(known.allowed, block.knowledge.allowed)
            or not np.array_equal(known.seeds, block.knowledge.seeds)
        ]
        counts = self.marks_by_class()
        for block, known in changed:
            hold_out_new(block, self._number_of(block.place), counts, known.painted)
        touched = [block for block, _ in changed]
        touched += self._read_new(image)
        self._extend_reach(touched)
        return touched

    def _read_new(self, image: ProjectImage) -> list[Block]:
        """Read blocks that hold marks for the first time."""
        known = {key_of(block.place) for block in self.blocks} | {key_of(p) for p in self._waiting if p.marked}
        new = [p for p in reading.places(image, self._project.ndim) if p.marked and key_of(p) not in known]
        if new:
            keys = {key_of(place) for place in new}
            waiting = [place for place in self._waiting if key_of(place) not in keys]
            self._waiting = deque(new[_AT_ONCE:] + waiting)
        return [block for place in new[:_AT_ONCE] if (block := self._add(place)) is not None]

    def _regions_changed(self, image: ProjectImage) -> list[Region] | None:
        """Where an image was painted, or a frame tagged, since the last call; None = anywhere."""
        annotations, recent = image.annotations, image.recent
        marks = (annotations.boxes, dict(annotations.tags), annotations.rules, image.claims_revision)
        tags = annotations.frame_tags
        seen, tags_seen, newest = self._seen.get(image.name, (None, tags, None))
        self._seen[image.name] = (marks, tags, recent[0] if recent else None)
        if marks != seen:
            return None
        tagged = [image.frame_region(f) for f in {*tags, *tags_seen} if tags.get(f) != tags_seen.get(f)]
        for i, region in enumerate(recent):
            if region is newest:
                return tagged + [self._concerned(image, region) for region in recent[:i]]
        return None if recent else tagged

    def _concerned(self, image: ProjectImage, painted: Region) -> Region:
        """Where paint may matter: where every object is marked, in the whole frame."""
        if not any(rule.kind == "all objects" for rule in image.annotations.rules):
            return painted
        ndim = self._project.ndim
        return painted[:-ndim] + tuple(slice(0, size) for size in image.label_shape[-ndim:])

    def _extend_reach(self, touched: list[Block]) -> None:
        """Find out how far objects reach once a class has blobs enough to tell."""
        vague = {int(c) for block in touched for c in block.knowledge.seed_class[1:]} - self._told_reach
        if not any(self._counts_all(block) for block in touched) or not vague:
            return
        reach = {**self._reach, **{c: r for c, r in self._estimated_reach().items() if c in vague}}
        if _differs(reach, self._reach):
            self._reach = reach
            self._apply_reach()

    def _apply_reach(self) -> None:
        for block in self.blocks:
            if self._reach and not block.exact and self._counts_all(block):
                self._update(block)

    def _update(self, block: Block) -> None:
        hints = block.hints
        reading.update(block, self._project.images[block.place.image], self._reach)
        if hints != block.hints:
            self._untold.append(block)

    def _counts_all(self, block: Block) -> bool:
        """Whether every object of some class is marked in the image of a block."""
        image = self._project.images.get(block.place.image)
        return image is not None and any(rule.kind == "all objects" for rule in image.annotations.rules)

    def _forget(self, name: str) -> None:
        self.blocks = [block for block in self.blocks if block.place.image != name]
        self._waiting = deque(place for place in self._waiting if place.image != name)
        self._values = sum(block.pixels.size for block in self.blocks)
        self._seen.pop(name, None)

    def settle(self, *, learned: bool = False) -> None:
        """Decide from all blocks read so far how far objects reach and which marks are held out.

        `learned`: they were learned from, so that each block keeps what was held out of it when it was read.
        """
        reach = self._estimated_reach()
        if _differs(reach, self._reach):
            self._reach = reach
            self._apply_reach()
        counts = self.marks_by_class()
        for block in self.blocks if not learned else ():
            hold_out(block, self._number_of(block.place), counts)
        self._shrink_exact()

    def _shrink_exact(self) -> None:
        """Teach the approximation head on exact objects what the partial masks are like: their inner part."""
        rough, exact = (
            [
                area
                for block in self.blocks
                if block.exact == kind
                for area in np.bincount(block.knowledge.seeds.ravel())[1:]
                if area
            ]
            for kind in (False, True)
        )
        fraction = approximation_fraction(rough, exact)
        for block in self.blocks:
            if block.exact:
                inner = shrink_objects(block.knowledge.seeds, fraction, sampling=block.spacing)
                block.approximation = block.knowledge.seed_class[inner]
                block.approximation[block.held_out] = IGNORE

    def classes_changed(self) -> None:
        """Take in another number of classes."""
        for block in self.blocks:
            if block.place.image in self._project.images:
                self._update(block)

    def marks_by_class(self) -> list[int]:
        """Blobs of each class id."""
        counts = np.zeros(len(self._project.classes) + 1, np.int64)
        for block in self.blocks:
            counts += np.bincount(block.knowledge.seed_class, minlength=len(counts))
        return [int(n) for n in counts]

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what the annotations do not tell: the order of the blocks, what has grown, what is held out."""
        tensors, records = remembered(self.blocks)
        return tensors, {"records": records, "reach": sorted(self._reach.items())}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> list[Block]:
        """Take back what `save` gave; a block that is not read yet gets its share when it is.

        Returns
        -------
        list of Block
            Those that are new, or marked otherwise than then.
        """
        reach = {int(class_id): float(value) for class_id, value in state["reach"]}
        if reach != self._reach:
            self._reach = reach
            self._apply_reach()
        self._saved = recalled(tensors, state["records"])
        number = {key: i for i, key in enumerate(self._saved)}

        def place_of(place: Place) -> int:
            return number.get(key_of(place), len(number))

        self.blocks.sort(key=lambda block: place_of(block.place))
        self._waiting = deque(sorted(self._waiting, key=place_of))
        changed = []
        for block in self.blocks:
            saved = self._saved.pop(key_of(block.place), None)
            if saved is None or saved.give_to(block):
                changed.append(block)
        return changed

    def find(self, name: str, frame: tuple[int, ...]) -> list[Block]:
        """Blocks of a frame."""
        return [b for b in self.blocks if b.place.image == name and b.place.frame == frame]

    def conflicts(self) -> dict[str, int]:
        """Count contradictory pixels of each image."""
        found: dict[str, int] = {}
        for block in self.blocks:
            n = int(block.knowledge.conflicts.sum())
            found[block.place.image] = found.get(block.place.image, 0) + n
        return {name: n for name, n in found.items() if n}

    def _add(self, place: Place) -> Block | None:
        """Read a block; None where its image is gone or cannot be read."""
        image = self._project.images.get(place.image)
        if image is None or image.missing:
            return None
        try:
            block = reading.read(image, place, self._reach, self._neighbours)
        except ImageError as error:
            self.notes.append(str(error))
            if place.marked and place.image not in self.left_out:
                self.left_out.append(place.image)
            return None
        if (saved := self._saved.pop(key_of(place), None)) is not None:
            saved.give_to(block)
        else:
            hold_out(block, self._number_of(place), self.marks_by_class())
        self._values += block.pixels.size
        self.blocks.append(block)
        return block

    def _estimated_reach(self) -> dict[int, float]:
        """Reach of each class whose blobs, exact objects or both tell it."""
        radius: dict[int, float] = {}
        volumes: dict[int, list[float]] = {}
        for block in self.blocks:
            seeds, seed_class = block.knowledge.seeds, block.knowledge.seed_class
            if block.exact:
                for c, r in largest_radius(seeds, seed_class, sampling=block.spacing).items():
                    radius[c] = max(radius.get(c, 0.0), r)
            else:
                of_pixel = prod(block.spacing or ())
                for c, n in zip(seed_class[1:], np.bincount(seeds.ravel(), minlength=len(seed_class))[1:], strict=True):
                    volumes.setdefault(int(c), []).append(float(n) * of_pixel)
        self._told_reach = {class_id for class_id, sizes in volumes.items() if len(sizes) >= ENOUGH_BLOBS}
        return estimate_reach(volumes, self._project.ndim, exact_radius=radius)

    def _number_of(self, place: Place) -> int:
        """Give a number by nothing but where the place is, neighbours one apart."""
        cell: int = sum(round(s.start / (s.stop - s.start)) for s in place.region)
        return self._position.setdefault(place.image, len(self._position)) + sum(place.frame) + cell


def _differs(reach: Mapping[int, float], before: Mapping[int, float]) -> bool:
    """Whether an estimate is worth building the knowledge of every block again."""
    return reach.keys() != before.keys() or any(
        abs(r - before[c]) > _REACH_CHANGE * before[c] for c, r in reach.items()
    )


def _touches(block: Block, regions: list[Region] | None) -> bool:
    if regions is None:
        return True
    return any(intersection(block.place.label_region, region) is not None for region in regions)
