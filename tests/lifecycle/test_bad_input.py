"""Bad input gets one clear line and the right exit code, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile

import pytest
from harness.machine import new_machine

ARCHIVE = "tiny__1.0.0__cache.tar.gz"


def _one_line(done) -> str:
    """The error line; there is no traceback, and at most one hint below it."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


def test_an_unknown_ref_is_told_near_names(built_machine):
    assert "tiny" in _one_line(built_machine.run("package", "tniy", code=6))
    assert "digit" in _one_line(built_machine.run("build", "digti", code=6))
    assert "several" in _one_line(built_machine.run("info", "severl", code=6))


@pytest.mark.parametrize(
    ("command", "near"),
    [(["biuld"], "build"), (["remote", "serv"], "serve"), (["manifest", "shwo"], "show")],
)
def test_an_unknown_command_is_told_near_ones_once(machine, command, near):
    line = _one_line(machine.run(*command, code=2))
    assert line.endswith(f"No such command '{command[-1]}'. Did you mean '{near}'?")


@pytest.mark.parametrize("text", ["", "a b", "../etc", "a/../b", "a:b", "a:1.0", "/a", "a::1.0.0"])
def test_what_is_no_ref_is_a_usage_error(machine, text):
    assert "is not a ref" in _one_line(machine.run("package", text, code=2))


def test_broken_settings_name_file_and_line(machine):
    (machine.root / "config.toml").write_text('data_dir = "x"\nremote = \n')
    line = _one_line(machine.run("list", code=2))
    assert str(machine.root / "config.toml") in line
    assert "line 2" in line


def test_a_broken_manifest_names_file_and_line(built_machine):
    built_machine.manifest.write_text('{\n  "schema": 2,\n  "datasets": {,}\n}\n')
    before = built_machine.manifest.read_bytes()
    line = _one_line(built_machine.run("package", "tiny", code=2))
    assert str(built_machine.manifest) in line
    assert "line 3" in line
    assert built_machine.manifest.read_bytes() == before


def test_a_data_dir_that_is_a_file_is_told(machine, builders):
    machine.data_dir.write_text("a file")
    for verb in (["list"], ["build", "--path", str(builders / "tiny")], ["doctor"]):
        done = machine.run(*verb, code=None)
        assert done.returncode in (1, 2), verb
        assert str(machine.data_dir) in done.stderr + done.stdout
    assert machine.data_dir.read_text() == "a file"


def test_a_read_only_data_dir_is_read_and_not_written(built_machine, small_disk):
    built_machine.run("package", "tiny")
    machine = new_machine(small_disk / "machine")
    shutil.copytree(built_machine.data_dir / "tiny", machine.data_dir / "tiny")
    shutil.copytree(built_machine.cache, machine.cache)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "tiny:1.0.0" in machine.run("list").stdout
    machine.run("verify", "tiny")
    machine.run("load", "tiny")
    refused = machine.run("extract", "tiny", "--overwrite", code=1)
    assert "Read-only file system" in _one_line(refused)
    machine.run("package", "tiny", "--overwrite", code=1)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("verb", ["build", "package", "extract", "download"])
def test_a_full_disk_is_told_and_leaves_nothing(
    built_machine, builders, remote_config, small_disk, verb
):
    built_machine.use(remote_config)
    full = new_machine(small_disk / "machine")
    full.extra["DSMANAGER_STATE_DIR"] = str(built_machine.root / "state of the other")
    noise = os.urandom(1 << 20)
    (built_machine.data_dir / "tiny/1.0.0/noise.bin").write_bytes(noise)
    built_machine.run("package", "tiny")
    full.use(remote_config)
    arguments = {
        "build": ["build", "tiny", "--path", str(builders / "tiny")],
        "package": ["package", "tiny"],
        "extract": ["extract", "tiny"],
        "download": ["download", "tiny"],
    }[verb]
    if verb == "build":
        (full.root / "filler").write_bytes(noise[: (1 << 20) - (100 << 10)])
    if verb == "package":
        full.data_dir.symlink_to(_linked(built_machine, full), target_is_directory=True)
    if verb == "extract":
        full.data_dir.mkdir()
        (full.data_dir / "cache").symlink_to(built_machine.cache, target_is_directory=True)
    if verb == "download":
        built_machine.run("upload", "tiny")
    done = full.run(*arguments, code=9)
    _one_line(done)
    assert "free some space" in done.stderr
    assert full.leftovers() == []


def _linked(built_machine, full):
    """A data dir whose datasets are elsewhere and whose cache is on the full disk."""
    folder = built_machine.root / "linked"
    folder.mkdir()
    (folder / "tiny").symlink_to(built_machine.data_dir / "tiny", target_is_directory=True)
    cache = full.root / "cache"
    cache.mkdir()
    (folder / "cache").symlink_to(cache, target_is_directory=True)
    return folder


