"""A source whose transfer breaks is gone on with, by the next try and by the next process."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building.child.fetch import Meter, fetch, kept_path
from dsmanager.errors import DsmanagerError, TemporaryError
from dsmanager.progress import Progress

Write = Callable[..., Path]
MIB = 1 << 20
CONTENT = random.Random(1).randbytes(MIB)
TAG = {"ETag": '"one"'}
READ = "yield 0, {'x': len(open(dl_manager.download(URL), 'rb').read())}"
DATED = {"Last-Modified": "Wed, 01 Aug 2001 10:00:00 GMT"}


@pytest.fixture
def serve(server: Any) -> Callable[..., str]:
    """Serves ``content`` whose answers end after ``cut`` bytes; returns its URL."""

    def begin(
        content: bytes = CONTENT,
        cut: int | None = None,
        validators: dict[str, str] = TAG,
        name: str = "/big",
    ) -> str:
        server.files[name], server.validators[name] = content, validators
        server.cut.clear()
        if cut is not None:
            server.cut[name] = cut
        return f"{server.url}{name}"

    return begin


@pytest.mark.parametrize("validators", [TAG, DATED])
def test_a_broken_transfer_goes_on_where_it_broke(
    serve: Callable[..., str], server: Any, tmp_path: Path, validators: dict[str, str]
) -> None:
    progress = Progress()
    url = serve(cut=MIB // 3, validators=validators)
    fetched = fetch(url, tmp_path, meter=Meter(progress))
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert fetched.found_bytes == 0  # by this process alone
    starts = [int(re.sub(r"\D", "", asked)) for asked in server.ranges]
    assert len(starts) > 1
    assert starts == sorted(set(starts))
    assert (progress.snapshot().bytes_done, progress.snapshot().bytes_total) == (len(CONTENT),) * 2
    assert progress.snapshot().bytes_found == 0


@pytest.mark.parametrize(
    "validators",
    [{}, {"ETag": 'W/"one"'}, {"Last-Modified": "Fri, 01 Aug 2053 10:00:00 GMT"}],
    ids=["none", "weak", "not older than the answer"],
)
def test_what_cannot_be_told_apart_is_begun_anew(
    serve: Callable[..., str], server: Any, tmp_path: Path, validators: dict[str, str]
) -> None:
    url = serve(cut=len(CONTENT) - 1, validators=validators)
    with pytest.raises(TemporaryError, match="broke before the end"):
        fetch(url, tmp_path, keep=True, meter=Meter(Progress()), patience_s=1.5)
    assert len(server.requests) > 1
    assert server.ranges == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_meanwhile_is_begun_anew(
    serve: Callable[..., str], server: Any, tmp_path: Path
) -> None:
    other = CONTENT[::-1]
    server.at_cut = lambda: serve(other, validators={"ETag": '"two"'})
    fetched = fetch(serve(cut=MIB // 2), tmp_path, meter=Meter(Progress()))
    assert fetched.path.read_bytes() == other
    assert fetched.sha256 == hashlib.sha256(other).hexdigest()


def test_what_is_kept_is_of_use_to_the_next_process(
    serve: Callable[..., str], server: Any, tmp_path: Path
) -> None:
    server.at_cut = lambda: server.files.update({"/big": None})  # and then it is gone
    server.statuses["/big"] = 503
    url = serve(cut=MIB // 2)
    with pytest.raises(TemporaryError, match="503"):
        fetch(url, tmp_path, keep=True, meter=Meter(Progress()), patience_s=1.5)
    assert kept_path(url, tmp_path).exists()
    progress = Progress()
    fetched = fetch(serve(), tmp_path, keep=True, meter=Meter(progress))
    assert fetched.found_bytes == MIB // 2
    assert (progress.snapshot().bytes_done, progress.snapshot().bytes_found) == (MIB, MIB // 2)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert server.ranges == [f"bytes={MIB // 2}-"]
    asked = len(server.requests)
    again = fetch(url, tmp_path, keep=True, meter=Meter(Progress()))  # all of it is there
    assert (again.sha256, again.filename) == (fetched.sha256, "big")
    assert len(server.requests) == asked


@dataclass
class Odd:
    """A server that answers one request after the other as it was told, and then as it should.

    That is with CONTENT, of the state that its last answer had.
    """

    url: str
    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[str | None]
    tag: str = ""


@pytest.fixture
def odd(start_server: Callable[..., str]) -> Odd:
    state = Odd("", [], [])

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        asked, state_asked = request.headers["Range"], request.headers["If-Range"]
        state.asked.append(asked)
        if state.answers:
            status, said, body = state.answers.pop(0)
            state.tag = said.get("ETag", state.tag)
        elif asked and state_asked == state.tag:
            status, said, body = _range(int(re.sub(r"\D", "", asked)), ETag=state.tag)
        else:
            status, said, body = 200, WHOLE | {"ETag": state.tag}, CONTENT
        request.send_response(status)
        for name, value in said.items():
            request.send_header(name, value)
        request.end_headers()
        with suppress(ConnectionError):
            request.wfile.write(body)

    state.url = f"{start_server(answer)}/odd"
    return state


HALF = len(CONTENT) // 2
WHOLE = {"Content-Length": str(len(CONTENT))}


def _range(start: int, content: bytes = CONTENT, **said: str) -> tuple[int, dict[str, str], bytes]:
    size = len(content)
    said |= {
        "Content-Range": f"bytes {start}-{size - 1}/{size}",
        "Content-Length": str(size - start),
    }
    return 206, said, content[start:]


ODD: dict[str, list[tuple[int, dict[str, str], bytes]]] = {
    "a state without a name in between": [
        (200, WHOLE | TAG, CONTENT[:HALF]),
        (200, WHOLE, CONTENT[: HALF // 2]),
    ],
    "the rest of another state": [
        (200, WHOLE | TAG, bytes(HALF)),
        _range(HALF, ETag='"two"'),
    ],
    "the rest of a longer file": [
        (200, WHOLE | TAG, bytes(HALF)),
        _range(HALF, CONTENT * 2, **TAG),
    ],
    "another range": [
        (200, WHOLE | TAG, CONTENT[:HALF]),
        _range(HALF // 2, **TAG),
    ],
    "no such range": [
        (200, WHOLE | TAG, CONTENT[:HALF]),
        (416, {"Content-Length": "0"}, b""),
    ],
    "the rest, packed": [
        (200, WHOLE | TAG, CONTENT[:HALF]),
        (206, _range(HALF)[1] | TAG | {"Content-Encoding": "gzip"}, gzip.compress(CONTENT[HALF:])),
    ],
    "all of it as a range": [_range(0, **TAG)],
    "more than was said": [
        (200, WHOLE | TAG, CONTENT[:HALF]),
        (206, {"Content-Range": _range(HALF)[1]["Content-Range"]}, CONTENT[HALF:] * 2),
    ],
}


@pytest.mark.parametrize("answers", ODD.values(), ids=list(ODD))
def test_odd_answers_never_become_wrong_content(
    odd: Odd, tmp_path: Path, answers: list[tuple[int, dict[str, str], bytes]]
) -> None:
    odd.answers = list(answers)
    progress = Progress()
    fetched = fetch(odd.url, tmp_path, meter=Meter(progress))
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (progress.snapshot().bytes_done, progress.snapshot().bytes_total) == (len(CONTENT),) * 2


def test_a_server_that_sends_no_ranges_sends_the_whole_again(odd: Odd, tmp_path: Path) -> None:
    progress = Progress()
    odd.answers = [(200, WHOLE | TAG, CONTENT[:HALF]), (200, WHOLE | TAG, CONTENT)]
    fetched = fetch(odd.url, tmp_path, meter=Meter(progress))
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert odd.asked == [None, f"bytes={HALF}-"]
    assert (progress.snapshot().bytes_done, progress.snapshot().bytes_total) == (len(CONTENT),) * 2


def test_more_than_was_said_within_a_block_is_given_up(odd: Odd, tmp_path: Path) -> None:
    content = CONTENT[:-100]
    said = {"Content-Range": _range(HALF, content)[1]["Content-Range"]}
    odd.answers = [(200, {"Content-Length": str(len(content)), **TAG}, CONTENT[:HALF])]
    odd.answers += [(206, said, CONTENT[HALF:])] * 9
    with pytest.raises(DsmanagerError):
        fetch(odd.url, tmp_path, meter=Meter(Progress()))
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_nobody_asked_for_is_refused(odd: Odd, tmp_path: Path) -> None:
    odd.answers = [_range(HALF)] * 2
    with pytest.raises(DsmanagerError, match="206"):
        fetch(odd.url, tmp_path, meter=Meter(Progress()))
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_leads_in_a_circle_is_refused_at_once(server: Any, tmp_path: Path) -> None:
    server.redirects["/round"] = "/round"
    with pytest.raises(DsmanagerError, match="leads in a circle"):
        fetch(f"{server.url}/round", tmp_path, meter=Meter(Progress()))


def _checksums(url: str, content: bytes = CONTENT) -> str:
    return f"{url}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\tbig\n"


def _kept(bench: Any) -> list[Path]:
    return [path for path in bench.leftovers if re.fullmatch("[0-9a-f]{16}", path.name)]


def _interrupted(
    bench: Any, server: Any, home: Path, serve: Callable[..., str], **options: Any
) -> None:
    """A build that has got half of its source."""
    serve(cut=MIB // 2)
    server.statuses["/big"] = 401
    server.at_cut = lambda: server.files.update({"/big": None})
    with pytest.raises(DsmanagerError, match="401"):
        bench.build(home, **options)
    server.at_cut = bool


@pytest.fixture
def half_fetched(bench: Any, server: Any, serve: Callable[..., str], write_builder: Write) -> Path:
    """A builder whose build has got half of its source, which has a recorded checksum."""
    url = serve()
    home = write_builder(top=f"URL = {url!r}", body=READ, checksums=_checksums(url))
    _interrupted(bench, server, home, serve)
    return home


def test_the_next_build_goes_on(
    bench: Any, server: Any, serve: Callable[..., str], half_fetched: Path
) -> None:
    assert len(_kept(bench)) == 1
    serve()
    bench.build(half_fetched)
    assert server.ranges == [f"bytes={MIB // 2}-"]
    assert not list(bench.data_dir.rglob("*.tmp"))


def test_a_clean_build_uses_nothing_that_is_kept(
    bench: Any, server: Any, serve: Callable[..., str], half_fetched: Path
) -> None:
    serve()
    bench.build(half_fetched, clean=True)
    assert server.ranges == []


def test_what_is_kept_and_damaged_is_fetched_again(
    bench: Any, server: Any, serve: Callable[..., str], half_fetched: Path
) -> None:
    (kept,) = _kept(bench)
    with open(kept, "r+b") as file:
        file.write(b"damage")
    serve()
    bench.build(half_fetched)
    assert server.ranges == [f"bytes={MIB // 2}-"]
    assert server.requests[-1] == "/big"
    assert not list(bench.data_dir.rglob("*.tmp"))


def test_what_is_kept_is_of_one_data_dir(
    bench: Any, server: Any, serve: Callable[..., str], write_builder: Write, tmp_path: Path
) -> None:
    url, shared = serve(), tmp_path / "downloads"
    home = write_builder(top=f"URL = {url!r}", body=READ, checksums=_checksums(url))
    _interrupted(bench, server, home, serve, download_dir=shared)
    (part,) = (path for path in shared.rglob("*") if re.fullmatch("[0-9a-f]{16}", path.name))
    serve()
    type(bench)(tmp_path / "other").build(home, download_dir=shared)
    assert part.exists()
    assert server.ranges == []


def test_a_source_without_a_recorded_checksum_is_not_kept(
    bench: Any, server: Any, serve: Callable[..., str], write_builder: Write
) -> None:
    home = write_builder(top=f"URL = {serve()!r}", body=READ)
    _interrupted(bench, server, home, serve)
    assert bench.leftovers == []


def test_a_source_that_is_named_twice_is_fetched_once(
    bench: Any, server: Any, serve: Callable[..., str], write_builder: Write
) -> None:
    url = serve()
    twice = "[tfds.download.Resource(url=URL), tfds.download.Resource(url=URL)]"
    body = f"first, second = dl_manager.download({twice})\nyield 0, {{'x': int(first == second)}}"
    home = write_builder(top=f"URL = {url!r}", body=body, checksums=_checksums(url))
    bench.build(home)
    assert server.requests == ["/big"]


def test_a_killed_build_is_gone_on_with(
    bench: Any,
    server: Any,
    serve: Callable[..., str],
    write_builder: Write,
    wait_until: Callable[[Callable[[], bool], str], None],
    tmp_path: Path,
) -> None:
    content = os.urandom(MIB) * 40
    url = serve(content, cut=36 * MIB)
    home = write_builder(top=f"URL = {url!r}", body=READ, checksums=_checksums(url, content))
    is_over = threading.Event()
    server.at_cut = is_over.wait  # neither more bytes nor an end
    command = [sys.executable, "-m", "dsmanager", "build", "--path", str(home)]
    command += ["--data-dir", str(bench.data_dir)]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        notes = re.compile(rb'"there": \[\[0, \d+\]\]')
        wait_until(
            lambda: any(
                notes.search(path.read_bytes())
                for path in bench.data_dir.rglob("*/????????????????.json")
            ),
            "notes of what has arrived",
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        is_over.set()
    serve(content)
    subprocess.run(command, env=environment, capture_output=True, check=True)
    (asked,) = server.ranges
    assert 16 * MIB <= int(re.sub(r"\D", "", asked)) <= 36 * MIB
    assert not list((bench.data_dir / "downloads").glob(".*"))
