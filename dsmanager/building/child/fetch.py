"""Fetches one source file by URL: bounded in time, hashed as it arrives, whole or not at all.

A source that gives no byte for 25 seconds, refused or silent, over all tries, is given up. A server
that tells one state of a file from another (RFC 9110, sections 8.8 and 14) is asked for the rest
when a transfer has broken, and by the next process, too, where what arrived is kept. This module
knows nothing of checksums that are expected; it says what came.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import requests

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    TemporaryError,
    os_errors,
)
from dsmanager.files import flush_file
from dsmanager.partial import PartialFile, discard_part, noted_part
from dsmanager.progress import Progress, Stopwatch
from dsmanager.text import plain, redact

__all__ = ["Fetched", "Meter", "fetch", "kept_path"]

PATIENCE_S = 25.0
_CONNECT_S = 8.0
_SILENCE_S = 20.0
_TRIES = 4
"""One after the other that bring nothing."""
_BLOCK_BYTES = 1 << 16  # what has come of one is lost when the connection breaks within it
_DRIVE = "https://drive.google.com/"
_RESUMABLE = (CredentialsError, NoSpaceError, TemporaryError)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that arrived: where it is, what it is called at its source, and what it holds."""

    path: Path
    filename: str
    size_bytes: int
    sha256: str
    found_bytes: int
    """So much of it is from an earlier process."""


class Meter:
    """Bytes of all downloads of a build, on one progress; totals grow as servers tell sizes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._done = self._total = self._found = 0

    def add(self, done: int, total: int = 0, found: int = 0) -> None:
        """``found`` of those done are of an earlier process."""
        with self._lock:
            if self._progress.snapshot().phase != "download":
                self._progress.start_phase("download")
            self._done += done
            self._total += total
            self._found += found
            total = max(self._done, self._total)
            self._progress.set_bytes(self._done, total or None, self._found)


class _TransientError(Exception):
    """A failure that another try may not have."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a source sends: a file, or the rest of one."""

    filename: str
    size_bytes: int
    """Of the whole file; 0 where the source does not say."""
    blocks: Iterable[bytes]
    validator: str | None = None
    """What is another one when the file is."""
    start: int = 0
    """Where in the file the first block begins."""


def fetch(
    url: str,
    folder: Path,
    *,
    keep: bool = False,
    meter: Meter,
    patience_s: float = PATIENCE_S,
) -> Fetched:
    """Fetches ``url`` (http, https, ftp or file) into a new file of ``folder``.

    Notes lie beside it: ``discard_part`` removes both. With ``keep`` it is :func:`kept_path`: what
    an earlier process left of it is not fetched again, and this call leaves as much when it fails.
    Whoever asks for that looks at the checksum, and nobody else fetches the same into the same
    folder meanwhile. Raises TemporaryError when the source cannot be reached or stops,
    NotFoundError when it does not have the file, CredentialsError when it wants some.
    """
    path = kept_path(url, folder) if keep else folder / secrets.token_hex(8)
    with os_errors("store a download"):
        folder.mkdir(parents=True, exist_ok=True)
    arrival = _Arrival(url, path, meter)
    try:
        if keep:
            arrival.take_up()
        return _fetch(url, arrival, patience_s)
    except BaseException as error:
        arrival.give_up(keep and isinstance(error, _RESUMABLE))
        if isinstance(error, DsmanagerError):
            error.hint = error.hint or (
                f"put {os.path.basename(urllib.parse.urlsplit(url).path) or 'it'} in a folder "
                "yourself, then: dsmanager build NAME --manual-dir FOLDER"
            )
        raise


def kept_path(url: str, folder: Path) -> Path:
    """Where a file of that URL lies while it arrives, and is kept when that is interrupted."""
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16]


