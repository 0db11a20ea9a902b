"""Archives and manifests as Armory made them: plain ``tar czf``, no sidecar."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest


@pytest.fixture
def armory_machine(built_machine, machine, tmp_path):
    """A machine whose cache holds Armory's archives of one and of several configs."""
    cached = {}
    folders = {
        ("tiny", "1.0.0"): ["tiny/1.0.0"],
        ("several", "2.1.0"): ["several/rgb/2.1.0", "several/all/2.1.0", "several/.config"],
    }
    machine.cache.mkdir()
    for (name, version), subdirs in folders.items():
        archive = machine.cache / f"{name}__{version}__cache.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for subdir in subdirs:
                tar.add(machine.data_dir / subdir, arcname=subdir)
        cached[name] = {
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "size": archive.stat().st_size,
            "subdir": subdirs[0] if len(subdirs) == 1 else subdirs,
            "url": None,
            "version": version,
        }
        shutil.rmtree(machine.data_dir / name)
    manifest = machine.root / "cached_datasets.json"
    manifest.write_text(json.dumps(cached, indent=2))
    machine.extra["DSMANAGER_MANIFEST"] = str(manifest)
    return machine


@pytest.mark.parametrize("name", ["tiny", "several"])
def test_archives_of_armory_verify_extract_and_load(armory_machine, name):
    verified = armory_machine.json("verify", name)["data"][0]
    assert verified["against"] == ["the manifest"]
    armory_machine.run("extract", name)
    assert armory_machine.json("load", name)["data"][0]["examples"] in (300, 5)
    assert armory_machine.row(verified["ref"])["state"] == "ok"


def test_a_manifest_of_armory_is_read_and_never_written(armory_machine):
    before = (armory_machine.root / "cached_datasets.json").read_bytes()
    refused = armory_machine.run("manifest", "record", "tiny", code=2)
    assert "manifest import" in refused.stderr
    assert (armory_machine.root / "cached_datasets.json").read_bytes() == before


def test_import_and_export_give_the_same_records(armory_machine):
    theirs = armory_machine.root / "cached_datasets.json"
    del armory_machine.extra["DSMANAGER_MANIFEST"]
    imported = armory_machine.json("manifest", "import", str(theirs))["data"]
    assert {row["ref"] for row in imported} == {"tiny:1.0.0", "several:2.1.0"}
    ours = json.loads(armory_machine.manifest.read_text())
    assert ours["schema"] == 2
    out = armory_machine.root / "exported.json"
    armory_machine.run("manifest", "export", "--armory", "--to", str(out))
    assert json.loads(out.read_text()) == json.loads(theirs.read_text())


def test_an_archive_that_nothing_records_is_told_apart(armory_machine):
    del armory_machine.extra["DSMANAGER_MANIFEST"]
    refused = armory_machine.run("verify", "tiny", code=6)
    assert "dsmanager manifest record tiny:1.0.0" in refused.stderr
    armory_machine.run("extract", "tiny", code=6)
    armory_machine.run("manifest", "record", "tiny")
    armory_machine.run("extract", "tiny")


def test_armorys_archives_go_to_a_remote_and_come_back(
    armory_machine, other_machine, remote_config
):
    """Without a sidecar the object's metadata says what the bytes must be."""
    armory_machine.use(remote_config)
    other_machine.use(remote_config)
    armory_machine.run("upload", "tiny")
    other_machine.run("download", "tiny", "--extract")
    assert not Path(other_machine.cache / "tiny__1.0.0__cache.tar.gz.json").exists()
