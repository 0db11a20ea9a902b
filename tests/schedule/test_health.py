"""The doctor knows the ground: interpreter, file systems, and what a remote cannot do."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmanager.library import hazards
from dsmanager.library.health import Finding, examine
from dsmanager.settings import RemoteConfig, Settings

FILTERS = ["CVE-2024-12718", "CVE-2025-4138", "CVE-2025-4330", "CVE-2025-4435", "CVE-2025-4517"]


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ((3, 11, 12), [*FILTERS, "CVE-2025-8194"]),
        ((3, 11, 13), ["CVE-2025-8194"]),
        ((3, 11, 14), []),
        ((3, 12, 10), [*FILTERS, "CVE-2025-8194"]),
        ((3, 12, 11), ["CVE-2025-8194"]),
        ((3, 12, 12), []),
        ((3, 13, 3), [*FILTERS, "CVE-2025-8194"]),
        ((3, 13, 5), ["CVE-2025-8194"]),
        ((3, 13, 6), []),
        ((3, 14, 0), []),
    ],
)
def test_the_holes_of_tarfile_are_known_by_version(version, holes):
    assert hazards.tarfile_holes(version) == holes


MOUNTS = """\
/dev/root / ext4 rw 0 0
server:/export /data nfs4 rw 0 0
/dev/sdb /data/local\\040disk xfs rw 0 0
none /database tmpfs rw 0 0
//host/share /data/share cifs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/", "ext4", False),
        ("/data", "nfs4", True),
        ("/data/sets", "nfs4", True),
        ("/data/local disk/sets", "xfs", False),
        ("/database", "tmpfs", False),
        ("/data/share", "cifs", True),
        ("/datasets", "ext4", False),
    ],
)
def test_the_file_system_of_a_folder_is_the_innermost_mount(folder, kind, network):
    assert hazards.file_system(Path(folder), MOUNTS) == kind
    assert hazards.is_network(kind) == network


def test_a_usual_file_system_locks_and_tells_cases_apart(tmp_path):
    assert hazards.locks_work(tmp_path)
    assert not hazards.ignores_case(tmp_path)
    assert list(tmp_path.iterdir()) == [], "probes are removed"


def test_one_that_takes_a_for_a_is_found(tmp_path):
    if os.geteuid() != 0 or shutil.which("mkfs.vfat") is None:
        pytest.skip("needs root and mkfs.vfat to make a file system that ignores case")
    image, point = tmp_path / "image", tmp_path / "fat"
    image.touch()
    os.truncate(image, 4 << 20)
    point.mkdir()
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True)
    if mounted.returncode:
        pytest.skip("loop devices cannot be mounted here")
    try:
        assert hazards.ignores_case(point)
    finally:
        subprocess.run(["umount", point], check=True)


def test_locks_that_exclude_nobody_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert not hazards.locks_work(tmp_path)


def test_locks_that_there_are_not_are_found(tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not hazards.locks_work(tmp_path)


def by_check(root: Path, remote: RemoteConfig, **more: Any) -> dict[str, list[Finding]]:
    settings = Settings(
        data_dir=root / "data",
        state_dir=root / "state",
        config_file=root / "config.toml",
        manifest=root / "data" / "datasets.json",
        remotes={remote.name: remote},
        working_dir=root,
    )
    found: dict[str, list[Finding]] = {}
    for each in examine(settings, **more):
        found.setdefault(each.name, []).append(each)
    return found


def test_a_good_remote_has_no_limits(tmp_path, remote_config):
    found = by_check(tmp_path, remote_config)
    assert [each.status for each in found["remote"] + found["clock"]] == ["ok", "ok"]
    assert "limit" not in found
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_the_limits_of_a_remote_are_told_and_need_a_probe(tmp_path, rclone):
    config = rclone.config()
    found = by_check(tmp_path, config)
    said = " ".join(each.text for each in found["limit"])
    for limit in ("keeps existing objects", "compare-and-swap", "acl", "checksum"):
        assert limit in said
    assert found["remote"][0].status == "ok", "a limit is no failure"
    assert "limit" not in by_check(tmp_path, config, read_only=True)


def test_a_remote_that_is_away_is_a_failure_and_stops_nothing(tmp_path, remote_config):
    found = by_check(tmp_path, replace(remote_config, endpoint_url="http://127.0.0.1:9"))
    assert [each.status for each in found["remote"]] == ["failed"]
    assert "clock" not in found
