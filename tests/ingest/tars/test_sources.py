"""Tars behind HTTP, in S3 and in AIStore give what they give from disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.objects import ObjectServer, serving
from harness.tars import photos, tree_bytes, write_tar

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    UsageError,
)
from dsmanager.ingest import web
from dsmanager.progress import Progress
from dsmanager.remotes.remote import Remote
from dsmanager.settings import Settings, add_remote

NAMES = [f"train-{number}.tar.gz" for number in range(3)]


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with serving() as server:
        yield server


@pytest.fixture
def tars(tmp_path: Path) -> dict[str, bytes]:
    """Three, on disk and as bytes."""
    for number, name in enumerate(NAMES):
        write_tar(tmp_path / name, photos(10 * number, 8), "gz")
    return {name: (tmp_path / name).read_bytes() for name in NAMES}


def shards(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree_bytes(folder).items() if ".tfrecord" in name}


def test_http_gives_what_the_disk_gives(convert, tars, server, tmp_path: Path) -> None:
    server.objects = {f"/data/{name}": content for name, content in tars.items()}
    progress = Progress()
    done = convert(f"{server.url}/data/train-{{0..2}}.tar.gz", dest="web", progress=progress)
    convert("train-{0..2}.tar.gz", dest="disk")
    assert shards(tmp_path / "web") == shards(tmp_path / "disk")
    assert done.records == progress.snapshot().items_done == 24
    assert progress.snapshot().bytes_done == sum(map(len, tars.values()))


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_broken_connection_is_gone_on_with(
    convert, tars, server, tmp_path: Path, has_ranges: bool
) -> None:
    server.objects = {f"/{name}": content for name, content in tars.items()}
    server.has_ranges = has_ranges
    server.break_after = [3000, 1500, 0]
    progress = Progress()
    convert(f"{server.url}/train-0.tar.gz", dest="web", progress=progress)
    convert("train-0.tar.gz", dest="disk")
    assert shards(tmp_path / "web") == shards(tmp_path / "disk")
    assert progress.snapshot().bytes_done == len(tars["train-0.tar.gz"])
    asked = [headers.get("Range") for method, _, headers in server.requests if method == "GET"]
    assert asked[:2] == [None, "bytes=3000-"]


def test_an_object_that_changes_meanwhile_is_an_error(
    convert, tars, server, tmp_path: Path
) -> None:
    server.objects = {"/t.tar.gz": tars[NAMES[0]]}
    content = itertools.chain([tars[NAMES[0]]], itertools.repeat(tars[NAMES[1]]))

    class Changing(dict):
        def get(self, path: str, default: Any = None) -> Any:
            return next(content)

    server.objects = Changing()
    with pytest.raises(TemporaryError, match="changed while it was read"):
        convert(f"{server.url}/t.tar.gz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["t.tar", "t.tar.gz"])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    convert, tmp_path: Path, name: str
) -> None:
    """What was read of it before is not put together with what was read after."""
    path = write_tar(tmp_path / name, photos(0, 30), "gz" if name.endswith("gz") else "")

    class Changing(Progress):
        def add_items(self, count: int = 1) -> None:
            super().add_items(count)
            write_tar(path, photos(5, 30), "gz" if name.endswith("gz") else "")

    with pytest.raises(TemporaryError, match=rf"{name} changed since the conversion began"):
        convert(name, progress=Changing())
    assert not (tmp_path / "out").exists()
    convert(name)
    convert(name, dest="fresh")
    assert shards(tmp_path / "out") == shards(tmp_path / "fresh")


def test_a_server_in_trouble_is_asked_again(convert, tars, server) -> None:
    server.objects = {"/t.tar.gz": tars[NAMES[0]]}
    server.fails = [503, 429]
    assert convert(f"{server.url}/t.tar.gz").records == 8


def test_what_a_server_says_decides_the_error(
    convert, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match=r"2 of 2 sources .*train-0\.tar.*404"):
        convert(f"{server.url}/train-{{0,1}}.tar")
    server.fails = [403]
    with pytest.raises(CredentialsError, match="may not be read"):
        convert(f"{server.url}/train-0.tar")
    for url in ("http://[/t.tar", "http://a..b/t.tar"):
        with pytest.raises(DsmanagerError, match="is no URL"):
            convert(url)
    with pytest.raises(UsageError, match="nothing reads gopher"):
        convert("gopher://host/train-0.tar")
    monkeypatch.setattr(web, "PATIENCE_S", 0.5)
    with pytest.raises(TemporaryError, match=r"cannot be reached: .*refused$") as caught:
        convert("http://user:secret@127.0.0.1:9/t.tar")
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_s3_goes_through_the_configured_remote_of_the_bucket(
    convert, tars, seaweedfs, remote_config, tmp_path: Path
) -> None:
    with Remote(remote_config) as remote:
        for name, content in tars.items():
            remote.upload_bytes(content, name)
    add_remote(tmp_path / "config.toml", remote_config)
    environ = {"DSMANAGER_CONFIG": str(tmp_path / "config.toml")}
    settings = Settings.load(environ=environ, working_dir=tmp_path)
    place = f"s3://{seaweedfs.bucket}/{remote_config.prefix}"
    done = convert(f"{place}/train-{{0..2}}.tar.gz", dest="s3", settings=settings, workers=2)
    convert("train-{0..2}.tar.gz", dest="disk")
    assert done.records == 24
    assert shards(tmp_path / "s3") == shards(tmp_path / "disk")
    with pytest.raises(NotFoundError, match=r"train-3\.tar\.gz is not there"):
        convert(f"{place}/train-{{0..3}}.tar.gz", dest="other", settings=settings)
    assert not (tmp_path / "other").exists()


def test_s3_without_a_remote_goes_by_the_environment(
    convert, tars, seaweedfs, remote_config, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Remote(remote_config) as remote:
        remote.upload_bytes(tars[NAMES[0]], "train-0.tar.gz")
    for name, value in seaweedfs.environment().items():
        monkeypatch.setenv(name, value)
    url = f"s3://{seaweedfs.bucket}/{remote_config.prefix}/train-0.tar.gz"
    assert convert(url).records == 8
    with pytest.raises(UsageError, match="names no object"):
        convert(f"s3://{seaweedfs.bucket}", dest="other")


def test_aistore_is_read_through_its_s3_api_and_redirects(
    convert, tars, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects = {f"/my-bucket/x y/{name}": content for name, content in tars.items()}
    server.token = "abc"
    with pytest.raises(UsageError, match="nobody says where the AIStore cluster is"):
        convert("ais://my-bucket/x y/train-{0..2}.tar.gz")
    monkeypatch.setenv("AIS_ENDPOINT", server.url)
    with pytest.raises(CredentialsError, match="may not be read"):
        convert("ais://my-bucket/x y/train-{0..2}.tar.gz")
    monkeypatch.setenv("AIS_AUTHN_TOKEN", "abc")
    server.break_after = [2000]
    convert("ais://my-bucket/x y/train-{0..2}.tar.gz", dest="ais")
    convert("train-{0..2}.tar.gz", dest="disk")
    assert shards(tmp_path / "ais") == shards(tmp_path / "disk")
    assert any(path.startswith("/s3/my-bucket/x y/") for path in server.asked("GET"))
    with pytest.raises(NotFoundError, match=r"train-3\.tar\.gz is not there"):
        convert("ais://my-bucket/x y/train-3.tar.gz", dest="other")
