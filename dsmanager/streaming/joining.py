"""Which ranges of an object are asked for, so that few requests bring what is wanted."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MAX_RANGE_BYTES", "Extent", "joined"]

Extent = tuple[int, int]
"""First byte and the byte behind the last."""

MAX_RANGE_BYTES = 4 << 20
_MAX_GAP_BYTES = 32 << 10
_GAPS_OF_WANTED = 32
"""Bytes that are wanted for each that is fetched only to join two ranges."""


def joined(
    extents: Iterable[Extent], *, max_bytes: int = MAX_RANGE_BYTES
) -> list[tuple[Extent, list[Extent]]]:
    """Ranges that together hold ``extents``, sorted and disjoint, each with the extents in it.

    ``extents`` are disjoint and not empty. Neighbours are joined across small gaps while the gaps
    are at most a 32nd of what is wanted, and up to ``max_bytes``; a larger extent is a range of its
    own.
    """
    ranges: list[tuple[Extent, list[Extent]]] = []
    within: list[Extent] = []
    start = end = wanted = gaps = 0
    for first, last in sorted(extents):
        gap, length = first - end, last - first
        is_cheap = gap <= _MAX_GAP_BYTES and (gaps + gap) * _GAPS_OF_WANTED <= wanted + length
        if within and is_cheap and last - start <= max_bytes:
            within.append((first, last))
            end, wanted, gaps = last, wanted + length, gaps + gap
            continue
        if within:
            ranges.append(((start, end), within))
        within = [(first, last)]
        start, end, wanted, gaps = first, last, length, 0
    if within:
        ranges.append(((start, end), within))
    return ranges
