"""Every builder that TFDS has: without TensorFlow its features give TFDS's own bytes.

Random examples stand for its sources, which are not here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("records_at_random.py")
PARTS = 3

CANNOT_BE_MADE = {
    "dices": "needs pandas",
    "i_naturalist2021": "lacks a file of its own in TFDS's package",
    "qm9": "needs pandas",
    "smart_buildings": "needs pandas",
    "wmt_translate": "is abstract",
}


def start(side: str, part: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), side, f"{part}/{PARTS}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def records_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
@pytest.mark.parametrize("part", range(PARTS))
def test_its_records_are_those_of_tfds(part: int, no_tensorflow: Path, tmp_path: Path) -> None:
    with (
        start("ours", part, PYTHONPATH=str(no_tensorflow), TMPDIR=str(tmp_path)) as without,
        start("theirs", part, PYTHONPATH="", TMPDIR=str(tmp_path)) as with_tensorflow,
    ):
        ours, theirs = records_of(without), records_of(with_tensorflow)
    made = {key: records for key, records in ours.items() if key not in CANNOT_BE_MADE}
    assert [key for key, records in made.items() if isinstance(records, str)] == []
    assert made == {key: theirs.get(key) for key in made}
    assert len({key.partition("/")[0] for key in made}) > 100
