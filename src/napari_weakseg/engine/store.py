"""Blocks in memory: read little by little, kept in step with the annotations."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.project import Project
from napari_weakseg.engine import blocks as reading
from napari_weakseg.engine.blocks import Block, Place
from napari_weakseg.engine.evaluate import hold_out
from napari_weakseg.engine.targets import estimate_reach, largest_radius

__all__ = ["BlockStore"]

_MAX_VALUES = 400_000_000  # float32 pixel values kept in memory


class BlockStore:
    """The blocks of a project that training works on.

    Exact blocks are read first, then other marked ones in random order, then a few without marks. Reading goes on
    while training runs (`read_one`), so that the first prediction does not wait for hundreds of images.

    Parameters
    ----------
    project : Project
    rng : numpy Generator
    """

    def __init__(self, project: Project, rng: np.random.Generator) -> None:
        self._project = project
        self._rng = rng
        self.blocks: list[Block] = []
        self.notes: list[str] = []
        self._waiting: deque[Place] = deque()
        self._reach: dict[int, float] = {}
        self._values = 0
        self._number: dict[tuple[str, tuple[int, ...], tuple[int, ...]], int] = {}

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
            if image.missing:
                self.notes.append(f"“{name}” is left out: its file is missing.")
                continue
            is_exact = any(rule.kind == "exact" for rule in image.annotations.rules)
            for place in reading.places(image, self._project.ndim, self._rng):
                self._number_of(place)
                (exact if place.marked and is_exact else marked if place.marked else bare).append(place)
        for group in (exact, marked, bare):
            self._waiting.extend(group[i] for i in self._rng.permutation(len(group)))

    def read_one(self) -> Block | None:
        """Read the next block; None where nothing is left or memory is full."""
        while self._waiting:
            place = self._waiting.popleft()
            if self._values > _MAX_VALUES:
                self._waiting.clear()
                self.notes.append("Not all marked regions fit into memory; the rest is left out.")
                return None
            try:
                return self._add(place)
            except ImageError as error:
                self.notes.append(str(error))
        return None

    def changed(self, name: str) -> list[Block]:
        """Take in the annotations of an image anew; returns the blocks whose marks changed."""
        image = self._project.images.get(name)
        if image is None or image.missing:
            self.blocks = [block for block in self.blocks if block.place.image != name]
            return []
        known = {self._key(block.place): block for block in self.blocks if block.place.image == name}
        waiting = {self._key(place) for place in self._waiting}
        touched = []
        for place in reading.places(image, self._project.ndim, self._rng):
            block = known.get(self._key(place))
            if block is None:
                if place.marked and self._key(place) not in waiting:
                    touched.append(self._add(place))
            elif block.revision != image.revision:
                before = block.knowledge
                reading.update(block, image, self._reach)
                if not np.array_equal(before.allowed, block.knowledge.allowed):
                    touched.append(block)
        for block in known.values():  # a block whose last mark was erased is no longer listed as marked
            if block.revision != image.revision:
                reading.update(block, image, self._reach)
                touched.append(block)
        return touched

    def settle(self) -> None:
        """Decide from all blocks read so far how far objects reach and which marks are held out."""
        self._reach = self._estimated_reach()
        counts = self.marks_by_class()
        for block in self.blocks:
            image = self._project.images.get(block.place.image)
            if image is not None and self._reach and block.knowledge.seeds.any() and not block.exact:
                reading.update(block, image, self._reach)
            hold_out(block, self._number_of(block.place), counts)

    def marks_by_class(self) -> list[int]:
        """Blobs of each class id."""
        counts = np.zeros(len(self._project.classes) + 1, np.int64)
        for block in self.blocks:
            counts += np.bincount(block.knowledge.seed_class, minlength=len(counts))
        return [int(n) for n in counts]

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

    def _add(self, place: Place) -> Block:
        block = reading.read(self._project.images[place.image], place, self._reach)
        hold_out(block, self._number_of(place), self.marks_by_class())
        self._values += block.pixels.size
        self.blocks.append(block)
        return block

    def _estimated_reach(self) -> dict[int, float]:
        """Reach of each class: from exact objects where there are any, else the median over the rough blocks."""
        radius: dict[int, float] = {}
        for block in self.blocks:
            if block.exact:
                for c, r in largest_radius(block.knowledge.seeds, block.knowledge.seed_class).items():
                    radius[c] = max(radius.get(c, 0.0), r)
        found: dict[int, list[float]] = {}
        for block in self.blocks:
            if not block.exact and len(block.knowledge.seed_class) > 1:
                reach = estimate_reach(block.knowledge.seeds, block.knowledge.seed_class, exact_radius=radius)
                for c, r in reach.items():
                    found.setdefault(c, []).append(r)
        return {c: float(np.median(values)) for c, values in found.items()}

    def _key(self, place: Place) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        return place.image, place.frame, tuple(s.start for s in place.region)

    def _number_of(self, place: Place) -> int:
        return self._number.setdefault(self._key(place), len(self._number))
