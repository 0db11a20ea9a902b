"""Objects behind http and https, as streams: gone on with after a break, bound to one version.

Redirects are followed. A break is answered with a request for the rest, which names the version
(ETag, else Last-Modified) that was begun with; an object that changes meanwhile is an error, never
a mixture. A server that gives no byte for ``PATIENCE_S`` seconds is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TypeVar

import requests
import urllib3.exceptions

from dsmanager.errors import CredentialsError, DsmanagerError, NotFoundError, TemporaryError
from dsmanager.progress import CancelToken, Progress, Stopwatch
from dsmanager.text import plain, redact

__all__ = ["PATIENCE_S", "WebObject"]

T = TypeVar("T")

PATIENCE_S = 25.0
_TIMEOUTS_S = (5.0, 15.0)
_CHUNK_BYTES = 1 << 20
_FIRST_PAUSE_S = 0.3


class _BrokenError(Exception):
    """A failure that another try may not have."""


class WebObject:
    """One object. ``shown`` is what errors call it; ``headers`` go with each request."""

    def __init__(self, url: str, *, shown: str = "", headers: Mapping[str, str] | None = None):
        self._url = url
        self._shown = plain(redact(shown or url))
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}

    def look(self, cancel: CancelToken) -> tuple[int | None, str]:
        """Size in bytes (None: the server does not say) and version.

        Raises NotFoundError, CredentialsError, or TemporaryError when nobody answers.
        """

        def attempt(session: requests.Session) -> tuple[int | None, str]:
            answer = session.head(
                self._url, headers=self._headers, allow_redirects=True, timeout=_TIMEOUTS_S
            )
            if answer.status_code in (405, 501):
                answer = session.get(
                    self._url, headers=self._headers, stream=True, timeout=_TIMEOUTS_S
                )
                answer.close()
            self._require(answer, 200)
            return _length(answer), _version(answer)

        return self._patiently(attempt, cancel, Stopwatch())

    def chunks(self, version: str, progress: Progress, cancel: CancelToken) -> Generator[bytes]:
        """The content from front to back. Raises as :meth:`look`, and TemporaryError when it is
        not the ``version`` any more.
        """
        done, since = 0, Stopwatch()
        while True:
            answer = self._patiently(partial(self._open, done=done, version=version), cancel, since)
            try:
                skipped = done if answer.status_code == 200 else 0
                while chunk := answer.raw.read(_CHUNK_BYTES, decode_content=False):
                    cancel.check()
                    since.restart()
                    fresh = chunk[skipped:] if skipped else chunk
                    skipped -= len(chunk) - len(fresh)
                    done += len(fresh)
                    progress.add_bytes(len(fresh))
                    if fresh:
                        yield fresh
                if not skipped:
                    return
                raise self._changed()
            except (OSError, ValueError, urllib3.exceptions.HTTPError):  # a chunk of no length
                if since.age_s > PATIENCE_S or not version:
                    raise TemporaryError(
                        f"{self._shown}: the connection broke after {done:,} bytes",
                        hint="the same command goes on with the tars that are missing",
                    ) from None
            finally:
                answer.close()

    def _open(self, session: requests.Session, done: int, version: str) -> requests.Response:
        headers = dict(self._headers)
        if done:
            headers["Range"] = f"bytes={done}-"
            headers["If-Range"] = version.removeprefix("W/")
        answer = session.get(self._url, headers=headers, stream=True, timeout=_TIMEOUTS_S)
        if answer.status_code in (412, 416):
            raise self._changed()
        self._require(answer, 200, *([206] if done else []))
        start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        is_other = version and _version(answer) not in ("", version)
        if is_other or (answer.status_code == 206 and start != str(done)):
            answer.close()
            raise self._changed()
        return answer

    def _patiently(
        self, attempt: Callable[[requests.Session], T], cancel: CancelToken, since: Stopwatch
    ) -> T:
        pause_s = _FIRST_PAUSE_S
        while True:
            cancel.check()
            session = requests.Session()  # not closed: the answer is read through it
            try:
                return attempt(session)
            except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError) as error:
                raise DsmanagerError(f"{self._shown} is no URL") from error
            except (requests.exceptions.RequestException, _BrokenError) as error:
                if since.age_s + pause_s > PATIENCE_S or _is_refused(error, since):
                    raise TemporaryError(
                        f"{self._shown} cannot be reached: {plain(str(_reason(error)))[:200]}",
                        hint="try again; the same command goes on with the tars that are missing",
                    ) from error
            except ValueError as error:  # requests lets through what it makes of odd headers
                raise DsmanagerError(
                    f"{self._shown} cannot be read: the server's answer makes no sense: "
                    f"{plain(str(error))[:200]}"
                ) from error
            cancel.wait(pause_s)
            pause_s *= 2

    def _require(self, answer: requests.Response, *expected: int) -> None:
        status = answer.status_code
        if status in expected:
            return
        answer.close()
        said = plain(f"{status} {answer.reason or ''}".strip())[:200]
        if status in (404, 410):
            raise NotFoundError(f"{self._shown} is not there: the server says {said}")
        if status in (401, 403):
            raise CredentialsError(f"{self._shown} may not be read: the server says {said}")
        if status == 429 or status >= 500:
            raise _BrokenError(f"the server says {said}")
        raise DsmanagerError(f"{self._shown} cannot be read: the server says {said}")

    def _changed(self) -> TemporaryError:
        return TemporaryError(
            f"{self._shown} changed while it was read",
            hint="run the same command again once nobody writes to it",
        )


def _length(answer: requests.Response) -> int | None:
    """None where the server does not say, or what it says is no number of bytes."""
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _version(answer: requests.Response) -> str:
    """ETag, else Last-Modified; empty where the server gives neither."""
    text = str(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
    return " ".join(text.split())  # a header may go on in the next line


def _is_refused(error: Exception, since: Stopwatch) -> bool:
    """Nobody listens there: a few seconds tell."""
    return isinstance(error, requests.exceptions.ConnectionError) and since.age_s > 4


def _reason(error: BaseException) -> BaseException | str:
    """The cause at the bottom, without the object addresses of urllib3."""
    while error.__context__ is not None and not isinstance(error, OSError):
        error = error.__context__
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        text = str(error)
        return text.rpartition(": ")[2].rstrip("'\")") if ": " in text else text
    return error
