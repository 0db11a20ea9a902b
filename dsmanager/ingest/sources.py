"""Where the bytes of a source come from: files, http(s), S3 and AIStore.

Owns finding sources before any work begins, and opening one as a stream wherever a task runs. A
source travels to other processes as JSON: it names places and never holds a credential. Nothing
here ever writes to a source.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.errors import (
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    UsageError,
    VerificationError,
    from_os_error,
)
from dsmanager.progress import CancelToken, Progress
from dsmanager.settings import RemoteConfig, Settings
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["Source", "locate", "opened_file", "raw_chunks"]

_LOOKS_AT_ONCE = 16
_CHUNK_BYTES = 1 << 20
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Source:
    """One tar: where it is, and what tells that it is still the same."""

    url: str
    """A path, or a URL of a scheme that is read here."""
    size_bytes: int | None
    version: str
    """ETag, modification time: changes when the content does; empty where nothing tells."""
    access: Mapping[str, Any] | None = None
    """How to reach it, where the URL does not say: a remote's settings, AIStore's endpoint."""

    @property
    def name(self) -> str:
        """Its base name, which is the same wherever it lies."""
        path = self.url.partition("?")[0] if "://" in self.url else self.url
        return path.rstrip("/").rpartition("/")[2]

    @property
    def shown(self) -> str:
        return plain(redact(self.url))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def locate(
    urls: Sequence[str],
    settings: Settings,
    *,
    ais: Mapping[str, Any] | None = None,
    cancel: CancelToken,
) -> list[Source]:
    """Every source, looked at in parallel; ``ais`` says how AIStore is reached.

    Raises NotFoundError that names those that are not there, UsageError for a scheme that nobody
    reads, and what else keeps one from being looked at.
    """
    remotes = _Remotes(settings)
    errors: list[DsmanagerError] = []
    found: list[Source] = []
    with ThreadPoolExecutor(min(_LOOKS_AT_ONCE, max(1, len(urls)))) as pool:
        looks = [pool.submit(_look, url, settings, remotes, ais, cancel) for url in urls]
        for look in looks:
            try:
                found.append(look.result())
            except DsmanagerError as error:
                if not isinstance(error, NotFoundError):
                    for other in looks:
                        other.cancel()
                    raise
                errors.append(error)
    if errors:
        raise _missing(errors, len(urls))
    return found


def _missing(errors: Sequence[DsmanagerError], total: int) -> DsmanagerError:
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(error.message for error in errors[:_MOST_NAMED])
    more = f"; and {len(errors) - _MOST_NAMED} more" if len(errors) > _MOST_NAMED else ""
    return NotFoundError(
        f"{len(errors)} of {total} sources are not there: {named}{more}", hint=errors[0].hint
    )


def _look(
    url: str,
    settings: Settings,
    remotes: _Remotes,
    ais: Mapping[str, Any] | None,
    cancel: CancelToken,
) -> Source:
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme in ("", "file"):
        return _look_at_file(settings.working_dir / os.path.expanduser(url.removeprefix("file://")))
    if scheme in ("http", "https"):
        from dsmanager.ingest.web import WebObject

        return Source(url, *WebObject(url).look(cancel))
    if scheme == "s3":
        return remotes.look(url)
    if scheme == "ais":
        from dsmanager.ingest.aistore import look

        return Source(url, *look(url, ais, cancel))
    raise UsageError(
        f"{plain(redact(url))}: nothing reads {plain(scheme)}://",
        hint="sources are paths, http(s)://, s3:// and ais://; see: dsmanager convert --help",
    )


def _look_at_file(path: Path) -> Source:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"{plain(str(path))} is not there", hint="check the template with: echo TEMPLATE"
        ) from None
    except OSError as error:
        raise from_os_error(error, "read a source") from error
    if not path.is_file():
        raise UsageError(
            f"{plain(str(path))} is no file",
            hint="name tars: dsmanager convert 'DIR/train-{0..7}.tar' OUT; or, where ImageNet lies "
            "in it: dsmanager convert DIR OUT --to tpu",
        )
    return Source(str(path), status.st_size, str(status.st_mtime_ns))


class _Remotes:
    """The remotes that sources in S3 are read through, one for each bucket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[RemoteConfig, Remote] = {}

    def look(self, url: str) -> Source:
        from dsmanager.remotes.remote import Remote

        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not key:
            raise UsageError(
                f"{plain(url)} names no object",
                hint="for example: dsmanager convert 's3://bucket/train-{0..7}.tar' OUT",
            )
        config = self._config(bucket, key)
        remote = self._made.setdefault(config, Remote(config))
        found = remote.head(key)
        if found is None:
            raise NotFoundError(
                f"{plain(url)} is not there", hint="check the template with: echo TEMPLATE"
            )
        access = {name: value for name, value in asdict(config).items() if value is not None}
        if config.credentials_file is not None:
            access["credentials_file"] = str(config.credentials_file)
        return Source(url, found.size, found.etag, access)

    def _config(self, bucket: str, key: str) -> RemoteConfig:
        """The configured remote of the bucket, the one with the nearest prefix, as its root."""
        of_bucket = [each for each in self._settings.remotes.values() if each.bucket == bucket]
        root = f"s3://{bucket}/"
        if not of_bucket:
            return self._settings.remote_named(root)

        def nearness(remote: RemoteConfig) -> int:
            return len(remote.prefix) if key.startswith(f"{remote.prefix}/") else -1

        chosen = max(of_bucket, key=nearness)
        return replace(self._settings.remote_named(chosen.name), url=root)


