"""Extracting and verifying: no byte is trusted before it was hashed, nothing leaves the folder.

One pass over the archive hashes it, unpacks it, walks the tar stream, writes the files and hashes
them; only when everything agrees may the caller move the folder into place. Any disagreement is a
VerificationError, and the caller drops the folder. Files are created with ``O_EXCL`` and
``O_NOFOLLOW``, mode 0644; nothing here makes a link or runs anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Protocol

from dsmanager.archives import tar
from dsmanager.archives.lanes import Lane, MemberHashes, prefetched
from dsmanager.archives.layout import ArmoryLayout, Layout, SidecarLayout
from dsmanager.archives.paths import MalformedError
from dsmanager.archives.reading import MAX_RATIO, compression_of, raw_chunks, tar_chunks
from dsmanager.archives.sidecar import Sidecar, download_again
from dsmanager.errors import NotFoundError, VerificationError, from_os_error
from dsmanager.files import free_bytes, require_free_bytes
from dsmanager.hashing import sha256_file
from dsmanager.progress import CancelToken, Progress
from dsmanager.text import plain

__all__ = ["Expected", "Extracted", "Inspected", "extract", "inspect_archive", "verify_archive"]

_HEADER_SLACK_BYTES = 8 << 10
_END_SLACK_BYTES = 2 << 20


@dataclass(frozen=True)
class Expected:
    """What the records say of one archive; None where there is no such record."""

    name: str
    """The dataset: the one top folder."""
    subdir: frozenset[str] | None
    """``{"digit/1.0.8"}``; with configs also ``"<name>/.config"``."""
    size: int | None
    sha256: str | None
    sidecar: Sidecar | None


@dataclass(frozen=True)
class Extracted:
    """What was extracted: ``subdir`` sorted, ``.config`` last; the archive's sha256."""

    subdir: tuple[str, ...]
    files: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Inspected:
    """What an archive without records turned out to be; ``subdir`` as in :class:`Extracted`."""

    size: int
    sha256: str
    subdir: tuple[str, ...]


def verify_archive(
    archive: Path, *, expected: Expected, progress: Progress, cancel: CancelToken
) -> str:
    """Hashes the archive and compares it with every record that exists; returns its sha256.

    Raises VerificationError with both values, NotFoundError where there is no archive.
    """
    with _errors(archive, "verify"):
        size = os.stat(archive).st_size
        progress.start_phase("verify", bytes_total=size)
        _check_size(archive, size, expected)
        sha256 = sha256_file(archive, progress=progress, cancel=cancel)
    _check_sha256(archive, sha256, expected)
    return sha256


def extract(
    archive: Path, into: Path, *, expected: Expected, progress: Progress, cancel: CancelToken
) -> Extracted:
    """Unpacks ``archive`` into the empty folder ``into`` and checks everything in the same pass.

    Size and sha256 of the archive against every record; with a sidecar also the tar stream and
    exactly its members; without one the layout rules of Armory's archives.

    Raises VerificationError for any disagreement or an archive that breaks a rule, NotFoundError,
    NoSpaceError, CancelledError. What it wrote is then worthless; the caller removes ``into``.
    """
    with (
        _errors(archive, "extract"),
        open(archive, "rb", buffering=0) as file,
        closing(_Tree(into)) as tree,
    ):
        return _Pass(archive, tree, expected, progress, cancel).run(file)[1]


def inspect_archive(
    archive: Path, *, name: str, progress: Progress, cancel: CancelToken
) -> Inspected:
    """Reads an archive that nothing is recorded of, by Armory's rules; writes nothing.

    Raises VerificationError when it is damaged or is no archive of the dataset ``name``,
    NotFoundError, CancelledError.
    """
    expected = Expected(name, None, None, None, None)
    with _errors(archive, "read"), open(archive, "rb", buffering=0) as file:
        size, found = _Pass(archive, _Nowhere(), expected, progress, cancel).run(file)
    return Inspected(size, found.sha256, found.subdir)