def _tar(*members: tuple[str, bytes, bytes]) -> bytes:
    """An archive of (name, type, content)."""
    import io

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            member.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(member, io.BytesIO(content) if member.size else None)
    return out.getvalue()


_GOOD = ("tiny/1.0.0/dataset_info.json", tarfile.REGTYPE, b"{}")
_HOSTILE = {
    "symlink": _tar(_GOOD, ("tiny/1.0.0/link", tarfile.SYMTYPE, b"")),
    "hard link": _tar(_GOOD, ("tiny/1.0.0/link", tarfile.LNKTYPE, b"")),
    "device": _tar(_GOOD, ("tiny/1.0.0/null", tarfile.CHRTYPE, b"")),
    "absolute name": _tar(_GOOD, ("/tmp/escaped", tarfile.REGTYPE, b"x")),
    "dots": _tar(_GOOD, ("tiny/1.0.0/../../../escaped", tarfile.REGTYPE, b"x")),
    "duplicate": _tar(_GOOD, _GOOD),
    "case collision": _tar(_GOOD, ("tiny/1.0.0/DATASET_info.json", tarfile.REGTYPE, b"x")),
    "empty name": _tar(_GOOD, ("", tarfile.REGTYPE, b"x")),
    "other name": _tar(_GOOD, ("other/1.0.0/x", tarfile.REGTYPE, b"x")),
    "truncated": _tar(_GOOD)[:-20],
}


@pytest.mark.parametrize("kind", _HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_is_written(machine, kind):
    """Recorded with its true sha256: only what is inside is wrong."""
    import hashlib

    machine.cache.mkdir(parents=True)
    archive = machine.cache / ARCHIVE
    archive.write_bytes(_HOSTILE[kind])
    entry = {
        "archive": ARCHIVE,
        "size": archive.stat().st_size,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "subdir": ["tiny/1.0.0"],
        "remote": None,
    }
    machine.manifest.write_text(json.dumps({"schema": 2, "datasets": {"tiny:1.0.0": entry}}))
    _one_line(machine.run("extract", "tiny", code=4))
    assert {path.name for path in machine.data_dir.iterdir()} == {"cache", "datasets.json"}


def test_a_member_that_the_sidecar_lacks_is_refused(built_machine):
    built_machine.run("package", "tiny")
    sidecar = built_machine.cache / f"{ARCHIVE}.json"
    content = json.loads(sidecar.read_text())
    content["members"] = [each for each in content["members"] if "test" not in each["path"]]
    sidecar.write_text(json.dumps(content))
    _one_line(built_machine.run("extract", "tiny", "--overwrite", code=4))
    assert built_machine.run("load", "tiny").returncode == 0


def test_a_builder_with_an_empty_split_is_refused(machine, tmp_path, builders):
    folder = tmp_path / "empty" / "tiny"
    folder.mkdir(parents=True)
    text = (builders / "tiny/tiny.py").read_text().replace("(20)", "(0)")
    (folder / "tiny.py").write_text(text)
    line = _one_line(machine.run("build", "--path", str(folder), code=1))
    assert "no examples" in line
    assert not (machine.data_dir / "tiny").exists()


def test_an_unreachable_source_is_temporary_within_thirty_seconds(machine, tmp_path, builders):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/source.zip"
    folder = tmp_path / "far" / "tiny"
    folder.mkdir(parents=True)
    text = (builders / "tiny/tiny.py").read_text()
    download = f'        dl_manager.download("{url}")\n'
    text = text.replace("        return {", f"{download}        return {{")
    (folder / "tiny.py").write_text(text)
    done = machine.run("build", "--path", str(folder), code=5)
    assert url in _one_line(done)
    assert f"dsmanager build tiny --path {folder / 'tiny.py'} --manual-dir FOLDER" in done.stderr
    assert machine.leftovers() == []


def test_several_refs_go_on_after_one_failed(built_machine, builders):
    built_machine.run("package", "tiny")
    mixed = built_machine.json("package", "tiny", "several/rgb", code=3)
    assert mixed["status"] == "partial"
    assert [row["ref"] for row in mixed["data"]] == ["several/rgb:2.1.0"]
    assert [(error["code"], error["ref"]) for error in mixed["errors"]] == [
        ("already-exists", "tiny:1.0.0")
    ]
    built_machine.run("package", "tiny", "several/rgb", code=7)


def test_a_cancelled_verb_ends_with_130_and_leaves_nothing(built_machine, wait_until):
    import signal
    import sys

    noise = built_machine.data_dir / "tiny/1.0.0/noise.bin"
    with open(noise, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20) * 8)
    process = subprocess.Popen(
        [sys.executable, "-m", "dsmanager", "package", "tiny"],
        env=built_machine.environment,
        cwd=built_machine.root,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(".tmp" in each for each in built_machine.leftovers()), "it packs")
    process.send_signal(signal.SIGTERM)
    _, narration = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "cancelled" in narration
    assert built_machine.leftovers() == []
    assert not (built_machine.cache / ARCHIVE).exists()
