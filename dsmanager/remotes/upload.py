"""Writing an object: nothing becomes visible unless the bytes sent are the bytes meant.

Bytes are hashed in order as they are read, from the same memory that is sent. A multipart upload
is completed only when the sha256 agrees, and aborted in every other case.
"""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from dsmanager.errors import DsmanagerError, VerificationError, os_errors
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.failures import error_code, http_status, translate
from dsmanager.remotes.objects import SHA256_KEY, bare_etag

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["PART_BYTES", "NewObject", "Upload", "part_size"]

PART_BYTES = 16 << 20
"""Objects up to this size go in one request; larger ones in parts of at least this size."""

_MAX_PARTS = 10_000
_THREADS = 4
_BUFFERED_BYTES = 256 << 20
_SEND_BYTES = 256 << 10
_MIB = 1 << 20


def part_size(size: int) -> int:
    """Bytes of every part but the last: whole MiB, and never more than 10,000 parts."""
    needed = -(-size // _MAX_PARTS)
    return max(PART_BYTES, -(-needed // _MIB) * _MIB)


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


class Upload:
    """One object on its way to the server. :meth:`run` returns its ETag."""

    def __init__(
        self,
        client: S3Client,
        config: RemoteConfig,
        new: NewObject,
        *,
        before_visible: Callable[[], object] | None = None,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
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
        self._progress = progress
        self._cancel = cancel

    def run(self, path: Path) -> str:
        """Sends the file. Raises VerificationError when its bytes are not those of the sha256."""
        with os_errors(f"read {path.name}"), open(path, "rb", buffering=0) as file:
            if self._new.size <= PART_BYTES:
                content = memoryview(bytearray(self._new.size))
                self._fill(file, content)
                self._require_end(file)
                return self.send(content)
            return self._in_parts(file)

    def send(self, content: memoryview | bytes) -> str:
        """Sends ``content`` in one request."""
        self._require_sha256(hashlib.sha256(content).hexdigest())
        self._announce()
        with Crew(1, self._cancel) as crew:
            request = partial(crew.retried, partial(self._put, crew, content))
            return self._named(lambda: crew.result(crew.submit(request)))

    def _put(self, crew: Crew, content: memoryview | bytes) -> str:
        def request(**extra: Any) -> str:
            body: Any = _Body(content, crew, self._progress) if content else b""
            answer = self._client.put_object(**self._place, Body=body, **self._header, **extra)
            return bare_etag(answer.get("ETag"))

        return self._tolerant(request, self._acl | self._condition)

    def _in_parts(self, file: BinaryIO) -> str:
        upload_id = self._named(lambda: self._tolerant(self._create, self._acl))
        target = self._place | {"UploadId": upload_id}
        try:
            return self._named(lambda: self._send_parts(file, target))
        except BaseException:
            with suppress(BotoCoreError, ClientError):
                self._client.abort_multipart_upload(**target)
            raise

    def _create(self, **extra: Any) -> str:
        answer = self._client.create_multipart_upload(**self._place, **self._header, **extra)
        return str(answer["UploadId"])

    def _send_parts(self, file: BinaryIO, target: dict[str, Any]) -> str:
        length = part_size(self._new.size)
        count = -(-self._new.size // length)
        buffers = min(_THREADS + 1, count, max(2, _BUFFERED_BYTES // length))
        spare: queue.Queue[bytearray] = queue.Queue()
        for _ in range(buffers):
            spare.put(bytearray(length))
        digest = hashlib.sha256()
        etags: list[Future[str]] = []
        with Crew(min(_THREADS, buffers), self._cancel) as crew:
            for index in range(count):
                buffer = crew.take(spare)
                view = memoryview(buffer)[: self._new.size - index * length]
                self._fill(file, view)
                work = partial(self._send_part, crew, target, index + 1, view, buffer, spare)
                etags.append(crew.submit(work))
                digest.update(view)
            self._require_end(file)
            self._require_sha256(digest.hexdigest())
            parts = [
                {"PartNumber": number, "ETag": crew.result(etag)}
                for number, etag in enumerate(etags, 1)
            ]
            self._announce()
            finish = partial(self._complete, target, parts)
            return crew.result(crew.submit(partial(crew.retried, finish)))

    def _send_part(
        self,
        crew: Crew,
        target: dict[str, Any],
        number: int,
        view: memoryview,
        buffer: bytearray,
        spare: queue.Queue[bytearray],
    ) -> str:
        def request() -> str:
            body: Any = _Body(view, crew, self._progress)
            return str(self._client.upload_part(**target, PartNumber=number, Body=body)["ETag"])

        etag = crew.retried(request)
        spare.put(buffer)
        return etag

    def _complete(self, target: dict[str, Any], parts: list[dict[str, Any]]) -> str:
        def request(**extra: Any) -> str:
            answer = self._client.complete_multipart_upload(
                **target,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                **extra,
            )
            return bare_etag(answer.get("ETag"))

        return self._tolerant(request, self._condition)

    def _tolerant(self, request: Callable[..., str], extra: dict[str, Any]) -> str:
        """Sends ``request``; once more without what this server turns out not to know."""
        try:
            return request(**extra)
        except ClientError as error:
            if error_code(error) == "AccessControlListNotSupported" and "ACL" in extra:
                self._acl = {}
            elif _is_not_implemented(error) and "IfNoneMatch" in extra:
                self._condition = {}
            else:
                raise
            kept = {**self._acl, **self._condition}
            return self._tolerant(request, {k: v for k, v in extra.items() if k in kept})

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

    def _named(self, work: Callable[[], str]) -> str:
        try:
            return work()
        except DsmanagerError:
            raise
        except Exception as error:
            self._cancel.check()
            raise translate(error, self._config, self._url) from error


class _Body:
    """Bytes as botocore sends them: counts what is taken, and stops when nobody wants it.

    ``read`` hands out more than asked for: urllib3 asks for 16 KiB at a time, which costs a
    second of Python a gigabyte, and passes on whatever it gets.
    """

    def __init__(self, content: memoryview | bytes, crew: Crew, progress: Progress) -> None:
        self._content = memoryview(content)
        self._crew = crew
        self._progress = progress
        self._position = 0

    def __len__(self) -> int:
        return len(self._content)

    def read(self, _size: int = -1) -> memoryview | bytes:
        self._crew.check()
        piece = self._content[self._position : self._position + _SEND_BYTES]
        self._move(self._position + len(piece))
        return piece or b""

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, len(self._content))[whence]
        self._move(base + offset)
        return self._position

    def _move(self, position: int) -> None:
        self._progress.add_bytes(position - self._position)
        self._position = position


def _is_not_implemented(error: ClientError) -> bool:
    return http_status(error) == 501 or error_code(error) == "NotImplemented"
