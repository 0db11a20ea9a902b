"""What a sync asks of the remote, counted by a proxy in front of a real server."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from dsmanager.archives.sidecar import read_sidecar, sidecar_path
from dsmanager.manifest import update_manifest
from dsmanager.refs import Ref
from dsmanager.syncing.plan import Options
from dsmanager.syncing.sync import sync

REF = "digit:1.0.8"
COUNT = 10


@pytest.fixture
def many(publish, machine, proxy, remote_config):
    """A machine that is complete: copies of one dataset under many names, here and on the remote.

    Nothing is remembered of the remote's objects.
    """
    team = publish(REF)
    machine.use(proxy.config(remote_config))
    (entry,) = team.library.manifest.entries.values()
    source = team.archive(REF)
    sidecar = read_sidecar(source)
    (machine.data_dir / "cache").mkdir()
    entries = []
    for number in range(COUNT):
        ref = Ref(f"set_{number}", None, "1.0.0")
        name = ref.archive_name()
        shutil.copy2(source, machine.data_dir / "cache" / name)
        new = replace(sidecar, ref=ref, archive=name)
        text = new.to_bytes().replace(b"digit/1.0.8", str(ref.subdir).encode())
        sidecar_path(machine.data_dir / "cache" / name).write_bytes(text)
        for path in (name, f"{name}.json"):
            content = (machine.data_dir / "cache" / path).read_bytes()
            team.library.remote.upload_bytes(content, path)
        entries.append(entry._replace(ref=ref, archive=name, subdir=(str(ref.subdir),)))

    update_manifest(machine.manifest, lambda table: table.update({e.ref: e for e in entries}))
    proxy.requests.clear()
    return machine


def marks(result):
    return {row.line.mark for row in result.rows if row.line.ref.name != "digit"}


@pytest.mark.parametrize("push", [False, True])
def test_nothing_to_do_sends_only_listings_and_says_what_is_not_checked(many, proxy, push):
    result = sync(many.library, (), Options(push=push))
    assert {row.outcome for row in result.rows} == {"kept"}
    assert proxy.methods() == {"LIST"}
    assert len(proxy.requests) == 1
    assert marks(result) == {"?"}
    assert "the remote not checked" in result.rows[-1].line.reason


def test_verify_asks_once_and_remembers(many, proxy):
    result = sync(many.library, (), Options(verify=True, extract=False))
    assert not result.errors
    assert [method for method, _ in proxy.requests].count("HEAD") == COUNT
    proxy.requests.clear()
    result = sync(many.library)
    assert proxy.methods() == {"LIST"}
    assert marks(result) == {"="}