class _Arrival:
    """One file on its way, over all tries: what is there of it, and the hash of that.

    What is there is of one state of the file: what is noted of it beside the URL, which may hold
    secrets and is hashed, are the ``size`` of the whole, its ``validator`` and its ``filename``.
    """

    def __init__(self, url: str, path: Path, meter: Meter) -> None:
        self.last_byte = Stopwatch()
        self.size_bytes = 0
        self._path = path
        self._url = hashlib.sha256(url.encode()).hexdigest()
        self._meter = meter
        self._of = _Answer("", 0, ())
        self._digest = hashlib.sha256()
        self._file: PartialFile | None = None
        self._saver: threading.Thread | None = None
        self._found_bytes = 0

    @property
    def rest(self) -> tuple[int, str] | None:
        """From where on it is wanted, of which state; None for all of it, of any."""
        return (self.size_bytes, self._of.validator) if self._of.validator else None

    @property
    def is_whole(self) -> bool:
        return 0 < self.size_bytes == self._of.size_bytes

    def take_up(self) -> None:
        """Goes on with what an earlier process left, if that is of the same URL."""
        size_bytes, noted = noted_part(self._path)
        validator, filename = noted.get("validator"), noted.get("filename")
        if noted.get("url") != self._url or not (validator and filename and size_bytes):
            return
        self._open(_Answer(str(filename), size_bytes, (), str(validator)))
        assert self._file is not None
        buffer = memoryview(bytearray(1 << 20))
        while count := self._file.read(buffer, self.size_bytes):
            self._count(buffer[:count], found=count)
        self.last_byte.restart()  # the source was not asked yet

    def take(self, answer: _Answer) -> None:
        """Takes in what is sent. Raises _TransientError when that is not all that is wanted."""
        of = self._of
        goes_on = answer.start and (answer.start, answer.size_bytes, answer.validator) in (
            (self.size_bytes, of.size_bytes, of.validator),
            (self.size_bytes, of.size_bytes, None),
        )
        if not goes_on:
            self._begin(answer)
            if answer.start:
                raise _TransientError("the server sends the rest of another file")
        assert self._file is not None
        for block in answer.blocks:
            self.last_byte.restart()
            if 0 < self._of.size_bytes < self.size_bytes + len(block):
                raise _TransientError("the server sends more than it said")
            with os_errors("store a download"):
                self._file.write(memoryview(block), self.size_bytes, lambda: None)
            self._count(memoryview(block))
            if self._file.is_due() and not (self._saver and self._saver.is_alive()):
                self._saver = threading.Thread(target=_save, args=(self._file,), daemon=True)
                self._saver.start()
        if self._of.size_bytes not in (0, self.size_bytes):
            raise _TransientError("the connection broke before the end")

    def finish(self) -> Fetched:
        """All of it is there."""
        self._close()
        with os_errors("store a download"):
            flush_file(self._path)
        return Fetched(
            self._path,
            self._of.filename,
            self.size_bytes,
            self._digest.hexdigest(),
            self._found_bytes,
        )

    def give_up(self, keep: bool) -> None:
        """Nothing more comes; what is there is kept where somebody can go on with it."""
        self._close()
        self._meter.add(-self.size_bytes, -self._of.size_bytes, -self._found_bytes)
        if not (keep and self.rest):
            with suppress(OSError):
                discard_part(self._path)

    def _begin(self, answer: _Answer) -> None:
        self._close()
        self._meter.add(-self.size_bytes, -self._of.size_bytes, -self._found_bytes)
        self.size_bytes, self._digest, self._found_bytes = 0, hashlib.sha256(), 0
        with os_errors("store a download"):
            discard_part(self._path)
        known = replace(answer, blocks=(), start=0)
        self._open(known if known.size_bytes else replace(known, validator=None))

    def _open(self, of: _Answer) -> None:
        noted = {"url": self._url, "validator": of.validator, "filename": of.filename}
        with os_errors("store a download"):
            self._file = PartialFile(self._path, of.size_bytes, noted if of.validator else None)
        self._of = of
        self._meter.add(0, of.size_bytes)

    def _count(self, block: memoryview, found: int = 0) -> None:
        self._digest.update(block)
        self.size_bytes += len(block)
        self._found_bytes += found
        self._meter.add(len(block), found=found)

    def _close(self) -> None:
        if self._file is not None:
            self._file.__exit__()
            self._file = None


def _save(file: PartialFile) -> None:
    with suppress(OSError, DsmanagerError):  # less to go on with
        file.save()


def _fetch(url: str, arrival: _Arrival, patience_s: float) -> Fetched:
    attempt = furthest = 0
    while not arrival.is_whole:
        try:
            left_s = max(1.0, patience_s - arrival.last_byte.age_s)
            with _opened(url, left_s, arrival.rest) as answer:
                arrival.take(answer)
            break
        except _TransientError as error:
            reason, delay_s = str(error), 0.5 * 2**attempt
        attempt += 1
        if arrival.rest and arrival.size_bytes > furthest:
            attempt, furthest = 0, arrival.size_bytes
        if arrival.last_byte.age_s + delay_s >= patience_s or attempt == _TRIES:
            raise TemporaryError(f"could not fetch {redact(url)}: {plain(reason)}")
        time.sleep(delay_s)
    return arrival.finish()


@contextmanager
def _opened(url: str, left_s: float, rest: tuple[int, str] | None) -> Iterator[_Answer]:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in ("http", "https"):
        with _opened_http(url, left_s, rest) as opened:
            yield opened
    elif scheme in ("file", "ftp"):
        with _opened_other(url, left_s) as opened:
            yield opened
    else:
        raise DsmanagerError(
            f"{redact(url)} cannot be fetched: only http, https, ftp and file URLs can"
        )


