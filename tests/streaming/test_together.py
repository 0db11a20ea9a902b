"""Several processes on one cache: right together, bounded together, and a killed one harms none."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT_BYTES = 4_000_000


def start(split_file: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "read_all.py"), str(split_file), *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


def pickled(store: Any, path: Path, **options: Any) -> tuple[Path, str]:
    """A streamed split in a file, and the digest of its records."""
    path.write_bytes(pickle.dumps(store.stream(**options)))
    local = store.local()
    return path, hashlib.sha256(b"".join(local.read(range(len(local))))).hexdigest()


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*.block"))


def test_four_processes_share_a_cache_that_is_too_small(store, tmp_path):
    split, expected = pickled(store, tmp_path / "split", cache_bytes=LIMIT_BYTES)
    processes = [start(split, str(seed)) for seed in range(4)]
    assert [result(process) for process in processes] == [expected] * 4
    assert 0 < used_bytes(store.cache_dir) <= LIMIT_BYTES


def test_a_killed_process_leaves_nothing_in_the_way(store, tmp_path):
    split, expected = pickled(store, tmp_path / "split")
    killed = start(split, "0", "forever")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "batch\n"
    killed.kill()
    killed.communicate()
    assert result(start(split, "1")) == expected
    again = store.stream()
    assert len(again) == len(list(again))
    assert not list(store.cache_dir.rglob("*.tmp"))


def test_a_fork_reads_on_beside_its_parent(store):
    streamed, expected = store.stream(cache_bytes=0), store.local().read(range(80))
    assert streamed.read(range(10)) == expected[:10]  # threads and connections of the parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what is tried here
        child = os.fork()
    if not child:
        os._exit(0 if streamed.read(range(80)) == expected else 1)
    assert streamed.read(range(80)) == expected
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
