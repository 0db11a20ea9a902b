"""What fuzzing the parsers of raw sources found, each with its own name."""

from __future__ import annotations

import socketserver
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsmanager.archives.paths import MalformedError
from dsmanager.errors import DsmanagerError, TemporaryError, UsageError
from dsmanager.ingest import web
from dsmanager.ingest.imagenet.annotations import BadAnnotationError, boxes
from dsmanager.ingest.tars.metadata import read_index
from dsmanager.ingest.tars.stream import FileStream, LeftOut, TarReader, _pax_records
from dsmanager.ingest.tars.task import _unpacked
from dsmanager.ingest.templates import expand, stem_of
from dsmanager.progress import CancelToken, Progress

CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("template", ["{," * 1300 + "}" * 1300, "{a..a}" * 680, "{" * 4000])
def test_a_template_of_too_many_braces_is_a_usage_error(template: str) -> None:
    """Python would come to the end of its recursion, or of its day."""
    with pytest.raises(UsageError, match="more than 64 braces"):
        expand(template)


@pytest.mark.parametrize("template", ["a.tf.tfrecordrecord", "a-.tfrecord.tar", "a.tfrecord-"])
def test_what_shards_are_called_does_not_look_like_their_format(template: str) -> None:
    assert stem_of(template) == "a"


@pytest.mark.parametrize("encoding", ["no-such", "utf-7", "rot13", "idna", "cp037", "punycode"])
def test_an_annotation_in_an_encoding_that_is_none_is_a_bad_annotation(encoding: str) -> None:
    with pytest.raises(BadAnnotationError, match="it is no XML"):
        boxes(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>'.encode())


def test_a_pax_record_whose_length_has_no_end_is_refused() -> None:
    with pytest.raises(MalformedError, match="PAX header is damaged"):
        _pax_records(b"00000020xpath=p.jpg\n")


def test_a_size_that_is_a_lie_does_not_make_room_for_it(tmp_path: Path) -> None:
    member, path = tarfile.TarInfo("a.jpg"), tmp_path / "t.tar"
    member.size = 2**31 - 1
    path.write_bytes(member.tobuf() + bytes(1024))
    tracemalloc.start()
    try:
        with open(path, "rb", buffering=0) as file:
            reader = TarReader(FileStream(file, Progress()), LeftOut())
            next(iter(reader))
            with pytest.raises(MalformedError, match="its content ends at byte 1,536"):
                reader.read()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_xz_header_cannot_ask_for_more_memory_than_any_tar_needs() -> None:
    raw = (CORPUS / "unpacking" / "xz-huge-dictionary").read_bytes()
    with pytest.raises(MalformedError, match="Memory usage limit"):
        list(_unpacked(chunk for chunk in [raw]))


@pytest.mark.parametrize("name", ["null-in-a-name", "surrogate", "negative", "deep", "list"])
def test_an_index_that_cannot_be_ours_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes((CORPUS / "conversion_index" / name).read_bytes())
    assert read_index(tmp_path) is None


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The URL of a server that says these bytes to whoever asks."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                continue
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/t.tar"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("place", [b"http://[", b"\xff\xfe"])
def test_a_redirect_to_nowhere_is_our_error(place: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as url, pytest.raises(DsmanagerError, match="makes no sense"):
        web.WebObject(url).look(CancelToken())


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"x"])
def test_a_length_that_is_no_number_is_as_none(length: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nETag: a\r\nContent-Length: " + length + b"\r\n\r\n"
    with answering(answer) as url:
        assert web.WebObject(url).look(CancelToken()) == (None, "a")


def test_a_chunk_of_negative_length_is_a_broken_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "PATIENCE_S", 0.0)
    answer = b"HTTP/1.1 200 OK\r\nETag: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc"
    with answering(answer) as url, pytest.raises(TemporaryError, match="broke after 0 bytes"):
        list(web.WebObject(url).chunks("a", Progress(), CancelToken()))
