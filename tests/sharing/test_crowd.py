"""Sixteen processes that add fifty entries each to one manifest end with eight hundred."""

from __future__ import annotations

import json
import os

from dsmanager.manifest import read_manifest

SOAK = bool(os.environ.get("DSMANAGER_SOAK"))
"""One by one takes minutes: every write reads all that is there."""


def test_sixteen_processes_on_one_file(machine):
    machine.crowd(16, 50, 1 if SOAK else 10, shared=False)
    folder = machine.root / "crowd" / "all"
    assert len(read_manifest(folder / "datasets.json").entries) == 800
    assert [path.name for path in folder.iterdir()] == ["datasets.json"]


def test_sixteen_machines_on_one_remote(machine):
    machine.crowd(16, 50, 1 if SOAK else 25, shared=True)
    remote = machine.library.remote
    content = remote.read_bytes("datasets.json", max_bytes=1 << 22)
    assert len(json.loads(content)["datasets"]) == 800
    assert [each.name for each in remote.list()] == ["datasets.json"]