@contextmanager
def _opened_http(url: str, left_s: float, rest: tuple[int, str] | None) -> Iterator[_Answer]:
    """With ``rest``, a position and a validator, the rest of that file if the server has it so.

    Else the whole file, as without.
    """
    start, validator = rest or (0, "")
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else None
    addresses = _resolve(url, min(_CONNECT_S, left_s))
    timeouts = (max(0.5, min(_CONNECT_S, left_s) / addresses), min(_SILENCE_S, left_s))
    try:
        with requests.Session() as session:
            get = partial(session.get, stream=True, timeout=timeouts)
            response = get(url, headers=headers)
            if response.status_code in (206, 416) and _size_of_rest(response, start) is None:
                response.close()
                response = get(url)
            if url.startswith(_DRIVE) and "Content-Disposition" not in response.headers:
                response = get(_drive_link(url, response))
            with response:
                yield _answer(url, response, start)
    except requests.exceptions.RequestException as error:
        if isinstance(error, requests.exceptions.InvalidURL):
            raise DsmanagerError(f"{redact(url)} is no URL") from error
        if isinstance(error, requests.exceptions.TooManyRedirects):
            raise DsmanagerError(f"could not fetch {redact(url)}: it leads in a circle") from error
        raise _TransientError(_reason(error)) from error


def _answer(url: str, response: requests.Response, start: int) -> _Answer:
    said, blocks = response.headers, response.iter_content(_BLOCK_BYTES)
    size_bytes = _size_of_rest(response, start)
    if size_bytes is None:
        _check_status(url, response)
        start, length = 0, said.get("Content-Length", "")
        size_bytes = int(length) if length.isdigit() and "Content-Encoding" not in said else 0
    validator = None if url.startswith(_DRIVE) else _validator(said)  # its links are of one use
    return _Answer(_filename(response), size_bytes, blocks, validator, start)


def _validator(said: Mapping[str, str]) -> str | None:
    """What is sent in If-Range later: a strong ETag, else a date that the file cannot have twice.

    That is one a second before the answer's own, at least: RFC 9110, section 8.8.2.2.
    """
    if said.get("ETag", "").startswith('"'):
        return said["ETag"]
    with suppress(KeyError, ValueError, TypeError):
        changed, now = map(parsedate_to_datetime, (said["Last-Modified"], said["Date"]))
        if changed < now:
            return said["Last-Modified"]
    return None


def _size_of_rest(response: requests.Response, start: int) -> int | None:
    """The length of the whole file, when what is answered is all of it from ``start`` on."""
    said = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
    if response.status_code != 206 or "Content-Encoding" in response.headers or found is None:
        return None
    first, last, size_bytes = map(int, found.groups())
    return size_bytes if start == first <= last == size_bytes - 1 else None


@contextmanager
def _opened_other(url: str, left_s: float) -> Iterator[_Answer]:
    try:
        with urllib.request.urlopen(url, timeout=min(_SILENCE_S, left_s)) as response:  # noqa: S310
            length = response.headers.get("Content-Length", "")
            yield _Answer(
                os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path)),
                int(length) if length.isdigit() else 0,
                iter(lambda: response.read(_BLOCK_BYTES), b""),
            )
    except urllib.error.URLError as error:
        if url.startswith("file:"):
            raise NotFoundError(f"{redact(url)} cannot be read: {error.reason}") from error
        raise _TransientError(str(error.reason)) from error
    except (TimeoutError, ConnectionError) as error:
        raise _TransientError(str(error)) from error


def _resolve(url: str, timeout_s: float) -> int:
    """How many addresses the host has; bounded in time, which ``getaddrinfo`` itself is not."""
    if requests.utils.get_environ_proxies(url):
        return 1
    host = urllib.parse.urlsplit(url).hostname or ""
    answers: list[int] = []
    reasons = ["its name server does not answer"]

    def ask() -> None:
        try:
            answers.append(len(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)))
        except OSError as error:
            reasons[0] = f"{host}: {error.strerror or error}"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not answers:
        raise _TransientError(reasons[0])
    return max(1, answers[0])


def _check_status(url: str, response: requests.Response) -> None:
    status = f"{response.status_code} {response.reason or ''}".strip()
    shown = redact(url)
    match response.status_code:
        case 200:
            return
        case 404 | 410:
            raise NotFoundError(f"{shown} is not there: the server says {status}")
        case 401 | 403:
            raise CredentialsError(f"{shown} may not be fetched: the server says {status}")
        case code if code == 429 or code >= 500:
            raise _TransientError(f"the server says {status}")
    raise DsmanagerError(f"could not fetch {shown}: the server says {status}")


def _filename(response: requests.Response) -> str:
    """The name by which ``checksums.tsv`` would record it, as TFDS takes it."""
    header = str(response.headers.get("Content-Disposition", ""))
    said = re.search(r"filename= *['\"]?([^;\r\n\"']+)", header, re.IGNORECASE)
    path = urllib.parse.urlsplit(str(response.url)).path
    named = os.path.basename(said[1].strip()) if said else ""
    return named or os.path.basename(path).replace("%2F", "_") or "unknown_name"


def _drive_link(url: str, response: requests.Response) -> str:
    from tensorflow_datasets.core.download import downloader

    return str(downloader._process_gdrive_confirmation(url, response.text))


def _reason(error: requests.exceptions.RequestException) -> str:
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end"
    text = redact(str(error))
    found = re.search(
        r"(\[Errno -?\d+\] )?([A-Z][a-z ]+ (?:refused|unreachable|reset[a-z ]*))", text
    )
    return found[2] if found else text.splitlines()[0][:200]
