"""One proxy a worker; machines in states to start from; disks."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.proxy import FaultProxy
from harness.starts import Starts, with_payload


@pytest.fixture(scope="session")
def starts(built_data: Path, seaweedfs, tmp_path_factory: pytest.TempPathFactory) -> Starts:
    return Starts(built_data, seaweedfs.config, tmp_path_factory.mktemp("starts"))


@pytest.fixture(scope="session")
def starts_with(built_data: Path, seaweedfs, tmp_path_factory: pytest.TempPathFactory):
    """``starts_with(n)``: machines whose dataset has n bytes more."""

    @functools.cache
    def make(size_bytes: int) -> Starts:
        folder = tmp_path_factory.mktemp("large-starts")
        data = with_payload(built_data, folder / "data", size_bytes)
        return Starts(data, seaweedfs.config, folder)

    return make


@pytest.fixture(scope="session")
def proxy(seaweedfs) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.endpoint_url, credentials_file=seaweedfs.credentials_file) as proxy:
        yield proxy


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``disk("8m")``: an empty file system of that size, or of another one when asked again."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        remount = "remount," if os.path.ismount(folder) else ""
        command = ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
        return folder

    try:
        yield mount
    finally:
        if os.path.ismount(folder):
            subprocess.run(["umount", str(folder)], check=True)
