"""kill -9 of a conversion: nothing half is seen, and the next run ends in the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("crash_driver.py")
POINTS = {"tpu": 10, "slim": 10, "tpu, other half": 4, "slim, other half": 4}
WHOLE = {"train": (0, 1024), "validation": (0, 128)}


def killed(scenario: str, folder: Path, tars: Path, points: int) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, str(DRIVER), scenario, str(folder), str(tars), str(points)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", POINTS)
def test_the_next_run_ends_in_the_same_bytes(scenario: str, tmp_path: Path, tars: Path) -> None:
    report = killed(scenario, tmp_path, tars, POINTS[scenario])
    assert len(report) == POINTS[scenario]
    for code, visible, next_code, is_same in report:
        assert code == -signal.SIGKILL
        assert all(visible[split] in counts for split, counts in WHOLE.items()), visible
        assert next_code == 0
        assert is_same


@pytest.mark.parametrize("scenario", ["slim, among others", "slim, over old ones"])
def test_shards_that_are_moved_one_by_one_or_over_others_are_finished(
    scenario: str, tmp_path: Path, tars: Path
) -> None:
    for code, _, next_code, is_same in killed(scenario, tmp_path, tars, points=3):
        assert (code, next_code, is_same) == (-signal.SIGKILL, 0, True)