@contextmanager
def _errors(archive: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except MalformedError as error:
        raise _damaged(archive, str(error)) from error
    except FileNotFoundError as error:
        if archive.exists():
            raise from_os_error(error, f"{verb} {archive.name}") from error
        raise NotFoundError(
            f"there is no archive {plain(str(archive))}",
            hint=f"fetch it: {download_again(archive.name).removesuffix(' --overwrite')}",
        ) from error
    except OSError as error:
        raise from_os_error(error, f"{verb} {archive.name}") from error


class _Pass:
    """One pass over an archive: hashes it, walks its members, hands their bytes to a sink."""

    def __init__(
        self,
        archive: Path,
        sink: _Sink,
        expected: Expected,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._archive = archive
        self._sink = sink
        self._expected = expected
        self._progress = progress
        self._cancel = cancel
        self._layout = _layout(expected)
        self._files = 0
        self._bytes = 0

    def run(self, file: FileIO) -> tuple[int, Extracted]:
        """Reads all of ``file``; returns its size and what was in it, after every check."""
        size = os.fstat(file.fileno()).st_size
        self._progress.start_phase(self._sink.phase, bytes_total=size)
        _check_size(self._archive, size, self._expected)
        sidecar = self._expected.sidecar
        max_bytes = _max_tar_bytes(sidecar, size)
        sha256, tar_sha256 = hashlib.sha256(), hashlib.sha256()
        with ExitStack() as stack:
            hashing = stack.enter_context(Lane("hash members"))
            hashing_tar = stack.enter_context(Lane("hash tar", depth=16))
            hashing_archive = stack.enter_context(Lane("hash archive"))

            def raw_seen(chunk: bytes) -> None:
                self._cancel.check()
                self._progress.add_bytes(len(chunk))
                hashing_archive.submit(sha256.update, chunk)

            def tar_stream() -> Iterator[bytes]:
                raw = raw_chunks(file, raw_seen)
                compression = compression_of(self._archive.name)
                for chunk in tar_chunks(compression, raw, max_bytes=max_bytes):
                    if sidecar is not None:
                        hashing_tar.submit(tar_sha256.update, chunk)
                    yield chunk

            chunks = stack.enter_context(closing(prefetched(tar_stream())))
            members = MemberHashes(hashing, self._check_member)
            self._walk(tar.ByteStream(chunks), members, max_bytes)
            members.flush()
        subdir = self._layout.finish()
        _check_sha256(self._archive, sha256.hexdigest(), self._expected)
        if sidecar is not None and tar_sha256.hexdigest() != sidecar.tar_sha256:
            raise _differs(self._archive, "tar_sha256", tar_sha256.hexdigest(), sidecar.tar_sha256)
        return size, Extracted(subdir, self._files, self._bytes, sha256.hexdigest())

    def _walk(self, stream: tar.ByteStream, members: MemberHashes, max_bytes: int) -> None:
        is_described = self._expected.sidecar is not None
        for entry in tar.entries(stream):
            self._cancel.check()
            if stream.offset + entry.size > max_bytes:
                raise MalformedError(f"{entry.path!a} says that it has {entry.size:,} bytes")
            self._layout.admit(entry)
            if entry.is_folder:
                self._sink.folder(entry.path)
                continue
            with self._sink.file(entry.path, entry.size) as write:
                for piece in stream.pieces(entry.size):
                    write(piece)
                    if is_described:
                        members.add(piece)
            if is_described:
                members.end(entry.path)
            self._files += 1
            self._bytes += entry.size

    def _check_member(self, path: str, sha256: str) -> None:
        expected = self._layout.sha256_of(path)
        if expected is not None and sha256 != expected:
            raise MalformedError(f"{path!a} has sha256 {sha256}, its sidecar says {expected}")


def _layout(expected: Expected) -> Layout:
    sidecar, recorded = expected.sidecar, expected.subdir
    if sidecar is None:
        return ArmoryLayout(expected.name, recorded)
    if sidecar.ref.name != expected.name:
        raise MalformedError(f"its sidecar is of {sidecar.ref}, not of {expected.name}")
    if recorded is not None and recorded != set(sidecar.subdir):
        raise MalformedError(
            f"its sidecar has the folders {', '.join(sidecar.subdir)}, "
            f"the manifest {', '.join(sorted(recorded))}"
        )
    return SidecarLayout(sidecar)


def _max_tar_bytes(sidecar: Sidecar | None, archive_bytes: int) -> int:
    """Bytes that the tar stream may have at most: a bomb ends there."""
    if sidecar is None:
        return MAX_RATIO * archive_bytes + _END_SLACK_BYTES
    return sum(member.size + _HEADER_SLACK_BYTES for member in sidecar.members) + _END_SLACK_BYTES


class _Sink(Protocol):
    """Where the members go."""

    phase: str

    def folder(self, path: str) -> None: ...

    def file(self, path: str, size: int) -> AbstractContextManager[Callable[[memoryview], None]]:
        """Yields what writes the next bytes of the new file ``path``."""


class _Nowhere:
    phase = "verify"

    def folder(self, path: str) -> None:
        pass

    @contextmanager
    def file(self, path: str, size: int) -> Iterator[Callable[[memoryview], None]]:
        yield lambda piece: None


class _Tree:
    """Makes folders and new files below one root; holds the folder used last open."""

    phase = "extract"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._free_bytes = free_bytes(root)
        self._promised_bytes = 0
        self._made = {""}
        self._current = ""
        self._descriptor = os.open(root, _FOLDER_FLAGS)

    def folder(self, path: str) -> None:
        if path not in self._made:
            self.folder(path.rpartition("/")[0])
            os.mkdir(self._root / path, 0o755)
            self._made.add(path)

    @contextmanager
    def file(self, path: str, size: int) -> Iterator[Callable[[memoryview], None]]:
        self._promised_bytes += size
        if self._promised_bytes > self._free_bytes:
            require_free_bytes(self._root, size, f"extracting {path}")
        descriptor = self._create(path)
        try:
            yield partial(_write_all, descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _create(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        if folder != self._current:
            self.folder(folder)
            descriptor = os.open(self._root / folder, _FOLDER_FLAGS)
            os.close(self._descriptor)
            self._descriptor, self._current = descriptor, folder
        return os.open(name, _FILE_FLAGS, 0o644, dir_fd=self._descriptor)


_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _check_size(archive: Path, size: int, expected: Expected) -> None:
    sidecar = expected.sidecar
    for recorded in (expected.size, sidecar.size if sidecar else None):
        if recorded is not None and size != recorded:
            raise _differs(archive, "size", f"{size:,} bytes", f"{recorded:,} bytes")


def _check_sha256(archive: Path, sha256: str, expected: Expected) -> None:
    sidecar = expected.sidecar
    for recorded in (expected.sha256, sidecar.sha256 if sidecar else None):
        if recorded is not None and sha256 != recorded:
            error = _differs(archive, "sha256", sha256, recorded)
            error.found_sha256 = sha256
            raise error


def _differs(archive: Path, what: str, found: str, recorded: str) -> VerificationError:
    return _damaged(archive, f"{what} is {found}, its record says {recorded}")


def _damaged(archive: Path, problem: str) -> VerificationError:
    return VerificationError(
        f"{plain(archive.name)} is not what it should be: {problem}",
        hint=f"fetch it again: {download_again(archive.name)}",
    )
