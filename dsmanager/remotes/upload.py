"""Writing an object: nothing becomes visible unless the bytes sent are the bytes meant.

Bytes are hashed in order as they are read, from the same memory that is sent. A multipart upload
is completed only when the sha256 agrees. One that was interrupted stays where it can be gone on
with, and is aborted in every other case; of an earlier one only those parts count that the server
has with the length and MD5 that they would have now.
"""

from __future__ import annotations

import hashlib
import queue
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from dsmanager.buffers import buffer
from dsmanager.errors import (
    CancelledError,
    CredentialsError,
    DsmanagerError,
    TemporaryError,
    VerificationError,
    os_errors,
)
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.body import Body, crc32_text, md5_text, require_arrived
from dsmanager.remotes.bounds import bounded_pages
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.failures import error_code, http_status, translate
from dsmanager.remotes.objects import SHA256_KEY, bare_etag
from dsmanager.remotes.rate import RateLimit
from dsmanager.remotes.unfinished import abort_upload
from dsmanager.remotes.upload_notes import BegunUpload, UploadNotes

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["PART_BYTES", "NewObject", "Upload", "part_size"]

T = TypeVar("T")

_RESUMABLE = (CancelledError, TemporaryError, CredentialsError)
"""After these an upload can be gone on with."""

PART_BYTES = 8 << 20
"""Objects up to this size go in one request; larger ones in parts of at least this size."""

_USUAL_PARTS = (
    128  # what is in flight when an upload is interrupted, 4 parts, is little of the whole
)
_USUAL_PART_BYTES = 16 << 20
_MAX_PARTS = 10_000
_THREADS = 4
_BUFFERED_BYTES = 256 << 20
_MIB = 1 << 20


