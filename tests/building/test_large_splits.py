"""Splits larger than what TFDS holds in memory (1 GB), where it needs TensorFlow to spill them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records
from dsmanager.refs import Ref

Write = Callable[..., Path]
SOAK = bool(os.environ.get("DSMANAGER_SOAK"))
"""The path is the same for every size; more than 1 GB takes minutes on a slow disk."""
MEGABYTES = 1300 if SOAK else 160
MOST_MEMORY_MB = 400
FORMATS = ("tfrecord", "array_record") if SOAK else ("tfrecord",)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_large_split_needs_no_more_memory_and_no_tensorflow(
    bench: Any, write_builder: Write, no_tensorflow: Path, file_format: str
) -> None:
    body = f"""
    import hashlib
    for i in range({MEGABYTES}):
        yield i, {{'i': i, 'x': hashlib.sha256(b'%d' % i).digest() * (1_000_000 // 32)}}
    """
    extra = """
def _post_download_and_prepare_hook(self):
    print(open('/proc/self/status').read())
"""
    features = "{'i': np.int64, 'x': tfds.features.Text()}"
    home = write_builder(body=body, features=features, extra=extra)
    tree = bench.build(home, file_format=file_format)
    built = BuiltDataset(Ref("sample", None, "1.0.0"), tree)
    assert built.splits["train"].examples == MEGABYTES
    assert len(built.splits["train"].shard_lengths) == (16 if SOAK else 2)
    log = bench.log_path.read_text().splitlines()
    (peak_kb,) = [int(line.split()[1]) for line in log if line.startswith("VmHWM")]
    assert peak_kb < MOST_MEMORY_MB << 10
    if file_format == "tfrecord":
        _require_each_once(tree)


def _require_each_once(tree: Path) -> None:
    seen = set()
    for path in tree.glob("*.tfrecord-*"):
        for record in read_records(path):
            example = parse_example(record)
            number = example["i"][0]
            digest = hashlib.sha256(b"%d" % number).digest()
            assert example["x"][0][:32] == example["x"][0][-32:] == digest
            seen.add(number)
    assert seen == set(range(MEGABYTES))
