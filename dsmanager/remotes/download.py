"""Reading an object: parallel ranges, handed on in order and hashed on their way.

Every range names the ETag that the object had at the start, so that bytes of two versions never
meet. What arrives is hashed here, in order, and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError, TemporaryError, os_errors
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.failures import http_status, translate
from dsmanager.remotes.objects import RemoteObject, bare_etag

if TYPE_CHECKING:
    from concurrent.futures import Future

    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["Download"]

_RANGE_BYTES = 8 << 20
_READ_BYTES = 1 << 20
_WRITE_BYTES = 256 << 10  # larger writes make the kernel look for larger pages: 3 times its work
_THREADS = 4
_WINDOW = 6
"""Ranges in flight or waiting for their turn; memory is at most this times ``_RANGE_BYTES``."""


class _RangesIgnoredError(Exception):
    """The server answered a request for a range with the whole object."""


class Download:
    """One object on its way here. ``descriptor`` is a file opened for writing, or None."""

    def __init__(
        self,
        client: S3Client,
        config: RemoteConfig,
        key: str,
        obj: RemoteObject,
        *,
        descriptor: int | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._client = client
        self._config = config
        self._key = key
        self._url = f"s3://{config.bucket}/{key}"
        self._obj = obj
        self._descriptor = descriptor
        # Writers to one file spin in the kernel while they wait for each other: seven times the
        # processor time of writers that wait here.
        self._writing = threading.Lock()
        self._progress = progress
        self._cancel = cancel

    def run(self) -> str:
        """Reads everything once; returns the sha256 in hexadecimal."""
        if self._descriptor is not None:
            with suppress(OSError):  # a file of full length takes writes in any order faster
                os.ftruncate(self._descriptor, self._obj.size)
        with Crew(_THREADS, self._cancel) as crew:
            try:
                return self._hash(self._ranges(crew))
            except _RangesIgnoredError:
                return self._hash(self._whole(crew))
            except DsmanagerError:
                raise
            except Exception as error:
                self._cancel.check()
                raise self._named(error) from error

    def _hash(self, pieces: Iterator[memoryview]) -> str:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest()

    def _ranges(self, crew: Crew) -> Iterator[memoryview]:
        """The ranges in order; at most ``_WINDOW`` of them are in memory."""
        length = min(_RANGE_BYTES, self._obj.size)
        count = min(_WINDOW, -(-self._obj.size // _RANGE_BYTES))
        spare = [memoryview(bytearray(length)) for _ in range(count)]
        window: deque[Future[memoryview]] = deque()
        starts = iter(range(0, self._obj.size, _RANGE_BYTES))
        while True:
            while spare and (start := next(starts, None)) is not None:
                view = spare.pop()
                length = min(_RANGE_BYTES, self._obj.size - start)
                window.append(crew.submit(partial(self._fetch, crew, start, view[:length])))
            if not window:
                return
            filled = crew.result(window.popleft())
            yield filled
            spare.append(memoryview(filled.obj))  # the whole buffer behind the slice

    def _fetch(self, crew: Crew, start: int, view: memoryview) -> memoryview:
        """Fills ``view`` with the bytes from ``start`` on, and writes them down."""
        filled = 0

        def attempt() -> None:
            nonlocal filled
            body = self._open(start + filled, start + len(view))
            try:
                while filled < len(view):
                    count = self._read(crew, body, view[filled:])
                    self._write(view[filled : filled + count], start + filled)
                    filled += count
            finally:
                body.close()

        crew.retried(attempt)
        return view

    def _whole(self, crew: Crew) -> Iterator[memoryview]:
        """The same without ranges, for servers that do not know them."""
        body = crew.result(crew.submit(partial(self._open, 0, self._obj.size, ranges=False)))
        view = memoryview(bytearray(_READ_BYTES))
        position = 0
        while position < self._obj.size:
            wanted = view[: self._obj.size - position]
            count = crew.result(crew.submit(partial(self._read, crew, body, wanted)))
            self._write(view[:count], position)
            yield view[:count]
            position += count
        body.close()

    def _open(self, start: int, end: int, *, ranges: bool = True) -> Any:
        """Begins to read bytes ``start`` to ``end``; checks that it is still the same object."""
        part = ranges and (start, end) != (0, self._obj.size)
        extra: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}"} if part else {}
        if self._obj.etag:
            extra["IfMatch"] = f'"{self._obj.etag}"'
        answer = self._client.get_object(Bucket=self._config.bucket, Key=self._key, **extra)
        body = answer["Body"]
        if self._obj.etag not in ("", bare_etag(answer.get("ETag"))):
            body.close()
            raise self._changed()
        # The status does not tell: rclone answers 200 to a range that it honours.
        if part and not answer.get("ContentRange", "").startswith(f"bytes {start}-{end - 1}/"):
            body.close()
            raise _RangesIgnoredError
        return body

    def _read(self, crew: Crew, body: Any, view: memoryview) -> int:
        """Reads some bytes into ``view``. Raises ConnectionError when the server has no more."""
        crew.check()
        count = int(body.readinto(view[:_READ_BYTES]))
        if not count:
            raise ConnectionError("the answer ended early")
        self._progress.add_bytes(count)
        return count

    def _write(self, view: memoryview, position: int) -> None:
        if self._descriptor is None:
            return
        with os_errors(f"write {self._obj.name}"):
            while view:
                with self._writing:
                    count = os.pwrite(self._descriptor, view[:_WRITE_BYTES], position)
                view, position = view[count:], position + count

    def _named(self, error: Exception) -> DsmanagerError:
        if http_status(error) in (412, 416):  # 416: it is shorter now, on a server without If-Match
            return self._changed()
        return translate(error, self._config, self._url)

    def _changed(self) -> TemporaryError:
        return TemporaryError(
            f"{self._url} was replaced while it was read",
            hint=f"start again: dsmanager download --remote {self._config.name}",
        )
