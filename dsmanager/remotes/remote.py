"""One remote: the objects below a prefix of a bucket, and what can be done with them.

Every method raises dsmanager's errors only. Names are keys below the prefix. Nothing here decides
what ought to be uploaded or downloaded, and nothing trusts an ETag to be a checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dsmanager.errors import (
    AlreadyExistsError,
    CredentialsError,
    DsmanagerError,
    TemporaryError,
    VerificationError,
    os_errors,
)
from dsmanager.files import require_free_bytes
from dsmanager.partial import PartialFile
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.acl import takes_acls
from dsmanager.remotes.bounds import bounded_pages
from dsmanager.remotes.client import Access, Clients, no_credentials
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.download import Download
from dsmanager.remotes.failures import error_code, http_status, not_s3, translated
from dsmanager.remotes.listing import objects_in
from dsmanager.remotes.objects import RemoteObject
from dsmanager.remotes.rate import RateLimit
from dsmanager.remotes.readback import what_was_lost
from dsmanager.remotes.small import read_small
from dsmanager.remotes.unfinished import UnfinishedUpload, abort_upload, list_uploads
from dsmanager.remotes.upload import NewObject, Upload
from dsmanager.remotes.upload_notes import UploadNotes

if TYPE_CHECKING:
    from dsmanager.settings import RemoteConfig

__all__ = ["Remote", "RemoteObject"]

_HEADS_AT_ONCE = 16


class Remote:
    """A place for archives in an S3 store. Cheap to make: it connects when it is first used."""

    heads_at_once = 8

    def __init__(self, config: RemoteConfig) -> None:
        self.config = config
        self._clients = Clients(config)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections; it may be used again."""
        self._clients.close()

    @property
    def clients(self) -> Clients:
        """The botocore clients behind it, for ``remote check`` and clean-up."""
        return self._clients

    def key_of(self, name: str) -> str:
        return self.config.key_of(name)

    def url_of(self, name: str) -> str:
        """``s3://bucket/prefix/name``."""
        return self.config.url_of(name)

    def list(self) -> list[RemoteObject]:
        """Every object directly below the prefix, sorted by name, without metadata."""
        prefix = self.key_of("")
        found: list[RemoteObject] = []
        with self._translated(self.config.url):
            pages = self._clients.control.get_paginator("list_objects_v2").paginate(
                Bucket=self.config.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in bounded_pages(pages, entries="Contents", key="Key"):
                if "IsTruncated" not in page:
                    raise not_s3(self.config)
                try:
                    found += objects_in(page.get("Contents", ()), prefix)
                except (KeyError, ValueError, OverflowError) as error:
                    raise not_s3(self.config) from error
        return sorted(found, key=lambda obj: obj.name)

    def head(self, name: str) -> RemoteObject | None:
        """The object with its metadata, or None. Raises NotFoundError when the bucket is absent."""
        with self._translated(self.url_of(name)):
            try:
                return self._head(name)
            except ClientError as error:
                self._explain(error)
                return None

    def heads(self, names: Iterable[str]) -> dict[str, RemoteObject]:
        """The objects of those names that exist, with metadata; asked for in parallel."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        with Crew(min(_HEADS_AT_ONCE, len(wanted)), CancelToken()) as crew:
            futures = [(name, crew.submit(partial(self.head, name))) for name in wanted]
            found = {name: crew.result(future) for name, future in futures}
        return {name: obj for name, obj in found.items() if obj is not None}

    def read_bytes(self, name: str, *, max_bytes: int) -> bytes | None:
        """The content of a small object; None when it does not exist.

        Raises VerificationError when it is larger than ``max_bytes`` or not what its metadata says.
        """
        with self._translated(self.url_of(name)):
            found = read_small(
                self._clients.control, self.config, self.key_of(name), max_bytes=max_bytes
            )
        return found[0] if found is not None else None

    def upload_file(
        self,
        path: Path,
        name: str,
        *,
        size: int,
        sha256: str,
        overwrite: bool = False,
        public: bool = False,
        before_visible: Callable[[], object] | None = None,
        notes_dir: Path | None = None,
        limit: RateLimit | None = None,
        progress: Progress,
        cancel: CancelToken,
    ) -> RemoteObject:
        """Sends a file whose size and sha256 are known; it is visible only when they agree.

        ``before_visible`` is called once the bytes were found right, before the object can be seen.
        With ``notes_dir`` an interrupted upload in parts stays on the server, is remembered there,
        and gone on with by the next call; without, it is aborted.
        Sends nothing when the same content is there already. Raises AlreadyExistsError when other
        content is there and ``overwrite`` is False, VerificationError when the file is not as
        recorded, CredentialsError when ``public`` and an unsigned request cannot see the object.
        """
        new = NewObject(
            name, self.key_of(name), size, sha256, "application/octet-stream", overwrite, public
        )
        notes = self._upload_notes(name, notes_dir) if notes_dir is not None else None
        upload = self._upload(
            new,
            before_visible=before_visible,
            notes=notes,
            limit=limit,
            progress=progress,
            cancel=cancel,
        )
        return self._store(new, upload, lambda: upload.run(path))

    def upload_bytes(
        self,
        content: bytes,
        name: str,
        *,
        sha256: str | None = None,
        overwrite: bool = True,
        public: bool = False,
        content_type: str = "application/json",
    ) -> RemoteObject:
        """Sends a small object, such as a sidecar; otherwise as :meth:`upload_file`."""
        new = NewObject(
            name,
            self.key_of(name),
            len(content),
            sha256 or hashlib.sha256(content).hexdigest(),
            content_type,
            overwrite,
            public,
        )
        upload = self._upload(new, progress=Progress(), cancel=CancelToken())
        return self._store(new, upload, lambda: upload.send(content))

    def make_public(self, name: str) -> None:
        """Lets everybody read an object that is there already.

        Raises CredentialsError when an unsigned request still cannot see it.
        """
        self._require_credentials()
        if not self.is_public(name) and self.takes_acls():
            with self._translated(self.url_of(name)), suppress(ClientError):
                self._clients.control.put_object_acl(
                    Bucket=self.config.bucket, Key=self.key_of(name), ACL="public-read"
                )
        self._require_public(name)

    def download_file(
        self,
        obj: RemoteObject,
        destination: Path,
        *,
        resume: bool = False,
        limit: RateLimit | None = None,
        progress: Progress,
        cancel: CancelToken,
    ) -> str:
        """Writes the object into ``destination``, a temporary path of the caller.

        Returns the sha256 of what arrived. With ``resume``, bytes of the same object that an
        interrupted call left there are not fetched again, and this call leaves as much; see
        :mod:`dsmanager.partial`. Raises TemporaryError when the object changes meanwhile
        and NoSpaceError before anything is sent when it cannot fit.
        """
        identity = {"url": self.url_of(obj.name), "etag": obj.etag} if obj.etag else None
        with ExitStack() as stack:
            with os_errors(f"write {obj.name}"):
                file = PartialFile(destination, obj.size, identity if resume else None)
                stack.enter_context(file)
                missing = obj.size - file.allocated_bytes()
            require_free_bytes(destination.parent, missing, obj.name)
            if file.was_of_another:
                progress.note(f"{obj.name} has changed since its download began: starting again")
            if file.found_bytes:
                found, size = file.found_bytes / 1e6, obj.size / 1e6
                progress.note(f"{obj.name}: resuming, {found:,.0f} of {size:,.0f} MB are here")
            return self._read(obj, file, limit, progress, cancel)

    def holds(
        self,
        obj: RemoteObject,
        size: int,
        sha256: str,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> bool:
        """Whether the object is this content: by its metadata, or, without any, by its bytes."""
        if obj.size != size or obj.sha256 is not None:
            return obj.holds(size, sha256)
        found = self.hash_object(
            obj, progress=progress or Progress(), cancel=cancel or CancelToken()
        )
        return found == sha256

    def hash_object(self, obj: RemoteObject, *, progress: Progress, cancel: CancelToken) -> str:
        """Reads the object without saving it; returns its sha256."""
        return self._read(obj, None, None, progress, cancel)

    def pieces(
        self, obj: RemoteObject, *, progress: Progress, cancel: CancelToken
    ) -> Iterator[memoryview]:
        """The object front to back; each piece is valid until the next is asked for.

        Raises TemporaryError when the object changes meanwhile.
        """
        with self._translated(self.url_of(obj.name)):
            yield from self._download(obj, None, None, progress, cancel).pieces()

    def delete(self, name: str) -> None:
        """Removes the object; no error when it is not there."""
        self._require_credentials()
        with self._translated(self.url_of(name)):
            self._clients.control.delete_object(Bucket=self.config.bucket, Key=self.key_of(name))

    def unfinished_uploads(self) -> tuple[UnfinishedUpload, ...]:
        """Multipart uploads directly below the prefix that nobody has completed, oldest first.

        Another machine may be busy with one of them: whoever aborts has to look at its age.
        """
        with self._translated(self.config.url):
            return list_uploads(self._clients.control, self.config.bucket, self.key_of(""))

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Ends an unfinished upload and frees its parts; no error when it has ended already."""
        self._require_credentials()
        place = {"Bucket": self.config.bucket, "Key": self.key_of(upload.name)}
        with self._translated(self.url_of(upload.name)):
            abort_upload(self._clients.control, place, upload.upload_id)

    def is_public(self, name: str) -> bool:
        """Whether a request without credentials sees the object."""
        with translated(self.config, self.url_of(name)):
            try:
                self._clients.unsigned.head_object(Bucket=self.config.bucket, Key=self.key_of(name))
            except ClientError as error:
                if http_status(error) in (400, 401, 403, 404):
                    return False
                raise
        return True

    def takes_acls(self) -> bool:
        """Whether the server takes an ACL for what it is; tried on an object that is removed."""
        with self._translated(self.config.url):
            return takes_acls(self._clients.control, self.config.bucket, self.key_of)

    def forget_upload(self, name: str, notes_dir: Path) -> None:
        """Ends what an interrupted upload of ``name`` left; for one that is not wanted any more."""
        notes = self._upload_notes(name, notes_dir)
        if (begun := notes.read()) is not None:
            self.abort_upload(UnfinishedUpload(name, begun.upload_id, ""))
        notes.forget()

    def _upload_notes(self, name: str, notes_dir: Path) -> UploadNotes:
        endpoint = self._clients.upload.meta.endpoint_url
        return UploadNotes(notes_dir, endpoint, self.config.bucket, self.key_of(name))

    def _upload(self, new: NewObject, **more: Any) -> Upload:
        return Upload(
            self._clients.upload,
            self.config,
            new,
            with_crc32=self._clients.is_aws,
            confirmed=not self._clients.uses_tls,
            **more,
        )

    def _store(self, new: NewObject, upload: Upload, send: Callable[[], str]) -> RemoteObject:
        """Sends ``new`` unless it is there, reads back what the server says, and publishes it."""
        self._require_credentials()
        existing = None if new.overwrite else self.head(new.name)
        stored = self._same(existing, new) if existing else self._sent(new, upload, send)
        if new.public and existing is not None:
            self.make_public(new.name)
        elif new.public:
            self._require_public(new.name)
        return stored

    def _sent(self, new: NewObject, upload: Upload, send: Callable[[], str]) -> RemoteObject:
        """Runs ``send`` and reads back. An answer that got lost counts when the object is there."""
        try:
            etag = send()
        except (AlreadyExistsError, TemporaryError) as error:
            try:
                stored = self.head(new.name)
            except DsmanagerError:
                raise error from None
            if stored is None or not self.holds(stored, new.size, new.sha256):
                raise
            upload.forget()
            etag = stored.etag
        return self._read_back(new, etag, upload.crc32)

    def _read_back(self, new: NewObject, etag: str, crc32: str | None) -> RemoteObject:
        """The object as the server has it now; removes one that is not what was sent."""
        with self._translated(self.url_of(new.name)):
            try:
                answer = self._clients.control.head_object(
                    Bucket=self.config.bucket, Key=self.key_of(new.name), ChecksumMode="ENABLED"
                )
            except ClientError as error:
                self._explain(error)
                answer = None
        stored = RemoteObject.from_head(new.name, answer) if answer is not None else None
        url = self.url_of(new.name)
        if stored is None or answer is None or stored.etag != etag:
            if stored is not None and self.holds(stored, new.size, new.sha256):
                return stored  # somebody wrote the same
            raise TemporaryError(
                f"{url} was replaced or removed by somebody while it was uploaded",
                hint="see what is there: dsmanager list",
            )
        lost = what_was_lost(stored, answer, new.size, new.sha256, crc32)
        if lost is None:
            return stored
        self.delete(new.name)
        raise VerificationError(
            f"{url} was removed again: the server did not keep its {lost}",
            hint=f"see what this server can do: dsmanager remote check {self.config.name}",
        )

    def _same(self, existing: RemoteObject, new: NewObject) -> RemoteObject:
        if self.holds(existing, new.size, new.sha256):
            return existing
        raise AlreadyExistsError(
            f"{self.url_of(new.name)} exists with other content",
            hint="replace it: dsmanager upload --overwrite",
        )

    def _require_public(self, name: str) -> None:
        if self.is_public(name):
            return
        bucket = self.config.bucket
        resource = f"arn:aws:s3:::{bucket}/{self.key_of('*')}"
        raise CredentialsError(
            f"{self.url_of(name)} is uploaded, but not public",
            hint="let the bucket's policy allow everybody (Principal '*') the action s3:GetObject "
            f"on {resource}: aws s3api put-bucket-policy --bucket {bucket} --policy FILE",
        )

    def _read(
        self,
        obj: RemoteObject,
        file: PartialFile | None,
        limit: RateLimit | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> str:
        with self._translated(self.url_of(obj.name)):
            return self._download(obj, file, limit, progress, cancel).run()

    def _download(
        self,
        obj: RemoteObject,
        file: PartialFile | None,
        limit: RateLimit | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> Download:
        return Download(
            self._clients.download,
            self.config,
            self.key_of(obj.name),
            obj,
            file=file,
            limit=limit,
            progress=progress,
            cancel=cancel,
        )

    def _head(self, name: str) -> RemoteObject:
        answer = self._clients.control.head_object(Bucket=self.config.bucket, Key=self.key_of(name))
        # A web page of somebody in between is answered with 200, too.
        if not answer.get("ETag") or "ContentLength" not in answer:
            raise not_s3(self.config)
        return RemoteObject.from_head(name, answer)

    def _explain(self, error: ClientError) -> None:
        """Raises why HEAD failed: its answer has no body, so that a listing has to say.

        Returns when only the object is absent.
        """
        absent = http_status(error) == 404
        if not absent and http_status(error) not in (301, 307, 400, 401, 403):
            raise error
        try:
            self._clients.control.list_objects_v2(Bucket=self.config.bucket, MaxKeys=1)
        except ClientError as reason:
            if not absent or error_code(reason) != "AccessDenied":
                raise
        else:
            if not absent:
                raise error

    def _require_credentials(self) -> None:
        if self._clients.access is Access.NONE:
            raise no_credentials(self.config)

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        """As :func:`translated`; refused for want of any credentials is said as that."""
        try:
            with translated(self.config, url):
                yield
        except CredentialsError as error:
            if self._clients.access is Access.NONE:
                raise no_credentials(self.config) from error
            raise
