"""How fast work is said to go, and how long the rest of it takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dsmanager.cli.job_lines import table_lines
from dsmanager.cli.progress_view import amount_text, bar_fields
from dsmanager.jobs.job import Job
from dsmanager.progress import Progress, Snapshot, Speed


def begun(ago_s: float, **counts: int) -> Snapshot:
    """Counters of a phase that has run for so long."""
    counters = {"bytes_done": 0, "bytes_total": None, "items_done": 0, "items_total": None}
    return Snapshot(
        phase="download",
        **(counters | counts),  # type: ignore[arg-type]
        item_unit="",
        phase_started_s=time.monotonic() - ago_s,
    )


def test_speed_is_what_was_done_in_the_time_and_the_rest_takes_as_long() -> None:
    snapshot = begun(100, bytes_done=4_000_000, bytes_total=10_000_000)
    bytes_per_s, left_s = Speed().of(snapshot)
    assert bytes_per_s == pytest.approx(40_000, rel=0.01)
    assert left_s == pytest.approx(150, rel=0.01)
    fields = bar_fields(snapshot, bytes_per_s, left_s)
    assert (fields["completed"], fields["total"]) == (4_000_000, 10_000_000)
    assert fields["left"] == "0:02:30"


def test_what_an_earlier_run_left_is_done_and_no_measure_of_speed() -> None:
    snapshot = begun(100, bytes_done=9_000_000, bytes_found=8_000_000, bytes_total=10_000_000)
    bytes_per_s, left_s = Speed().of(snapshot)
    assert bytes_per_s == pytest.approx(10_000, rel=0.01)
    assert left_s == pytest.approx(100, rel=0.01)
    assert amount_text(snapshot, bytes_per_s).startswith("90 % 9.0 MB of 10.0 MB 10.0 kB/s")


def test_nothing_is_said_of_the_rest_before_anything_is_done() -> None:
    found = begun(1, bytes_done=500, bytes_found=500, bytes_total=1000)
    assert Speed().of(found) == (0.0, None)
    assert bar_fields(found, 0.0, None)["left"] == ""


def test_items_tell_it_where_no_bytes_are_counted() -> None:
    _, left_s = Speed().of(begun(10, items_done=20, items_total=50))
    assert left_s == pytest.approx(15, rel=0.05)


def test_only_the_last_seconds_count() -> None:
    speed, before = Speed(), begun(1000, bytes_done=1_000_000)
    for _ in range(3):
        speed.of(before)
    bytes_per_s, _ = speed.of(before)
    assert bytes_per_s < 1000  # as fast as that it was on the whole


def test_a_job_that_stands_still_says_so(tmp_path: Path) -> None:
    job = Job(
        id=1,
        kind="upload",
        slot="transfer",
        ref="digit",
        state="running",
        created=None,
        started=None,
        finished=None,
        phase="upload",
        label="digit:1.0.8",
        bytes_done=5_000_000,
        bytes_total=10_000_000,
        items_done=0,
        items_total=None,
        item_unit="",
        bytes_per_s=0.0,
        eta_s=None,
        exit_code=None,
        error=None,
        arguments=(),
        folder=tmp_path,
        pid=None,
    )
    assert "50 % 5.0 MB of 10.0 MB 0 Bytes/s" in table_lines([job])[-1]


def test_a_phase_begins_with_nothing_found() -> None:
    progress = Progress()
    progress.start_phase("download", bytes_total=10)
    progress.add_found_bytes(6)
    progress.add_bytes(1)
    now = progress.snapshot()
    assert (now.bytes_done, now.bytes_found) == (7, 6)
    progress.start_phase("verify")
    now = progress.snapshot()
    assert (now.bytes_done, now.bytes_found) == (0, 0)
