"""One tar to one part: the task that runs here, in helpers and on a cluster.

A task streams its tar, groups members into records, makes examples of them and writes the part.
Done again it writes the same; a part that is whole is not made again.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from dsmanager.archives.paths import MalformedError
from dsmanager.archives.reading import tar_chunks
from dsmanager.errors import VerificationError, from_os_error, os_errors
from dsmanager.files import remove_path
from dsmanager.ingest.ahead import ahead
from dsmanager.ingest.sources import Source, opened_file, raw_chunks
from dsmanager.ingest.tars.grouping import TarRecord, group
from dsmanager.ingest.tars.parts import Part, PartFiles, PartWriter
from dsmanager.ingest.tars.records import IncompleteError, Maker, as_error, make_maker
from dsmanager.ingest.tars.specs import Specs, merged
from dsmanager.ingest.tars.stream import ChunkStream, FileStream, LeftOut, Stream, TarReader
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.encoding import example_pieces
from dsmanager.text import plain

__all__ = ["INCOMPLETE", "convert_tar", "tar_records"]

INCOMPLETE = "incomplete records"
_NO_BOUND = 1 << 62
_MAX_RECORD_BYTES = 2**31 - 1
_MAX_XZ_BYTES = 256 << 20
_GZIP, _ZSTD, _BZIP, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00"


def convert_tar(
    setup: Mapping[str, Any], task: Mapping[str, Any], progress: Progress, cancel: CancelToken
) -> dict[str, Any]:
    """Makes the part of ``task["source"]``; returns what its JSON says.

    Raises VerificationError that names tar and record for what is damaged, incomplete, or there
    twice.
    """
    files = PartFiles(Path(setup["folder"]), task["number"])
    source = Source(**task["source"])
    with os_errors("write a part"):
        remove_path(files.facts)
        writer = PartWriter(files)
    try:
        run = _Run(source, setup, writer, cancel)
        for record in tar_records(
            source,
            split_at=setup["split_at"],
            left_out=run.left_out,
            wanted=run.maker.wanted,
            progress=progress,
            cancel=cancel,
        ):
            progress.add_items(run.add(record))
        return run.finish(task["fingerprint"]).to_json()
    except OSError as error:  # the sources' are dsmanager's own by then
        raise from_os_error(error, "write a part") from error
    finally:
        writer.close()


class _Run:
    """The records of one tar on their way into a part."""

    def __init__(
        self, source: Source, setup: Mapping[str, Any], writer: PartWriter, cancel: CancelToken
    ) -> None:
        self._shown = source.shown
        self.maker: Maker = make_maker(setup["record"], source.name)
        self.left_out = LeftOut()
        self._skips = bool(setup["skip_incomplete"])
        self._writer = writer
        self._cancel = cancel
        self._specs: Specs = {}

    def add(self, record: TarRecord) -> int:
        """How many records came of it: one, or none of an incomplete one that is skipped."""
        self._cancel.check()
        try:
            features, specs = self.maker(record)
            if self._specs != specs:
                self._specs = merged(self._specs, specs) if self._writer.records else specs
            pieces = example_pieces(features)
            size_bytes = sum(map(len, pieces))
            if size_bytes > _MAX_RECORD_BYTES:
                raise MalformedError(f"its example has {size_bytes:,} bytes, more than 2 GiB")
        except IncompleteError as error:
            if not self._skips:
                raise as_error(f"{self._shown}, record {plain(record.key)}", error) from error
            self.left_out.add(INCOMPLETE, f"{plain(record.key)}: {error}")
            return 0
        except (MalformedError, ValueError) as error:
            raise as_error(f"{self._shown}, record {plain(record.key)}", error) from error
        self._writer.add(record.key, pieces)
        return 1

    def finish(self, fingerprint: str) -> Part:
        twin = self._writer.twin()
        if twin is not None:
            raise VerificationError(
                f"{self._shown} has two records of the key {plain(twin)}",
                hint="the files of a record have to follow each other; pack it sorted by name: "
                "tar --sort=name -cf …",
            )
        with os_errors("write a part"):
            return self._writer.finish(fingerprint, self._specs, self.left_out.kinds)


def tar_records(
    source: Source,
    *,
    split_at: str,
    left_out: LeftOut,
    wanted: frozenset[str] | None,
    progress: Progress,
    cancel: CancelToken,
) -> Iterator[TarRecord]:
    """The records of a tar, one in memory at a time; its bytes are added to ``progress``.

    Raises VerificationError, naming the tar, for one that is damaged or cut off.
    """
    with ExitStack() as stack:
        file = stack.enter_context(opened_file(source))
        try:
            stream = _stream(source, file, stack, progress, cancel)
            yield from group(TarReader(stream, left_out), split_at, left_out, wanted=wanted)
        except MalformedError as error:
            raise VerificationError(
                f"{source.shown}: {plain(str(error))}",
                hint=f"look into it: tar tvf {plain(source.name)}",
            ) from error


def _stream(
    source: Source, file: Any, stack: ExitStack, progress: Progress, cancel: CancelToken
) -> Stream:
    """The tar itself: a plain file as it is, all else through a thread that decompresses."""
    if file is not None:
        start = file.read(6)
        file.seek(0)
        if not start:
            raise MalformedError("it is empty")
        if not start.startswith((_GZIP, _ZSTD, _BZIP, _XZ)):
            return FileStream(file, progress)
    raw = raw_chunks(source, file, progress, cancel)
    return ChunkStream(stack.enter_context(ahead(_unpacked(raw), cancel)))


def _unpacked(raw: Generator[bytes]) -> Generator[bytes]:
    """The tar stream of raw chunks, by their first bytes."""
    try:
        start = b""
        while len(start) < 6 and (chunk := next(raw, b"")):
            start += chunk
        if not start:
            raise MalformedError("it is empty")
        whole = chain([start], raw)
        if start.startswith(_GZIP):
            yield from tar_chunks("gz", whole, max_bytes=_NO_BOUND)
        elif start.startswith(_ZSTD):
            yield from tar_chunks("zst", whole, max_bytes=_NO_BOUND)
        elif start.startswith(_BZIP):
            yield from _streams(whole, bz2.BZ2Decompressor, "bzip2")
        elif start.startswith(_XZ):
            yield from _streams(whole, _xz_decompressor, "xz")
        else:
            yield from whole
    finally:
        raw.close()


def _xz_decompressor() -> lzma.LZMADecompressor:
    """A header names how much memory it takes; ``xz -9`` asks for 65 MiB."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_BYTES)


def _streams(raw: Iterator[bytes], make: Any, what: str) -> Iterator[bytes]:
    """One compressed stream after the other, in pieces of a MiB."""
    waiting = next(raw, b"")
    while waiting:
        one = make()
        while not one.eof:
            if one.needs_input and not waiting:
                waiting = next(raw, b"")
                if not waiting:
                    raise MalformedError(f"it is cut off: the {what} data has no end")
            try:
                chunk = one.decompress(waiting, 1 << 20)
            except (OSError, EOFError, lzma.LZMAError) as error:
                raise MalformedError(f"its {what} data is damaged: {error}") from None
            waiting = b""
            if chunk:
                yield chunk
        waiting = one.unused_data or next(raw, b"")
        while what == "xz" and waiting and not waiting.strip(b"\0"):  # padding between streams
            waiting = next(raw, b"")
        waiting = waiting.lstrip(b"\0") if what == "xz" else waiting
