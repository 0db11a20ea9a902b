"""Reading an object: parallel ranges, handed on in order and hashed on their way.

Every range names the ETag that the object had at the start, so that bytes of two versions never
meet. What arrives is hashed here, in order, and nowhere else; bytes that an earlier process left
on disk are read from there instead, and hashed like all others.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from dsmanager.buffers import buffer
from dsmanager.errors import DsmanagerError, os_errors
from dsmanager.partial import PartialFile
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.failures import http_status, translate
from dsmanager.remotes.objects import ObjectChangedError, RemoteObject, bare_etag
from dsmanager.remotes.rate import RateLimit

if TYPE_CHECKING:
    from concurrent.futures import Future

    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["Download"]

_RANGE_BYTES = 8 << 20
_READ_BYTES = 1 << 20
_THREADS = 4
_WINDOW = 6
"""Ranges in flight or waiting for their turn; memory is at most this times ``_RANGE_BYTES``."""


class _RangesIgnoredError(Exception):
    """The server answered a request for a range with the whole object."""


class Download:
    """One object on its way here, into ``file`` or, without one, only past the hash."""

    def __init__(
        self,
        client: S3Client,
        config: RemoteConfig,
        key: str,
        obj: RemoteObject,
        *,
        file: PartialFile | None,
        limit: RateLimit | None = None,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._client = client
        self._config = config
        self._key = key
        self._url = f"s3://{config.bucket}/{key}"
        self._obj = obj
        self._file = file
        self._limit = limit
        self._found: list[int] = []
        """Counts of bytes that were on disk."""
        self._saving: Future[None] | None = None
        self._progress = progress
        self._cancel = cancel

    def run(self) -> str:
        """Reads everything once; returns the sha256 in hexadecimal."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self) -> Iterator[memoryview]:
        """Everything once, in order; each piece is valid until the next is asked for."""
        with Crew(_THREADS + (self._file is not None), self._cancel) as crew:
            try:
                try:
                    yield from self._ranges(crew)
                except _RangesIgnoredError:  # of the first range: nothing was handed on yet
                    self._progress.add_found_bytes(-sum(self._found))
                    yield from self._whole(crew)
            except DsmanagerError:
                raise
            except Exception as error:
                self._cancel.check()
                raise self._named(error) from error

    def _ranges(self, crew: Crew) -> Iterator[memoryview]:
        """The ranges in order; at most ``_WINDOW`` of them are in memory."""
        length = min(_RANGE_BYTES, self._obj.size)
        count = min(_WINDOW, -(-self._obj.size // _RANGE_BYTES))
        spare = [buffer(length) for _ in range(count)]
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
            self._save(crew)
            spare.append(memoryview(filled.obj))  # the whole buffer behind the slice

    def _fetch(self, crew: Crew, start: int, view: memoryview) -> memoryview:
        """Fills ``view`` with the bytes from ``start`` on, and writes down those that were not."""
        filled = self._file.read(view, start) if self._file is not None else 0
        self._found.append(filled)
        self._progress.add_found_bytes(filled)

        def attempt() -> None:
            nonlocal filled
            body = self._open(start + filled, start + len(view))
            try:
                while filled < len(view):
                    count = self._read(crew, body, view[filled:])
                    self._write(crew, view[filled : filled + count], start + filled)
                    filled += count
            finally:
                body.close()

        if filled < len(view):
            crew.retried(attempt)
        return view

    def _whole(self, crew: Crew) -> Iterator[memoryview]:
        """The same without ranges, for servers that do not know them."""
        body = crew.result(crew.submit(partial(self._open, 0, self._obj.size, ranges=False)))
        view = buffer(_READ_BYTES)
        position = 0
        while position < self._obj.size:
            wanted = view[: self._obj.size - position]
            count = crew.result(crew.submit(partial(self._read, crew, body, wanted)))
            self._write(crew, view[:count], position)
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
        wanted = view[:_READ_BYTES]
        if self._limit is not None:
            wanted = wanted[: self._limit.piece_bytes(_READ_BYTES)]
        count = int(body.readinto(wanted))
        if not count:
            raise ConnectionError("the answer ended early")
        if self._limit is not None:
            self._limit.take(count, crew.check)
        self._progress.add_bytes(count)
        return count

    def _write(self, crew: Crew, view: memoryview, position: int) -> None:
        if self._file is not None:
            with os_errors(f"write {self._obj.name}"):
                self._file.write(view, position, crew.check)

    def _save(self, crew: Crew) -> None:
        """Notes what has arrived; from time to time has one of the threads flush it."""
        if self._file is None:
            return
        with os_errors(f"write {self._obj.name}"):
            self._file.note()
        if self._saving is not None and self._saving.done():
            crew.result(self._saving)
            self._saving = None
        if self._saving is None and self._file.is_due():
            self._saving = crew.submit(self._flush)

    def _flush(self) -> None:
        assert self._file is not None
        with os_errors(f"write {self._obj.name}"):
            self._file.save()

    def _named(self, error: Exception) -> DsmanagerError:
        if http_status(error) in (412, 416):  # 416: it is shorter now, on a server without If-Match
            return self._changed()
        return translate(error, self._config, self._url)

    def _changed(self) -> ObjectChangedError:
        return ObjectChangedError(
            f"{self._url} was replaced while it was read",
            hint=f"start again: dsmanager download --remote {self._config.name}",
        )