def part_size(size: int) -> int:
    """Bytes of every part but the last: whole MiB, and never more than 10,000 parts."""
    usual = min(max(PART_BYTES, size // _USUAL_PARTS), _USUAL_PART_BYTES)
    return -(-max(usual, -(-size // _MAX_PARTS)) // _MIB) * _MIB


@dataclass(frozen=True, slots=True)
class NewObject:
    """What is to be written, known before the first byte is sent."""

    name: str
    key: str
    size: int
    sha256: str
    content_type: str
    overwrite: bool
    public: bool


@dataclass(frozen=True, slots=True)
class SentPart:
    """What the server says of a part that it has."""

    number: int
    size: int
    etag: str
    crc32: str | None = None

    def is_of(self, view: memoryview) -> bool:
        """Whether it is what would be sent. An ETag that is no MD5 never says so."""
        md5 = hashlib.md5(view, usedforsecurity=False)
        return self.size == len(view) and bare_etag(self.etag) == md5.hexdigest()

    def for_completion(self) -> dict[str, Any]:
        crc32 = {"ChecksumCRC32": self.crc32} if self.crc32 else {}
        return {"PartNumber": self.number, "ETag": self.etag, **crc32}


class Upload:
    """One object on its way to the server. :meth:`run` returns its ETag."""

    def __init__(
        self,
        client: S3Client,
        config: RemoteConfig,
        new: NewObject,
        *,
        before_visible: Callable[[], object] | None = None,
        notes: UploadNotes | None = None,
        limit: RateLimit | None = None,
        with_crc32: bool = False,
        confirmed: bool = False,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        """``notes`` is where an upload in parts is remembered; ``with_crc32`` has AWS check it.

        With ``confirmed`` the answer to each request has to confirm the bytes that were sent.
        """
        self._client = client
        self._config = config
        self._new = new
        self._place: dict[str, Any] = {"Bucket": config.bucket, "Key": new.key}
        self._url = f"s3://{config.bucket}/{new.key}"
        self._header: dict[str, Any] = {
            "Metadata": {SHA256_KEY: new.sha256},
            "ContentType": new.content_type,
        }
        self._acl: dict[str, Any] = {"ACL": "public-read"} if new.public else {}
        self._condition: dict[str, Any] = {} if new.overwrite else {"IfNoneMatch": "*"}
        self._before_visible = before_visible
        self._notes = notes
        self._limit = limit
        self._with_crc32 = with_crc32
        self._confirmed = confirmed
        self._knows_crc32 = True
        self.crc32: str | None = None
        """Of everything, as S3 writes it, once it was read; only for a server that is asked."""
        self._progress = progress
        self._cancel = cancel

    def run(self, path: Path) -> str:
        """Sends the file. Raises VerificationError when its bytes are not those of the sha256."""
        with os_errors(f"read {path.name}"), open(path, "rb", buffering=0) as file:
            if self._new.size <= PART_BYTES:
                content = buffer(self._new.size)
                self._fill(file, content)
                self._require_end(file)
                return self.send(content)
            return self._in_parts(file)

    def send(self, content: memoryview | bytes) -> str:
        """Sends ``content`` in one request."""
        self._require_sha256(hashlib.sha256(content).hexdigest())
        if self._with_crc32:
            self.crc32 = crc32_text(zlib.crc32(content))
        self._announce()
        with Crew(1, self._cancel) as crew:
            request = partial(crew.retried, partial(self._put, crew, content), max_silences=1)
            return self._named(lambda: crew.result(crew.submit(request)))

    def _patiently(self, request: Callable[[], T]) -> T:
        """Sends one small request, again where that may help."""
        with Crew(1, self._cancel) as crew:
            work = partial(crew.retried, request, max_silences=1)
            return self._named(lambda: crew.result(crew.submit(work)))

    def _put(self, crew: Crew, content: memoryview | bytes) -> str:
        def request(**extra: Any) -> str:
            body: Any = Body(content, crew, self._progress, self._limit) if content else b""
            answer = self._client.put_object(**self._place, Body=body, **self._header, **extra)
            return bare_etag(answer.get("ETag"))

        # What is not right must be refused here, for it would be visible at once.
        md5 = {"ContentMD5": md5_text(content)} if self._confirmed else {}
        return self._tolerant(request, self._acl | self._condition | md5)

    def _in_parts(self, file: BinaryIO) -> str:
        begun, sent = self._resumed() or (self._begin(), {})
        try:
            etag = self._named(lambda: self._send_parts(file, begun, sent))
        except BaseException as error:
            if self._notes is None or _is_hopeless(error):
                self._end(begun)
            raise
        self.forget()
        return etag

    def _begin(self) -> BegunUpload:
        crc32 = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        extra = self._acl | (crc32 if self._with_crc32 else {})
        upload_id = self._patiently(lambda: self._tolerant(self._create, extra))
        begun = self._as_begun(upload_id)
        if self._notes is not None:
            self._notes.write(begun)
        return begun

    def _as_begun(self, upload_id: str) -> BegunUpload:
        endpoint, new = self._client.meta.endpoint_url, self._new
        length = part_size(new.size)
        return BegunUpload(
            upload_id,
            endpoint,
            self._config.bucket,
            new.key,
            new.size,
            new.sha256,
            length,
            new.public,
        )

    def _resumed(self) -> tuple[BegunUpload, dict[int, SentPart]] | None:
        """An earlier upload of the same, and its parts; one of other content is ended."""
        earlier = self._notes.read() if self._notes is not None else None
        if earlier is None:
            return None
        if earlier != self._as_begun(earlier.upload_id):
            self._progress.note(f"{self._url}: another upload had begun; starting again")
            self._end(earlier)
            return None
        try:
            parts = self._patiently(lambda: self._parts_of(earlier.upload_id))
        except DsmanagerError as error:
            if isinstance(error, (CancelledError, TemporaryError)) and not _has_ended(error):
                raise
            self._end(earlier)  # or this server does not list parts
            return None
        self._progress.note(
            f"{self._url}: resuming, {len(parts):,} of {self._part_count():,} parts are there"
        )
        return earlier, parts

    def _end(self, begun: BegunUpload) -> None:
        """Aborts an upload, or at least tries to: the server's list shows what is left."""
        with suppress(BotoCoreError, ClientError):
            abort_upload(self._client, self._place, begun.upload_id)
        self.forget()

    def _parts_of(self, upload_id: str) -> dict[int, SentPart]:
        pages = self._client.get_paginator("list_parts").paginate(**self._place, UploadId=upload_id)
        return {
            part["PartNumber"]: SentPart(
                part["PartNumber"], part["Size"], part["ETag"], part.get("ChecksumCRC32")
            )
            for page in bounded_pages(pages, entries="Parts", key="PartNumber")
            for part in page.get("Parts", ())
        }

    def _part_count(self) -> int:
        return -(-self._new.size // part_size(self._new.size))

    def forget(self) -> None:
        """Drops what is remembered of it on this machine."""
        if self._notes is not None:
            self._notes.forget()

    def _create(self, **extra: Any) -> str:
        answer = self._client.create_multipart_upload(**self._place, **self._header, **extra)
        return str(answer["UploadId"])

    def _send_parts(self, file: BinaryIO, begun: BegunUpload, sent: dict[int, SentPart]) -> str:
        length, count = begun.part_bytes, self._part_count()
        buffers = min(_THREADS + 1, count, max(2, _BUFFERED_BYTES // length))
        spare: queue.Queue[memoryview] = queue.Queue()
        for _ in range(buffers):
            spare.put(buffer(length))
        target = self._place | {"UploadId": begun.upload_id}
        digest, crc32 = hashlib.sha256(), 0
        parts: list[Future[SentPart]] = []
        with Crew(min(_THREADS, buffers), self._cancel) as crew:
            for index in range(count):
                whole = crew.take(spare)
                view = whole[: self._new.size - index * length]
                self._fill(file, view)
                there = sent.get(index + 1)
                work = partial(self._send_part, crew, target, index + 1, view, there)
                parts.append(crew.submit(partial(_then, work, partial(spare.put, whole))))
                digest.update(view)
                crc32 = zlib.crc32(view, crc32) if self._with_crc32 else 0
            self._require_end(file)
            self._require_sha256(digest.hexdigest())
            self.crc32 = crc32_text(crc32) if self._with_crc32 else None
            done = [crew.result(part) for part in parts]
            self._announce()
            finish = partial(self._complete, target, [part.for_completion() for part in done])
            return crew.result(crew.submit(partial(crew.retried, finish, max_silences=1)))

    def _send_part(
        self,
        crew: Crew,
        target: dict[str, Any],
        number: int,
        view: memoryview,
        there: SentPart | None,
    ) -> SentPart:
        if there is not None and there.is_of(view):
            self._progress.add_found_bytes(len(view))
            return there

        def request(**extra: Any) -> SentPart:
            body: Any = Body(view, crew, self._progress, self._limit)
            answer = self._client.upload_part(**target, PartNumber=number, Body=body, **extra)
            if self._confirmed:
                require_arrived(answer, view, crc32)
            return SentPart(number, len(view), answer["ETag"], answer.get("ChecksumCRC32"))

        crc32 = crc32_text(zlib.crc32(view)) if self._confirmed else ""
        checked = {"ChecksumCRC32": crc32} if crc32 and self._knows_crc32 else {}
        return crew.retried(partial(self._tolerant, request, checked), max_silences=1)

    def _complete(self, target: dict[str, Any], parts: list[dict[str, Any]]) -> str:
        def request(**extra: Any) -> str:
            answer = self._client.complete_multipart_upload(
                **target,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                **extra,
            )
            return bare_etag(answer.get("ETag"))

        crc32 = {"ChecksumCRC32": self.crc32, "ChecksumType": "FULL_OBJECT"} if self.crc32 else {}
        return self._tolerant(request, self._condition | crc32)

    def _tolerant(self, request: Callable[..., T], extra: dict[str, Any]) -> T:
        """Sends ``request``; once more without what this server turns out not to know."""
        try:
            return request(**extra)
        except ClientError as error:
            if error_code(error) == "AccessControlListNotSupported" and "ACL" in extra:
                self._acl = {}
            elif _is_not_implemented(error) and "IfNoneMatch" in extra:
                self._condition = {}
            elif (
                error_code(error) in _UNKNOWN_HEADER
                and self._confirmed
                and "ChecksumCRC32" in extra
            ):
                self._knows_crc32 = False
            else:
                raise
            dropped = {"ACL", "IfNoneMatch"} - {*self._acl, *self._condition}
            dropped |= set() if self._knows_crc32 else {"ChecksumCRC32"}
            return self._tolerant(request, {k: v for k, v in extra.items() if k not in dropped})

    def _fill(self, file: BinaryIO, view: memoryview) -> None:
        while view:
            self._cancel.check()
            with os_errors("read the file to upload"):
                count = file.readinto(view[:PART_BYTES])  # type: ignore[attr-defined]
            if not count:
                raise self._not_as_recorded("it is shorter than its record says")
            view = view[count:]

    def _require_end(self, file: BinaryIO) -> None:
        if file.read(1):
            raise self._not_as_recorded("it is longer than its record says")

    def _require_sha256(self, found: str) -> None:
        if found != self._new.sha256:
            raise self._not_as_recorded("its sha256 is not the recorded one")

    def _announce(self) -> None:
        if self._before_visible is not None:
            self._before_visible()

    def _not_as_recorded(self, problem: str) -> VerificationError:
        return VerificationError(
            f"nothing was uploaded to {self._url}: {problem}",
            hint="look at the archive: dsmanager verify --in cached",
        )

    def _named(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except DsmanagerError:
            raise
        except Exception as error:
            self._cancel.check()
            raise translate(error, self._config, self._url) from error


_UNKNOWN_HEADER = ("NotImplemented", "InvalidRequest", "InvalidArgument")


def _is_not_implemented(error: ClientError) -> bool:
    return http_status(error) == 501 or error_code(error) == "NotImplemented"


def _is_hopeless(error: BaseException) -> bool:
    """Whether nothing is gained by going on with the same upload later."""
    return isinstance(error, DsmanagerError) and not isinstance(error, _RESUMABLE)


def _has_ended(error: DsmanagerError) -> bool:
    """Whether the server knows no such upload any more."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and error_code(cause) == "NoSuchUpload"


def _then(work: Callable[[], T], afterwards: Callable[[], object]) -> T:
    """Does ``afterwards`` only when ``work`` went well."""
    result = work()
    afterwards()
    return result
