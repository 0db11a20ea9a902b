"""Fetches one source file by URL: bounded in time, hashed as it arrives, whole or not at all.

A source that gives no byte for 25 seconds, refused or silent, over all tries, is given up. This
module knows nothing of checksums that are expected; it says what came.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    os_errors,
)
from dsmanager.progress import Progress, Stopwatch
from dsmanager.text import plain, redact

__all__ = ["Fetched", "Meter", "fetch"]

PATIENCE_S = 25.0
_CONNECT_S = 8.0
_SILENCE_S = 20.0
_TRIES = 4
_BLOCK_BYTES = 1 << 18
_DRIVE = "https://drive.google.com/"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that arrived: where it is, what it is called at its source, and what it holds."""

    path: Path
    filename: str
    size_bytes: int
    sha256: str


class Meter:
    """Bytes of all downloads of a build, on one progress; totals grow as servers tell sizes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._done = self._total = 0

    def expect(self, count: int) -> None:
        self._change(0, count)

    def add(self, count: int) -> None:
        self._change(count, 0)

    def _change(self, done: int, total: int) -> None:
        with self._lock:
            if self._progress.snapshot().phase != "download":
                self._progress.start_phase("download")
            self._done += done
            self._total += total
            self._progress.set_bytes(self._done, max(self._done, self._total) or None)


class _TransientError(Exception):
    """A failure that another try may not have."""


def fetch(
    url: str,
    folder: Path,
    *,
    meter: Meter,
    patience_s: float = PATIENCE_S,
) -> Fetched:
    """Fetches ``url`` (http, https, ftp or file) into a new file of ``folder``.

    Raises TemporaryError when the source cannot be reached or stops, NotFoundError when it does not
    have the file, CredentialsError when it wants some.
    """
    try:
        return _fetch(url, folder, meter, patience_s)
    except DsmanagerError as error:
        error.hint = error.hint or (
            f"put {os.path.basename(urllib.parse.urlsplit(url).path) or 'it'} in a folder "
            "yourself, then: dsmanager build NAME --manual-dir FOLDER"
        )
        raise


def _fetch(url: str, folder: Path, meter: Meter, patience_s: float) -> Fetched:
    last_byte = Stopwatch()
    for attempt in range(_TRIES):
        try:
            return _try(url, folder, meter, last_byte, patience_s)
        except _TransientError as error:
            reason, delay_s = str(error), 0.5 * 2**attempt
        if last_byte.age_s + delay_s >= patience_s or attempt == _TRIES - 1:
            break
        time.sleep(delay_s)
    raise TemporaryError(f"could not fetch {redact(url)}: {plain(reason)}")


def _try(url: str, folder: Path, meter: Meter, last_byte: Stopwatch, patience_s: float) -> Fetched:
    left_s = max(1.0, patience_s - last_byte.age_s)
    with os_errors("store a download"):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / secrets.token_hex(8)
    digest = hashlib.sha256()
    size_bytes = 0
    expected = 0
    try:
        with _opened(url, left_s) as (filename, expected, blocks), open(path, "xb") as file:
            meter.expect(expected)
            for block in blocks:
                last_byte.restart()
                digest.update(block)
                size_bytes += len(block)
                meter.add(len(block))
                with os_errors("store a download"):
                    file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return Fetched(path, filename, size_bytes, digest.hexdigest())
    except BaseException:
        meter.add(-size_bytes)
        meter.expect(-expected)
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _opened(url: str, left_s: float) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """File name, length where it is known (else 0), and the blocks of a source."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in ("http", "https"):
        with _opened_http(url, left_s) as opened:
            yield opened
    elif scheme in ("file", "ftp"):
        with _opened_other(url, left_s) as opened:
            yield opened
    else:
        raise DsmanagerError(
            f"{redact(url)} cannot be fetched: only http, https, ftp and file URLs can"
        )


@contextmanager
def _opened_http(url: str, left_s: float) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    addresses = _resolve(url, min(_CONNECT_S, left_s))
    timeouts = (max(0.5, min(_CONNECT_S, left_s) / addresses), min(_SILENCE_S, left_s))
    try:
        with requests.Session() as session:
            response = session.get(url, stream=True, timeout=timeouts)
            if url.startswith(_DRIVE) and "Content-Disposition" not in response.headers:
                response = session.get(_drive_link(url, response), stream=True, timeout=timeouts)
            with response:
                _check_status(url, response)
                length = response.headers.get("Content-Length", "")
                encoded = "Content-Encoding" in response.headers
                expected = int(length) if length.isdigit() and not encoded else 0
                yield _filename(response), expected, response.iter_content(_BLOCK_BYTES)
    except requests.exceptions.RequestException as error:
        if isinstance(error, requests.exceptions.InvalidURL):
            raise DsmanagerError(f"{redact(url)} is no URL") from error
        raise _TransientError(_reason(error)) from error


@contextmanager
def _opened_other(url: str, left_s: float) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    try:
        with urllib.request.urlopen(url, timeout=min(_SILENCE_S, left_s)) as response:  # noqa: S310
            length = response.headers.get("Content-Length", "")
            yield (
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
    if isinstance(error, (requests.exceptions.ChunkedEncodingError,)):
        return "the connection broke before the end"
    text = str(error)
    found = re.search(
        r"(\[Errno -?\d+\] )?([A-Z][a-z ]+ (?:refused|unreachable|reset[a-z ]*))", text
    )
    return found[2] if found else text.splitlines()[0][:200]
