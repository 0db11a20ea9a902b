"""Machines that share one remote, and many processes that write one manifest at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Zygote

from dsmanager.library.library import Library
from dsmanager.manifest import Entry, update_manifest
from dsmanager.refs import Ref
from dsmanager.settings import RemoteConfig, Settings, add_remote

ROOT = Path(__file__).parents[2]

# One program that forks: sixteen interpreters that load botocore would be most of the work.
CROWD = """
import json, os, sys, traceback
from pathlib import Path
from dsmanager.library.library import Library
from dsmanager.library import sharing
from dsmanager.manifest import Entry, update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.remotes import remote
from dsmanager.settings import Settings

processes, entries, at_once, shared = map(int, sys.argv[2:6])

def add(library, first, last):
    def change(there):
        for number in range(first, last):
            ref = Ref(f"d{number}", None, "1.0.0")
            there[ref] = Entry(ref, ref.archive_name(), 1, "ab" * 32, (str(ref.subdir),))
    update_manifest(library.settings.manifest_path, change)

def work(process):
    root = Path(sys.argv[1]) / ("all" if not shared else str(process))
    settings = Settings.load(data_dir=root, working_dir=Path(sys.argv[1]))
    library = Library(settings=settings)
    for first in range(process * entries, (process + 1) * entries, at_once):
        add(library, first, first + at_once)
        if shared:
            sharing.push(library, progress=Progress(), cancel=CancelToken())

children = []
for process in range(processes):
    child = os.fork()
    if child == 0:
        try:
            work(process)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


class Machine:
    """A data dir with its own manifest and settings."""

    def __init__(self, root: Path, remote: RemoteConfig, zygote: Zygote) -> None:
        self.root = root
        self._zygote = zygote
        root.mkdir()
        add_remote(root / "config.toml", remote, make_current=True)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "DSMANAGER_CONFIG": str(self.root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(self.root / "state"),
            "DSMANAGER_DATA_DIR": str(self.root / "data"),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root),
        }
        return {**os.environ, **own}

    @property
    def library(self) -> Library:
        return Library(settings=Settings.load(environ=self.environment, working_dir=self.root))

    def record(self, ref: str, sha256: str = "ab" * 32, remote: str | None = None) -> None:
        parsed = Ref.parse(ref)

        def change(entries: dict[Ref, Entry]) -> None:
            name = parsed.archive_name()
            entries[parsed] = Entry(parsed, name, 1, sha256, (str(parsed.subdir),), remote)

        update_manifest(self.library.settings.manifest_path, change)

    @property
    def records(self) -> dict[str, str]:
        """sha256 by ref."""
        return {str(ref): entry.sha256 for ref, entry in self.library.manifest.entries.items()}

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        ended = self._zygote.run(self, "--json", *arguments)
        assert ended.code == code, ended
        return ended.json

    def crowd(self, processes: int, entries: int, at_once: int, *, shared: bool) -> None:
        """Many processes at once: each adds its entries to its own manifest, or to one of all."""
        numbers = map(str, (processes, entries, at_once, int(shared)))
        done = subprocess.run(
            [sys.executable, "-c", CROWD, str(self.root / "crowd"), *numbers],
            env={**self.environment, "DSMANAGER_MANIFEST": "", "DSMANAGER_DATA_DIR": ""},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def make_machine(tmp_path: Path, zygote: Zygote) -> Callable[..., Machine]:
    def make(remote: RemoteConfig, name: str = "machine") -> Machine:
        return Machine(tmp_path / name, remote, zygote)

    return make


@pytest.fixture
def machine(make_machine: Callable[..., Machine], remote_config: RemoteConfig) -> Machine:
    return make_machine(remote_config)


@pytest.fixture
def other(make_machine: Callable[..., Machine], remote_config: RemoteConfig) -> Machine:
    return make_machine(remote_config, "other")
