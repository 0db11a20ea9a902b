"""Shards, whole and in parts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dsmanager.building.writing import shard
from dsmanager.building.writing.spill import Places, Spill
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import read_records

MEGABYTE = 1 << 20


@given(
    lengths=st.lists(
        st.sampled_from([0, 100, MEGABYTE, 15 * MEGABYTE, 40 * MEGABYTE]), min_size=1, max_size=40
    ),
    most=st.integers(1, 9),
)
def test_the_parts_of_a_shard_are_all_of_it_and_of_like_size(lengths: list[int], most: int) -> None:
    rows = np.zeros(len(lengths), shard.EXTENT)
    rows["length"] = lengths
    found = shard.parts(rows, most)
    start = first = 0
    sizes = []
    for part_start, part_first, count in found:
        assert (part_start, part_first) == (start, first)
        assert count > 0
        sizes.append(sum(lengths[first : first + count]) + 16 * count)
        start, first = start + sizes[-1], first + count
    assert first == len(lengths)
    assert len(found) <= most
    fair = sum(sizes) / max(1, min(most, sum(sizes) // (16 * MEGABYTE)))
    assert max(sizes) <= fair + max(lengths) + 16


def test_a_shard_that_is_written_in_parts_has_all_of_its_records(tmp_path: Path) -> None:
    records = [os.urandom(length) for length in (10, 17 * MEGABYTE, 0, 16 * MEGABYTE, 2000, 99)]
    spill = Spill(open(tmp_path / "spill", "xb+", buffering=0))  # noqa: SIM115
    for number, record in enumerate(records):
        spill.add(bytes([number]) * 16, b"key", ([record], len(record)))
    spill.finish()
    places = Places([spill])
    rows = places.extents(0, places.count)
    table, made = tmp_path / "table", tmp_path / "shard"
    table.write_bytes(rows.tobytes())
    shard.create(str(made), rows)
    parts = shard.parts(rows, 9)
    assert len(parts) == 2
    progress = Progress()
    for start, first, count in reversed(parts):
        task = [str(made), start, str(table), first, count, True, places.paths]
        assert shard.write(None, task, progress, CancelToken()) is None
    spill.close()
    assert list(read_records(made)) == records
    assert progress.snapshot().items_done == len(records)
    assert progress.snapshot().bytes_done == made.stat().st_size
