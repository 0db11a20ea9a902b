"""Clocks that are wrong or jump: only signatures depend on them, and those say so."""

from __future__ import annotations

import os

import pytest
from harness.goodness import local_state, one_clear_line
from harness.starts import ARCHIVE, flip

HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S


@pytest.mark.parametrize("offset_s", [-2 * HOUR_S, 2 * HOUR_S])
@pytest.mark.parametrize("verb", ["upload", "download", "verify"])
def test_a_clock_that_is_hours_off_is_8_and_named(verb, offset_s, zygote, starts, tmp_path):
    start = {"upload": "packaged"}.get(verb, "remote")
    machine, _ = starts.make(start, tmp_path / "machine")
    more = ("--in", "remote") if verb == "verify" else ()
    ended = zygote.run(machine, verb, "tiny", *more, clock_offset_s=offset_s)
    assert (ended.code, one_clear_line(ended.code, ended.stderr)) == (8, [])
    assert "clock" in ended.stderr
    assert zygote.run(machine, verb, "tiny", *more).code == 0


@pytest.mark.parametrize("offset_s", [-30 * YEAR_S, 30 * YEAR_S])
def test_a_clock_that_jumps_between_verbs_changes_nothing(offset_s, zygote, starts, tmp_path):
    machine, _ = starts.make("built", tmp_path / "machine")
    for verb in (("package", "tiny"), ("verify", "tiny"), ("extract", "tiny", "--overwrite")):
        ended = zygote.run(machine, *verb, clock_offset_s=offset_s)
        assert ended.code == 0, ended.stderr
        assert zygote.run(machine, "list").code == 0
    assert zygote.run(machine, "gc", "--yes", clock_offset_s=-offset_s).code in (0, 8)
    assert zygote.run(machine, "verify", "tiny").code == 0
    assert "tiny:1.0.0 cached" in local_state(machine).good


@pytest.mark.parametrize("moment_s", [0, 4 * 10**9], ids=["1970", "2096"])
def test_files_of_another_time_are_read_and_damage_in_them_is_found(
    moment_s, zygote, starts, tmp_path
):
    machine, _ = starts.make("packaged", tmp_path / "machine")
    archive = machine.cache / ARCHIVE
    for path in machine.data_dir.rglob("*"):
        os.utime(path, (moment_s, moment_s))
    for verb in (("verify", "tiny"), ("upload", "tiny"), ("sync",), ("gc", "--yes"), ("list",)):
        ended = zygote.run(machine, *verb)
        assert ended.code == 0, ended.stderr
    flip(archive)
    assert zygote.run(machine, "verify", "tiny").code == 4
    assert zygote.run(machine, "extract", "tiny", "--overwrite").code == 4