@contextmanager
def opened_file(source: Source) -> Iterator[Any]:
    """The file of a local source, unbuffered; None for one that is elsewhere."""
    if "://" in source.url:
        yield None
        return
    try:
        with open(source.url, "rb", buffering=0) as file:
            _require_same(source, file)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            try:
                yield file
            except VerificationError:
                _require_same(source, file)  # or it is not damaged
                raise
            _require_same(source, file)
    except FileNotFoundError as error:
        raise NotFoundError(f"{source.shown} is not there any more") from error
    except OSError as error:
        raise from_os_error(error, "read a source") from error


def _require_same(source: Source, file: Any) -> None:
    status = os.fstat(file.fileno())
    if (status.st_size, str(status.st_mtime_ns)) != (source.size_bytes, source.version):
        raise TemporaryError(
            f"{source.shown} changed since the conversion began",
            hint="run the same command again once nobody writes to it",
        )


def raw_chunks(
    source: Source, file: Any, progress: Progress, cancel: CancelToken
) -> Generator[bytes]:
    """The bytes as they are stored, front to back; adds them to ``progress``."""
    if file is not None:
        while chunk := file.read(_CHUNK_BYTES):
            progress.add_bytes(len(chunk))
            yield chunk
        return
    if source.url.startswith("s3://"):
        yield from _s3_chunks(source, progress, cancel)
    elif source.url.startswith("ais://"):
        from dsmanager.ingest.aistore import chunks

        yield from chunks(source.url, source.access or {}, source.version, progress, cancel)
    else:
        from dsmanager.ingest.web import WebObject

        yield from WebObject(source.url).chunks(source.version, progress, cancel)


def _s3_chunks(source: Source, progress: Progress, cancel: CancelToken) -> Generator[bytes]:
    from dsmanager.remotes.objects import RemoteObject
    from dsmanager.remotes.remote import Remote

    settings = dict(source.access or {})
    if "credentials_file" in settings:
        settings["credentials_file"] = Path(settings["credentials_file"])
    config = RemoteConfig(**settings)
    key = source.url.removeprefix(f"s3://{config.bucket}/")
    with Remote(config) as remote:
        obj = RemoteObject(key, source.size_bytes or 0, source.version, "")
        for view in remote.pieces(obj, progress=progress, cancel=cancel):
            yield bytes(view)
