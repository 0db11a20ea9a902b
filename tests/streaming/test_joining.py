"""Properties of joined ranges: nothing is lost, nothing comes twice, little is wasted."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dsmanager.streaming.joining import joined


@st.composite
def extents(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Disjoint extents in any order, some of them touching."""
    position, found = 0, []
    steps = st.tuples(
        st.one_of(st.just(0), st.integers(0, 200), st.integers(0, 1 << 20)),
        st.one_of(st.integers(1, 300), st.integers(1, 6 << 20)),
    )
    for gap, length in draw(st.lists(steps, max_size=40)):
        found.append((position + gap, position + gap + length))
        position += gap + length
    return draw(st.permutations(found))


@given(extents())
def test_ranges_hold_every_extent_once_and_never_overlap(wanted):
    ranges = joined(wanted)
    assert sorted(extent for _, within in ranges for extent in within) == sorted(wanted)
    for (start, stop), within in ranges:
        assert start == within[0][0]
        assert stop == within[-1][1]
    starts_and_stops = [edge for extent, _ in ranges for edge in extent]
    assert starts_and_stops == sorted(starts_and_stops)


@given(extents(), st.integers(1, 8 << 20))
def test_ranges_waste_little_and_are_bounded(wanted, max_bytes):
    for (start, stop), within in joined(wanted, max_bytes=max_bytes):
        needed = sum(last - first for first, last in within)
        assert stop - start <= 1.04 * needed
        assert stop - start <= max_bytes or len(within) == 1


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_neighbours_are_one_range(lengths):
    edges = [0]
    for length in lengths:
        edges.append(edges[-1] + length)
    wanted = list(itertools.pairwise(edges))
    assert [extent for extent, _ in joined(wanted)] == [(0, edges[-1])]
