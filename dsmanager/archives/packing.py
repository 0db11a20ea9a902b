"""Packing: the built files of a dataset become one archive and its sidecar.

Every file is read once. Hashing of members, of the tar stream and of the archive, compression and
writing run on lanes of their own; the bytes do not depend on how many there are. A file that
changes meanwhile is an error, never a wrong archive.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from io import FileIO
from pathlib import Path, PurePosixPath

from dsmanager.archives import tar
from dsmanager.archives.commits import commit, recover
from dsmanager.archives.compression import Compressed, Compressor, compressor_for
from dsmanager.archives.lanes import Lane, MemberHashes
from dsmanager.archives.offsets import new_folders
from dsmanager.archives.paths import MalformedError, PathRegistry, check_path, sort_key
from dsmanager.archives.sidecar import Member, Sidecar, SidecarFacts, sidecar_path, subdir_order
from dsmanager.cpus import available_cpus
from dsmanager.errors import DsmanagerError, NotFoundError, UsageError, from_os_error
from dsmanager.files import make_folders, remove_path, temporary_path
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

__all__ = ["SidecarFacts", "commit", "pack", "recover"]

_MAX_THREADS = 8
_FLUSH_BYTES = 64 << 20


def pack(
    data_dir: Path,
    ref: Ref,
    subdirs: Sequence[PurePosixPath],
    archive: Path,
    *,
    compression: str = "gz",
    facts: SidecarFacts,
    before_visible: Callable[[Sidecar], object] | None = None,
    progress: Progress,
    cancel: CancelToken,
    threads: int | None = None,
) -> Sidecar:
    """Packs ``data_dir/<subdir>/*`` into ``archive``, replacing it, and writes its sidecar.

    ``subdirs`` are version folders of ``ref.name`` and perhaps ``<name>/.config``. ``threads``
    compress (default: one a CPU, at most 8); they do not change the bytes. ``before_visible`` is
    called when all bytes are written and nothing can be seen yet. The caller holds the archive's
    lock and has decided that it may be replaced.

    Raises DsmanagerError when a folder holds anything but regular files or a file changes while it
    is read, NotFoundError for a folder without files, NoSpaceError, CancelledError.
    """
    compressor = compressor_for(compression)
    sources = _plan(data_dir, ref, subdirs)
    progress.start_phase(
        "package",
        bytes_total=sum(source.size for source in sources),
        items_total=len(sources),
        item_unit="files",
    )
    temporary = temporary_path(archive)
    try:
        make_folders(archive.parent)
        threads = threads or min(available_cpus(), _MAX_THREADS)
        packed = _write(sources, temporary, compressor, progress, cancel, threads)
        sidecar = _describe(ref, archive, compressor, packed, facts)
        content = sidecar.to_bytes()
        sidecar = Sidecar.from_bytes(content, sidecar_path(archive).name)  # what others will read
        if before_visible is not None:
            before_visible(sidecar)
        commit(temporary, archive, content)
    except OSError as error:
        raise from_os_error(error, f"package {ref}") from error
    finally:
        remove_path(temporary)
    return sidecar


# --- what goes in ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    path: str
    file: Path
    size: int
    mtime_ns: int

    def changed(self) -> DsmanagerError:
        return DsmanagerError(
            f"{self.path} changed while it was packed",
            hint="wait until nothing writes there, and run the same dsmanager package again",
        )


def _plan(data_dir: Path, ref: Ref, subdirs: Sequence[PurePosixPath]) -> list[_Source]:
    """The files to pack, in the order of the archive."""
    sources = []
    for subdir in subdirs:
        if subdir.is_absolute() or len(subdir.parts) < 2 or subdir.parts[0] != ref.name:
            raise UsageError(
                f"{subdir} is no version folder of {ref.name}", hint="see: dsmanager list"
            )
        sources += _files(data_dir, str(subdir), ref)
    sources.sort(key=lambda source: sort_key(source.path))
    registry = PathRegistry()
    try:
        for source in sources:
            registry.add_file(check_path(source.path))
    except MalformedError as error:
        raise DsmanagerError(f"{ref} cannot be packed: {error}", ref=str(ref)) from error
    return sources


def _files(data_dir: Path, subdir: str, ref: Ref) -> list[_Source]:
    folder = data_dir / subdir
    try:
        entries = list(os.scandir(folder))
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _nothing(folder, ref) from error
    except OSError as error:
        raise from_os_error(error, f"package {ref}") from error
    for name, status in found:
        if not stat.S_ISREG(status.st_mode):
            raise DsmanagerError(
                f"{subdir}/{name} is not a regular file; a version folder holds only files",
                hint=f"move it away, or build again: dsmanager build {ref} --clean",
                ref=str(ref),
            )
    if not found:
        raise _nothing(folder, ref)
    return [
        _Source(f"{subdir}/{name}", folder / name, status.st_size, status.st_mtime_ns)
        for name, status in found
    ]


def _nothing(folder: Path, ref: Ref) -> NotFoundError:
    return NotFoundError(
        f"{folder} holds no files to pack",
        hint=f"build it first: dsmanager build {ref}",
        ref=str(ref),
    )


# --- one reading, three digests --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Packed:
    members: tuple[Member, ...]
    size: int
    sha256: str
    tar_sha256: str


def _write(
    sources: list[_Source],
    temporary: Path,
    compressor: Compressor,
    progress: Progress,
    cancel: CancelToken,
    threads: int,
) -> _Packed:
    """Writes the archive to ``temporary`` and flushes it to disk."""
    sha256s: dict[str, str] = {}
    tar_sha256 = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(temporary, flags, 0o644), "wb", buffering=0) as file, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="compress"))
        output = _Output(file, compressor, stack.enter_context(Lane("flush", depth=2)))
        writing = stack.enter_context(Lane("write", depth=threads + 2))
        hashing_tar = stack.enter_context(Lane("hash tar"))
        hashing = stack.enter_context(Lane("hash members"))

        def pass_on(block: memoryview) -> None:
            hashing_tar.submit(tar_sha256.update, block)
            writing.submit(output.add, pool.submit(compressor.compress, block))

        output.write(compressor.start())
        members = MemberHashes(hashing, sha256s.__setitem__)
        _make_tar(sources, _Blocks(compressor.block_bytes, pass_on), members, progress, cancel)
        members.flush()
        writing.submit(output.end)
    return _Packed(
        tuple(Member(source.path, source.size, sha256s[source.path]) for source in sources),
        output.size,
        output.sha256.hexdigest(),
        tar_sha256.hexdigest(),
    )


class _Output:
    """The archive file: hashed, written, and flushed to disk while more is to come."""

    def __init__(self, file: FileIO, compressor: Compressor, flushing: Lane) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._file = file
        self._compressor = compressor
        self._flushing = flushing
        self._flush_at = _FLUSH_BYTES

    def add(self, block: Future[Compressed]) -> None:
        self.write(self._compressor.add(block.result()))

    def end(self) -> None:
        self.write(self._compressor.end())
        os.fsync(self._file.fileno())

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.sha256.update(data)
        self.size += len(data)
        if self.size >= self._flush_at:
            self._flush_at = self.size + _FLUSH_BYTES
            self._flushing.submit(os.fsync, self._file.fileno())


class _Blocks:
    """Cuts the tar stream into blocks of one size and hands each on when it is full."""

    def __init__(self, block_bytes: int, pass_on: Callable[[memoryview], None]) -> None:
        self.length = 0
        self._block_bytes = block_bytes
        self._pass_on = pass_on
        self._start()

    def write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            count = min(len(data) - at, self._block_bytes - self._filled)
            self._view[self._filled : self._filled + count] = data[at : at + count]
            at += count
            self._advance(count)

    def read(self, descriptor: int, limit: int) -> memoryview:
        """Reads up to ``limit`` bytes of a file into the stream; returns them, none at its end."""
        space = self._view[self._filled : self._filled + limit]
        space = space[: os.readv(descriptor, [space])]
        self._advance(len(space))
        return space

    def flush(self) -> None:
        if self._filled:
            self._pass_on(self._view[: self._filled])
            self._start()

    def _start(self) -> None:
        self._view = memoryview(bytearray(self._block_bytes))
        self._filled = 0

    def _advance(self, count: int) -> None:
        self.length += count
        self._filled += count
        if self._filled == self._block_bytes:
            self.flush()


def _make_tar(
    sources: list[_Source],
    blocks: _Blocks,
    members: MemberHashes,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    folders: set[str] = set()
    for source in sources:
        for folder in new_folders(source.path, folders):
            blocks.write(tar.folder_header(folder))
        blocks.write(tar.file_header(source.path, source.size))
        for piece in _read(source, blocks, cancel):
            members.add(piece)
            progress.add_bytes(len(piece))
        members.end(source.path)
        blocks.write(tar.padding(source.size))
        progress.add_items()
    blocks.write(tar.stream_end(blocks.length))
    blocks.flush()


def _read(source: _Source, blocks: _Blocks, cancel: CancelToken) -> Iterator[memoryview]:
    """Reads the file into ``blocks``; exactly as many bytes as its header says."""
    descriptor = os.open(source.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        remaining = source.size
        while remaining:
            cancel.check()
            piece = blocks.read(descriptor, remaining)
            if not piece:
                raise source.changed()
            remaining -= len(piece)
            yield piece
        status = os.fstat(descriptor)
        if (status.st_size, status.st_mtime_ns) != (source.size, source.mtime_ns):
            raise source.changed()
    finally:
        os.close(descriptor)


def _describe(
    ref: Ref, archive: Path, compressor: Compressor, packed: _Packed, facts: SidecarFacts
) -> Sidecar:
    folders = {member.path.rpartition("/")[0] for member in packed.members}
    return Sidecar(
        ref=ref,
        archive=archive.name,
        size=packed.size,
        sha256=packed.sha256,
        tar_sha256=packed.tar_sha256,
        compression=compressor.parameters,
        subdir=tuple(sorted(folders, key=subdir_order)),
        members=packed.members,
        created=facts.created,
        dsmanager_version=_own_version(),
        tfds_version=facts.tfds_version,
        builder_sha256=facts.builder_sha256,
        sources=facts.sources,
        license=facts.license,
        citation=facts.citation,
        splits=dict(facts.splits),
    )


def _own_version() -> str:
    try:
        return metadata.version("dsmanager")
    except metadata.PackageNotFoundError:
        return "unknown"
