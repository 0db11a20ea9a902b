"""Sources: fetched from a real server, checked, kept, taken from a manual folder, unpacked."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building.child.fetch import Meter, fetch
from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    VerificationError,
)
from dsmanager.progress import Progress

Write = Callable[..., Path]
CONTENT = b"7"
READ = "yield 0, {'x': int(open(dl_manager.download(URL)).read())}"


def _line(url: str, content: bytes = CONTENT, name: str = "number.txt") -> str:
    return f"{url}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\t{name}\n"


@pytest.fixture
def reader(write_builder: Write, server: Any) -> Callable[..., Path]:
    """Writes a builder that reads a number from ``/number.txt`` of the server."""
    url = f"{server.url}/number.txt"

    def write(body: str = READ, **options: Any) -> Path:
        return write_builder(top=f"URL = {url!r}", body=body, **options)

    server.files["/number.txt"] = CONTENT
    return write


def test_a_source_is_fetched_once_and_its_checksum_recorded(
    bench: Any, server: Any, reader: Write, no_tensorflow: Path
) -> None:
    home = reader(checksums=_line(f"{server.url}/number.txt"))
    tree = bench.build(home)
    bench.build(home)
    assert server.requests == ["/number.txt"]
    assert hashlib.sha256(CONTENT).hexdigest() in (tree / "provenance.json").read_text()
    assert not list(bench.data_dir.rglob("*.tmp"))
    bench.build(home, clean=True)
    assert len(server.requests) == 2


def test_a_source_without_a_recorded_checksum_is_allowed_as_in_tfds(
    bench: Any, server: Any, reader: Write
) -> None:
    bench.build(reader())
    bench.build(reader())
    assert server.requests == ["/number.txt"]


def test_a_kept_download_that_changed_is_fetched_again(
    bench: Any, server: Any, reader: Write
) -> None:
    home = reader(checksums=_line(f"{server.url}/number.txt"))
    bench.build(home)
    kept = next(path for path in bench.leftovers if path.name.endswith(".txt"))
    kept.write_bytes(b"8")
    bench.build(home)
    assert kept.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_another_content_than_recorded_is_refused_and_not_kept(
    bench: Any, server: Any, reader: Write
) -> None:
    home = reader(checksums=_line(f"{server.url}/number.txt", b"8"))
    with pytest.raises(VerificationError) as caught:
        bench.build(home)
    for said in (server.url, hashlib.sha256(b"7").hexdigest(), hashlib.sha256(b"8").hexdigest()):
        assert said in caught.value.message
    assert bench.leftovers == []


def test_a_source_that_is_gone_is_not_found(bench: Any, server: Any, reader: Write) -> None:
    server.files.clear()
    with pytest.raises(NotFoundError, match="404") as caught:
        bench.build(reader())
    assert server.url in caught.value.message
    assert "--manual-dir" in (caught.value.hint or "")
    assert bench.leftovers == []


def test_a_forbidden_source_wants_credentials(server: Any, tmp_path: Path) -> None:
    server.statuses["/closed"] = 403
    with pytest.raises(CredentialsError, match="403"):
        fetch(f"{server.url}/closed", tmp_path, meter=Meter(Progress()))


def test_a_truncated_answer_is_never_taken_for_the_whole(server: Any, tmp_path: Path) -> None:
    server.files["/big"] = bytes(100_000)
    server.cut["/big"] = 50_000
    progress = Progress()
    with pytest.raises(TemporaryError, match="broke before the end"):
        fetch(f"{server.url}/big", tmp_path, meter=Meter(progress), patience_s=1.5)
    assert len(server.requests) > 1
    assert list(tmp_path.iterdir()) == []
    assert progress.snapshot().bytes_done == 0


def test_a_server_in_trouble_is_asked_again(server: Any, tmp_path: Path) -> None:
    server.statuses["/busy"] = 503
    with pytest.raises(TemporaryError, match="503"):
        fetch(f"{server.url}/busy", tmp_path, meter=Meter(Progress()), patience_s=1.5)
    assert len(server.requests) > 1


def test_a_refused_connection_ends_soon_and_names_the_manual_folder(
    bench: Any, write_builder: Write
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # not listening: connections are refused
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/number.txt"
        started = time.monotonic()
        with pytest.raises(TemporaryError, match="Connection refused") as caught:
            bench.build(write_builder(top=f"URL = {url!r}", body=READ))
    assert time.monotonic() - started < 30
    assert url in caught.value.message
    assert (caught.value.hint or "").endswith("dsmanager build NAME --manual-dir FOLDER")
    assert bench.leftovers == []


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(TemporaryError, match="no answer in time"):
            fetch(url, tmp_path, meter=Meter(Progress()), patience_s=1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_server_knows_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"nowhere\.invalid"):
        fetch("http://nowhere.invalid/x", tmp_path, meter=Meter(Progress()), patience_s=1.0)


def test_file_urls_are_copied(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(CONTENT)
    fetched = fetch((tmp_path / "a b").as_uri(), tmp_path / "in", meter=Meter(Progress()))
    assert (fetched.filename, fetched.path.read_bytes()) == ("a b", CONTENT)
    with pytest.raises(NotFoundError):
        fetch((tmp_path / "none").as_uri(), tmp_path / "in", meter=Meter(Progress()))
    with pytest.raises(DsmanagerError, match="only http"):
        fetch("gopher://x/y", tmp_path / "in", meter=Meter(Progress()))


def test_secrets_in_a_url_are_not_shown(server: Any, tmp_path: Path) -> None:
    url = server.url.replace("http://", "http://user:secret@") + "/none"
    with pytest.raises(NotFoundError) as caught:
        fetch(url, tmp_path, meter=Meter(Progress()))
    assert "secret" not in caught.value.message


def test_a_file_in_the_manual_folder_is_used_and_checked(
    bench: Any, server: Any, reader: Write, tmp_path: Path
) -> None:
    home = reader(checksums=_line(f"{server.url}/number.txt"))
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "number.txt").write_bytes(CONTENT)
    bench.build(home, manual_dir=manual)
    (manual / "number.txt").write_bytes(b"9")
    with pytest.raises(VerificationError, match=r"manual/number\.txt"):
        bench.build(home, manual_dir=manual)
    assert server.requests == []


def test_an_empty_manual_folder_shows_the_builders_instructions(
    bench: Any, write_builder: Write
) -> None:
    extra = 'MANUAL_DOWNLOAD_INSTRUCTIONS = """Ask the\n  authors."""'
    home = write_builder(body="print(dl_manager.manual_dir)\nyield 0, {'x': 1}", extra=extra)
    with pytest.raises(NotFoundError, match=r"has none\. Ask the authors\.") as caught:
        bench.build(home)
    assert caught.value.hint == "dsmanager build NAME --manual-dir FOLDER"


def _tar(mode: str, *names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(CONTENT)
            tar.addfile(member, io.BytesIO(CONTENT))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    return buffer.getvalue()


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, CONTENT)
    return buffer.getvalue()


NAMES = ("in/number", "../outside", "/absolute")
ARCHIVES = {
    "a.tar": lambda: _tar("w", *NAMES),
    "a.tar.gz": lambda: _tar("w:gz", *NAMES),
    "a.tar.bz2": lambda: _tar("w:bz2", *NAMES),
    "a.zip": lambda: _zip(*NAMES),
}


def test_archives_are_unpacked_without_what_leads_outside(
    bench: Any, server: Any, write_builder: Write, no_tensorflow: Path
) -> None:
    server.files |= {f"/{name}": make() for name, make in ARCHIVES.items()}
    body = f"""
    import os, pathlib
    for number, name in enumerate({list(ARCHIVES)}):
        url = '{server.url}/' + name
        folder = dl_manager.download_and_extract({{'a': [url]}})['a'][0]
        files = [p for p in pathlib.Path(folder).rglob('*') if p.is_file()]
        assert [os.fspath(p.relative_to(folder)) for p in files] == ['in/number'], (name, files)
        archive = dl_manager.download(url)
        inside = {{path: file.read() for path, file in dl_manager.iter_archive(archive)}}
        assert inside == {{'in/number': b'7'}}, (name, inside)
        yield number, {{'x': int(files[0].read_text())}}
    """
    bench.build(write_builder(body=body))
    bench.build(write_builder(body=body))
    assert server.requests == [f"/{name}" for name in ARCHIVES]


def test_packed_single_files_become_files(bench: Any, server: Any, write_builder: Write) -> None:
    server.files |= {"/n.gz": gzip.compress(CONTENT), "/n.bz2": bz2.compress(CONTENT)}
    body = f"""
    for name in ('n.gz', 'n.bz2'):
        path = dl_manager.download_and_extract('{server.url}/' + name)
        yield name, {{'x': int(path.read_text())}}
    """
    bench.build(write_builder(body=body))


def test_a_broken_archive_is_named(bench: Any, server: Any, write_builder: Write) -> None:
    server.files["/a.tar.gz"] = _tar("w:gz", "in/number")[:60]
    body = f"dl_manager.download_and_extract('{server.url}/a.tar.gz')\nyield 0, {{'x': 1}}"
    with pytest.raises(VerificationError, match=r"\.tar\.gz cannot be unpacked"):
        bench.build(write_builder(body=body))


def test_a_manual_archive_that_changed_is_unpacked_anew(
    bench: Any, write_builder: Write, tmp_path: Path
) -> None:
    manual = tmp_path / "manual"
    manual.mkdir()
    body = """
    folder = dl_manager.extract(dl_manager.manual_dir / 'a.zip')
    print('sees', sorted(p.name for p in folder.iterdir()))
    yield 0, {'x': 1}
    """
    home = write_builder(body=body, extra="MANUAL_DOWNLOAD_INSTRUCTIONS = 'a.zip'")
    for name in ("one", "two"):
        (manual / "a.zip").write_bytes(_zip(name))
        bench.build(home, manual_dir=manual)
    assert "sees ['one']" in bench.log_path.read_text()
    assert "sees ['two']" in bench.log_path.read_text()
    assert bench.leftovers == []
