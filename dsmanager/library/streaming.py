"""Loading a dataset straight from the remote: records by ranges, nothing downloaded as a whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.archives.offsets import is_uncompressed, member_offsets
from dsmanager.archives.record_index import SUFFIX
from dsmanager.archives.sidecar import Sidecar
from dsmanager.errors import (
    CredentialsError,
    DsmanagerError,
    NotFoundError,
    UsageError,
    VerificationError,
)
from dsmanager.library.archive_records import ArchiveRecords
from dsmanager.library.presence import ref_of_subdir
from dsmanager.library.scope import newest, refs_to_download
from dsmanager.library.transfer import sidecar_of_object
from dsmanager.loading.shards import Shard
from dsmanager.manifest import Entry
from dsmanager.progress import CancelToken
from dsmanager.refs import Ref, RefPattern
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.ranges import ObjectRanges
from dsmanager.streaming.block_cache import BlockCache, default_limit_bytes
from dsmanager.streaming.folder import fetch_folder, fetch_index, read_member
from dsmanager.streaming.streamed_object import StreamedObject
from dsmanager.streaming.streamed_shard import StreamedShard

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.remote import Remote, RemoteObject

__all__ = ["load_stream"]

_CONFIG_FOLDER = ".config"


def load_stream(
    library: LibraryPlaces,
    request: str,
    *,
    split: str | None,
    framework: str,
    cache_dir: str | os.PathLike[str] | None,
    cache_bytes: int | None,
    cancel: CancelToken,
    **options: Any,
) -> tuple[Any, Any]:
    """Opens ``request`` as ``(info, ds)`` whose records are read from the remote.

    ``cache_dir`` and ``cache_bytes`` are place and limit of the cache of blocks. ``options`` are
    those of :func:`~dsmanager.loading.load_directory`. Raises UsageError for the framework tf,
    NotFoundError and DsmanagerError that say how an archive is made that can be streamed,
    VerificationError for one that is not what its records say.
    """
    from dsmanager.loading import load_directory

    if framework == "tf":
        raise UsageError(
            'framework="tf" reads files, and stream=True has none',
            hint='use a loader: dsmanager.load(REF, split="train", framework="numpy", '
            "stream=True), then loader(…).as_tf()",
        )
    if cache_bytes is not None and cache_bytes < 0:
        raise UsageError(f"cache_bytes is {cache_bytes:,}", hint="cache_bytes=0 keeps nothing")
    found = _find(library, request)
    folder = Path(cache_dir) if cache_dir is not None else _default_folder()
    key = _key_of(found)
    place = folder.absolute() / "datasets" / key
    ranges = ObjectRanges(found.remote.config, found.object)
    subdir = _subdir_of(found.sidecar, RefPattern.parse(request), ranges, cancel)
    sizes = fetch_folder(place / subdir, found.sidecar, subdir, ranges, cancel)
    index_file = place / f"records{SUFFIX}"
    fetch_index(index_file, found.sidecar, found.remote, cancel)
    limit_bytes = default_limit_bytes(folder) if cache_bytes is None else cache_bytes
    source = StreamedObject(ranges, BlockCache(folder.absolute(), limit_bytes), key, index_file)
    shards = _StreamedShards(sizes, subdir, member_offsets(found.sidecar), source)
    return load_directory(
        place / subdir, split=split, framework=framework, elsewhere=shards, **options
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """An uncompressed archive on a remote, and its sidecar."""

    ref: Ref
    remote: Remote
    object: RemoteObject
    sidecar: Sidecar


@dataclass(frozen=True, slots=True)
class _StreamedShards:
    """The shards of one version folder, as members of the archive."""

    sizes: Mapping[str, int]
    subdir: str
    starts: Mapping[str, int]
    source: StreamedObject

    def open(self, path: Path, file_format: str, count: int) -> Shard:
        if file_format != "tfrecord":
            name = self.subdir.partition("/")[0]
            raise DsmanagerError(
                f"{path.name} is of the format {file_format}, and only tfrecord is streamed",
                hint=f"build it so: dsmanager build {name} --clean --format tfrecord, then: "
                f"dsmanager package {name} --compression none --overwrite, "
                f"then: dsmanager upload {name} --overwrite",
            )
        member = f"{self.subdir}/{path.name}"
        size_bytes = self.sizes[path.name]
        return StreamedShard(self.source, member, self.starts[member], size_bytes, count)


def _find(library: LibraryPlaces, request: str) -> _Found:
    """The archive that is meant, by its key; the remote is listed only where no name is known."""
    ref = _ref_of(library, request)
    entry = library.manifest.entries.get(ref)
    remote = library.remote_of(entry)
    denied: CredentialsError | None = None
    for name in _names(ref, entry):
        try:
            found = remote.head(name)
        except CredentialsError as error:  # who may not list is told that of what is not there, too
            denied = denied or error
            continue
        if found is None:
            continue
        sidecar = sidecar_of_object(remote, found)
        if sidecar is None:
            raise NotFoundError(
                f"{remote.url_of(name)} has no sidecar, and cannot be streamed without it",
                hint=_how_to_send(ref),
            )
        recorded = entry if entry is not None and entry.archive == name else None
        ArchiveRecords(ref, recorded, sidecar, found.size, found.sha256).agreed_sha256()
        if not is_uncompressed(sidecar):
            format_ = sidecar.compression.get("format")
            raise UsageError(
                f"{remote.url_of(name)} is compressed ({format_}), and cannot be streamed",
                hint=_how_to_send(ref),
            )
        return _Found(ref, remote, found, sidecar)
    if denied is not None:
        raise denied
    raise NotFoundError(
        f"{remote.url_of(ref.archive_name('none'))} does not exist", hint=_how_to_send(ref)
    )


def _ref_of(library: LibraryPlaces, request: str) -> Ref:
    """The ref that is meant: by its version, else the newest that is recorded, else listed."""
    pattern = RefPattern.parse(request)
    if pattern.version is not None and not pattern.is_glob:
        return Ref(pattern.name, pattern.config, pattern.version)
    recorded = [ref for ref in library.manifest.entries if pattern.matches(ref)]
    plain = [ref for ref in recorded if ref.config == pattern.config]
    found = newest(plain or recorded) or newest(refs_to_download(library, [request]))
    return found[0]


def _names(ref: Ref, entry: Entry | None) -> Iterator[str]:
    """Names that the archive may have; the uncompressed one before those that cannot be used."""
    names = [entry.archive] if entry is not None else []
    names += [ref.archive_name(compression) for compression in ("none", "gz", "zst")]
    yield from sorted(dict.fromkeys(names), key=lambda name: not name.endswith(".tar"))


def _how_to_send(ref: Ref) -> str:
    return (
        f"make one that can be: dsmanager package {ref} --compression none, "
        f"then: dsmanager upload {ref}"
    )


def _subdir_of(
    sidecar: Sidecar, pattern: RefPattern, ranges: ObjectRanges, cancel: CancelToken
) -> str:
    """The version folder that is meant; of several configs the default one."""
    versions = {
        ref_of_subdir(subdir): subdir
        for subdir in sidecar.subdir
        if not subdir.endswith(f"/{_CONFIG_FOLDER}")
    }
    meant = [ref for ref in versions if pattern.config in (None, ref.config)]
    if not meant:
        raise VerificationError(
            f"{ranges.url} holds no config {pattern.config}", hint="see: dsmanager list"
        )
    if len(meant) == 1:
        return versions[meant[0]]
    default = None
    for member in sidecar.members:
        if member.path == f"{sidecar.ref.name}/{_CONFIG_FOLDER}/metadata.json":
            with Crew(1, cancel) as crew:
                content = read_member(member, sidecar, ranges, crew)
            default = json.loads(content).get("default_config_name")
    return versions[next((ref for ref in meant if ref.config == default), min(meant))]


def _key_of(found: _Found) -> str:
    """Names the bytes of one object at one time, in the cache."""
    config, obj = found.remote.config, found.object
    identity = [config.endpoint_url, config.url_of(obj.name), obj.etag, found.sidecar.sha256]
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()


def _default_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("dsmanager")) / "streams"
