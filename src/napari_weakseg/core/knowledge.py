"""What is known about each pixel: the set of classes still allowed, seeds to grow from, and bags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region
from napari_weakseg.core.windows import largest_near, smallest_near

if TYPE_CHECKING:
    from napari_weakseg.core.annotations import Annotations
    from napari_weakseg.core.classes import ClassTable

INTERFACE_UNKNOWN = 255
_THIN_PX = 3  # a painted background pixel this near to two objects marks what separates them


@dataclass(frozen=True, slots=True)
class Bag:
    """Somewhere from `start` to `stop` (half-open, pixels of the block) there is a pixel of the class."""

    class_id: int
    start: tuple[int, ...]
    stop: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known about each pixel of a block.

    Attributes
    ----------
    allowed : uint32, (*S)
        Bit k set = class k is possible. All class bits = nothing known; 0 = the facts contradict each other.
    painted : bool, (*S)
        Painted by a person, whatever the class.
    seeds : int32, (*S)
        0 or 1…n: the object a painted pixel belongs to. Ids a person gave are kept apart per class, other
        paint is split into connected blobs (diagonals connect). The background is never a seed.
    seed_class : uint8, (n + 1,)
        Class id of each seed; 0 at index 0.
    complete : bool, (*S)
        Every class is annotated exactly here.
    bags : tuple of Bag
    full : int
        All class bits.
    """

    allowed: NDArray[np.uint32]
    painted: NDArray[np.bool_]
    seeds: NDArray[np.int32]
    seed_class: NDArray[np.uint8]
    complete: NDArray[np.bool_]
    bags: tuple[Bag, ...]
    full: int

    @staticmethod
    def from_annotations(
        annotations: "Annotations",
        classes: "ClassTable",
        region: Region,
        *,
        spatial_ndim: int,
        reach_px: Mapping[int, float] | None = None,
        sampling: tuple[float, ...] | None = None,
        before: "Knowledge | None" = None,
    ) -> "Knowledge":
        """Merge all facts about a region; see `napari_weakseg.core.facts.knowledge_of`."""
        from napari_weakseg.core.facts import knowledge_of

        return knowledge_of(
            annotations,
            classes,
            region,
            spatial_ndim=spatial_ndim,
            reach_px=reach_px or {},
            sampling=sampling,
            before=before,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the block, (*S)."""
        return self.allowed.shape

    @property
    def conflicts(self) -> NDArray[np.bool_]:
        """Where the facts leave no class, bool (*S)."""
        return np.equal(self.allowed, 0)

    @property
    def certain(self) -> NDArray[np.uint8]:
        """Class id where exactly one class is allowed, else 0; uint8 (*S)."""
        single = (self.allowed != 0) & ((self.allowed & (self.allowed - np.uint32(1))) == 0)
        below = np.bitwise_count(self.allowed - np.uint32(1))  # k bits are set in 2**k - 1
        return np.where(single, below, np.uint8(0))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where some class is ruled out and some class is left, bool (*S)."""
        return np.not_equal(self.allowed, np.uint32(self.full)) & np.not_equal(self.allowed, 0)

    def merge(self, other: "Knowledge") -> "Knowledge":
        """Everything both say: bitwise AND of the allowed sets.

        Commutative, associative and idempotent, seeds included (where no pixel is painted in two classes):
        pixels that share a seed on either side come to share one.

        Raises
        ------
        ValueError
            If the blocks differ in shape or in classes.
        """
        if self.shape != other.shape or self.full != other.full:
            raise ValueError(f"knowledge of {self.shape} and {other.shape} with other classes cannot be merged")
        seeds, seed_class = _merged_seeds(self, other)
        bags = set(self.bags) | set(other.bags)
        return Knowledge(
            allowed=self.allowed & other.allowed,
            painted=self.painted | other.painted,
            seeds=seeds,
            seed_class=seed_class,
            complete=self.complete | other.complete,
            bags=tuple(sorted(bags, key=lambda bag: (bag.class_id, bag.start, bag.stop))),
            full=self.full,
        )

    def interfaces(self) -> NDArray[np.uint8]:
        """Targets for the separation of touching objects, uint8 (*S).

        1 = between two objects: within 1 px of two of them where paint shows both, or a painted background
        pixel within 3 px of two of them (a thin line of background between touching objects). 0 = certainly
        not: inside an object or an exact region, more than 1 px from any 1. 255 = unknown.
        """
        targets = np.full(self.shape, INTERFACE_UNKNOWN, np.uint8)
        if not self.painted.any() and not self.complete.any():
            return targets
        shown = self.painted | self.complete
        line = self.painted & (self.seeds == 0)
        between = (shown & _near_two(self.seeds, 1)) | (line & _near_two(self.seeds, _THIN_PX))
        ring = largest_near(between, 1)
        targets[((self.seeds > 0) | self.complete) & ~ring] = 0
        targets[between] = 1
        return targets


def _near_two(seeds: NDArray[np.int32], radius_px: int) -> NDArray[np.bool_]:
    """Where a cube of side 2 r + 1 holds two different seeds."""
    none = np.iinfo(np.int32).max
    largest = largest_near(seeds, radius_px)
    smallest = smallest_near(np.where(seeds == 0, none, seeds), radius_px)
    return np.asarray((largest > 0) & (smallest < largest))


def _merged_seeds(a: Knowledge, b: Knowledge) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Join two partitions: pixels that share a seed in `a` or in `b` share one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_a, n_b = len(a.seed_class), len(b.seed_class)
    both = (a.seeds > 0) & (b.seeds > 0) & (a.seed_class[a.seeds] == b.seed_class[b.seeds])
    links = np.ones(int(both.sum()), np.int8)
    graph = coo_array((links, (a.seeds[both], n_a + b.seeds[both])), shape=(n_a + n_b, n_a + n_b))
    _, group = connected_components(graph, directed=False)
    class_of = np.concatenate([a.seed_class, b.seed_class])
    group_class = np.zeros(group.max() + 1, np.uint8)
    group_class[group] = class_of
    in_a, in_b = group[a.seeds], group[n_a + b.seeds]
    clash = (a.seeds > 0) & (b.seeds > 0) & ~both  # two classes at one pixel: the smaller class id keeps it
    prefer_a = (a.seeds > 0) & ~(clash & (b.seed_class[b.seeds] < a.seed_class[a.seeds]))
    joined = np.where(prefer_a, in_a + 1, np.where(b.seeds > 0, in_b + 1, 0))
    return numbered(joined, np.concatenate([np.zeros(1, np.uint8), group_class]))


def numbered(seeds: NDArray[np.integer], seed_class: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Seeds as 1…n in C order of their first pixels; ``seed_class[seed]`` is the class of each."""
    where = np.flatnonzero(seeds)
    first = np.full(len(seed_class), -1, np.int64)
    first[seeds.ravel()[where[::-1]]] = where[::-1]  # the last assignment, which is the first pixel, stays
    values = np.flatnonzero(first >= 0)
    values = values[np.argsort(first[values])]
    number = np.zeros(len(seed_class), np.int32)
    number[values] = np.arange(1, len(values) + 1)
    return number[seeds], np.concatenate([np.zeros(1, np.uint8), seed_class[values]])
