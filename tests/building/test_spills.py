"""Records on their way to shards: what is kept for another process is looked at when it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmanager.building.writing import shard
from dsmanager.building.writing.spill import Places, Spill
from dsmanager.errors import VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import read_records

RECORDS = [b"first" * 100, b"", b"third" * 50]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of a spill that is kept for others; its index lies beside it."""
    path = tmp_path / "spill"
    spill = Spill(open(path, "xb+", buffering=0), kept=True)  # noqa: SIM115
    for number, record in enumerate(RECORDS):
        spill.add(bytes([number]) * 16, b"key", ([record[:3], record[3:]], len(record)))
    spill.finish()
    spill.save(path.with_suffix(".index"), "made from this")
    spill.close()
    return path


def _opened(path: Path) -> Spill:
    spill = Spill.opened(path, path.with_suffix(".index"), "made from this")
    assert spill is not None
    return spill


def _write_shard(path: Path, spill: Spill) -> Path:
    table, made = path.with_name("table"), path.with_name("shard")
    places = Places([spill])
    rows = places.extents(0, places.count)
    table.write_bytes(rows.tobytes())
    shard.create(str(made), rows)
    task = [str(made), 0, str(table), 0, places.count, True, places.paths]
    assert shard.write(None, task, Progress(), CancelToken()) is None
    return made


def test_what_was_kept_is_written(kept: Path) -> None:
    spill = _opened(kept)
    try:
        assert spill.is_whole()
        assert list(Places([spill]).records(0, 3)) == RECORDS
        assert list(read_records(_write_shard(kept, spill))) == RECORDS
    finally:
        spill.close()


def test_a_record_that_changes_on_disk_after_it_was_looked_at_is_refused(kept: Path) -> None:
    spill = _opened(kept)
    try:
        assert spill.is_whole()
        with open(kept, "rb+") as file:
            file.seek(10)
            file.write(b"!")
        with pytest.raises(VerificationError, match="has changed on disk before it was in its"):
            list(Places([spill]).records(0, 3))
        with pytest.raises(VerificationError, match="has changed on disk before it was in its"):
            _write_shard(kept, spill)
        assert not spill.is_whole()
    finally:
        spill.close()


def test_what_was_made_from_other_things_or_cut_is_not_opened(kept: Path) -> None:
    index = kept.with_suffix(".index")
    assert Spill.opened(kept, index, "made from that") is None
    content = index.read_bytes()
    index.write_bytes(content[:-8])
    assert Spill.opened(kept, index, "made from this") is None
    index.write_bytes(content)
    with open(kept, "ab") as file:
        file.write(b"!")
    assert Spill.opened(kept, index, "made from this") is None
