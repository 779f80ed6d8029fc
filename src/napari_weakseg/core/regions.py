"""Regions: tuples of slices with explicit start and stop over label axes, half-open, in pixels."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

Region: TypeAlias = tuple[slice, ...]


def whole(shape: Sequence[int]) -> Region:
    """Region that covers an array of the given shape."""
    return tuple(slice(0, size) for size in shape)


def region_of(start: Sequence[int], stop: Sequence[int]) -> Region:
    """Region from its two corners.

    Examples
    --------
    >>> region_of((0, 2), (4, 6))
    (slice(0, 4, None), slice(2, 6, None))
    """
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def start_of(region: Region) -> tuple[int, ...]:
    """Corner with the smallest coordinates."""
    return tuple(s.start for s in region)


def stop_of(region: Region) -> tuple[int, ...]:
    """Corner behind the largest coordinates."""
    return tuple(s.stop for s in region)


def shape_of(region: Region) -> tuple[int, ...]:
    """Extent along every axis."""
    return tuple(s.stop - s.start for s in region)


def intersection(a: Region, b: Region) -> Region | None:
    """Share of two regions, or None."""
    common = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return common if all(s.start < s.stop for s in common) else None


def union(a: Region, b: Region) -> Region:
    """Smallest region around both."""
    return tuple(slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(a, b, strict=True))


def shifted(region: Region, origin: Sequence[int]) -> Region:
    """Region in coordinates that count from `origin`."""
    return tuple(slice(s.start - o, s.stop - o) for s, o in zip(region, origin, strict=True))


def explicit(index: object, shape: Sequence[int]) -> tuple[Region, tuple[int, ...]]:
    """Turn an index of ints, slices of step 1 and at most one Ellipsis into a region.

    Returns
    -------
    region : Region
    dropped : tuple of int
        Axes that were indexed with an int and vanish from the result.
    """
    items = index if isinstance(index, tuple) else (index,)
    if Ellipsis in items:
        at = items.index(Ellipsis)
        fill = (slice(None),) * (len(shape) - len(items) + 1)
        items = items[:at] + fill + items[at + 1 :]
    items += (slice(None),) * (len(shape) - len(items))
    if len(items) > len(shape):
        raise IndexError(f"{len(items)} indices for an array of {len(shape)} axes")
    region, dropped = [], []
    for axis, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            if step != 1:
                raise IndexError("only slices of step 1 are read")
            region.append(slice(start, max(start, stop)))
        else:
            place = range(size)[int(item)]
            region.append(slice(place, place + 1))
            dropped.append(axis)
    return tuple(region), tuple(dropped)


def grid_keys(region: Region, chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Chunk indices that a region touches, in C order."""
    return product(*(range(s.start // c, -(-s.stop // c)) for s, c in zip(region, chunks, strict=True)))


def chunk_region(key: Sequence[int], chunks: Sequence[int], shape: Sequence[int]) -> Region:
    """Region of one chunk, cut at the array's end."""
    return tuple(slice(k * c, min((k + 1) * c, size)) for k, c, size in zip(key, chunks, shape, strict=True))
