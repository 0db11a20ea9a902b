"""Real processes, killed at 70 %: the next one moves what is missing and not much more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsmanager.errors import CancelledError
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.settings import Settings

SIZE = 96 << 20
MISSING = 0.30


@pytest.fixture
def bench(one_gib: ModuleType, seaweedfs: Any, tmp_path: Path) -> Iterator[Any]:
    with closing(one_gib.CountingProxy(seaweedfs.endpoint_url)) as proxy:
        yield one_gib.Bench(tmp_path, proxy, seaweedfs.config())


def test_killed_transfers_go_on_and_a_replaced_object_is_noticed(
    one_gib: ModuleType, bench: Any
) -> None:
    sent, sha256 = one_gib.interrupted_upload(bench, SIZE)
    in_flight = 4 * (8 << 20) / SIZE
    assert sent <= MISSING + in_flight + 0.02
    fetched = one_gib.interrupted_download(bench, SIZE, sha256)
    unsaved = 2 * (16 << 20) / SIZE
    assert fetched <= MISSING + unsaved + 0.02
    assert one_gib.replaced_download(bench, SIZE) >= 0.99


def test_a_part_damaged_on_disk_is_found_and_all_is_fetched_again(
    one_gib: ModuleType, bench: Any, cancelled_after: Callable[[int], dict[str, Any]]
) -> None:
    root = bench.machine("sender")
    sha256 = one_gib.some_archive(root, 40 << 20)
    bench.finish(root, "upload")
    receiver = bench.machine("receiver")
    environ = {"DSMANAGER_CONFIG": str(receiver / "config.toml")}
    environ |= {f"DSMANAGER_{each}_DIR": str(receiver / each.lower()) for each in ("STATE", "DATA")}
    library = Library(settings=Settings.load(environ=environ, working_dir=receiver))
    with pytest.raises(CancelledError):
        library.download(one_gib.REF, **cancelled_after(30 << 20))
    part = receiver / "data" / "cache" / f".{one_gib.ARCHIVE}.part"
    with open(part, "r+b") as file:
        damaged = bytes([file.read(1)[0] ^ 1])
        file.seek(0)
        file.write(damaged)
    _, words = bench.finish(receiver, "download")
    assert "is damaged; fetching all of it again" in words
    assert one_gib.sha256_of(receiver / "data" / "cache" / one_gib.ARCHIVE) == sha256
    assert bench.leftovers(receiver) == []


def test_an_upload_that_somebody_else_finished_leaves_nothing(
    one_gib: ModuleType, bench: Any
) -> None:
    root = bench.machine("sender")
    sha256 = one_gib.some_archive(root, 40 << 20)
    bench.kill_at(root, "upload", 20 << 20)
    with Remote(bench.direct) as remote:
        assert len(remote.unfinished_uploads()) == 1
        archive = root / "data" / "cache" / one_gib.ARCHIVE
        run = {"progress": Progress(), "cancel": CancelToken()}
        remote.upload_file(archive, archive.name, size=40 << 20, sha256=sha256, **run)
    moved, _ = bench.finish(root, "upload")
    assert moved < 100_000
    assert bench.leftovers(root) == []
