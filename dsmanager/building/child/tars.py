"""The files of a tar as TFDS gives them to builders: no hidden, absolute or climbing names, and of
links what they lead to.

Of a plain tar the headers alone are read, in a quarter of the time that tarfile takes, and what is
yielded are ranges of it, which need not be read at all (``writing/deferral.py``). Where anything
comes that is neither a file nor a folder, and for whatever is compressed, tarfile goes on. It
remembers all members, for links that lead back to them, and a million take half a gigabyte: of a
tar with so many it is only let where there is a link.
"""

from __future__ import annotations

import logging
import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO
from typing import Any, BinaryIO, TypeAlias, cast

from tensorflow_datasets.core.download import extractor

from dsmanager.archives.tar import BLOCK_BYTES
from dsmanager.building.writing.file_part import FilePart
from dsmanager.building.writing.opened import tell_part
from dsmanager.errors import VerificationError
from dsmanager.sources.tar_index import CutOffError, Member, members

__all__ = ["files_of"]

_Files: TypeAlias = Iterator[tuple[str, BinaryIO]]
_Members: TypeAlias = Iterator[tuple[int, str, BinaryIO]]
"""Where the content of each begins, or would, in the tar, its name, and its file."""

_log = logging.getLogger(__name__)

_MOST_REMEMBERED = 100_000
_DAMAGED = tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError  # type: ignore[attr-defined]


class _UnsuitedError(Exception):
    """A walk has come to what it cannot give."""


def files_of(tar: Any, *, is_stream: bool) -> _Files:
    """Yields (relative path, file) of each file of ``tar``, a path or a file object.

    Those of a path can be read for as long as they are kept; with ``is_stream``, which leaves out
    links, until the next one is asked for.

    Raises CutOffError, TarError for what is no tar or damaged, and where it is compressed what its
    decompressor raises. With TFDS a damaged header ends a tar as if that were all.
    """
    last = -1  # where the content of the last one began: whichever walk goes on goes on from there
    with ExitStack() as opened:
        for walk in _walks(tar, is_stream, opened):
            try:
                for begin, name, file in walk:
                    if begin > last:
                        last = begin
                        yield name, file
                return
            except _UnsuitedError:
                continue


def _walks(tar: Any, is_stream: bool, opened: ExitStack) -> Iterator[_Members]:
    """From the quickest to the one that gives everything, of one and the same file."""
    if isinstance(tar, (str, os.PathLike)) and os.path.isfile(tar):
        file = _KeptFile(os.path.abspath(tar))
        size_bytes = os.fstat(file.fileno()).st_size
        yield _by_headers(file, size_bytes)
        if not is_stream:
            yield _by_tarfile(FilePart(file, 0, size_bytes), most_remembered=_MOST_REMEMBERED)
        tar = FilePart(file, 0, size_bytes)
    else:
        tar = opened.enter_context(extractor._open_or_pass(tar))
    yield _by_tarfile(tar, most_remembered=0 if is_stream else sys.maxsize, is_stream=is_stream)


class _KeptFile(FileIO):
    """Open for as long as a part of it is kept."""

    def __del__(self) -> None:
        self.close()


def _by_headers(file: FileIO, size_bytes: int) -> _Members:
    path, descriptor = str(file.name), file.fileno()
    try:
        for member in members(descriptor, 0, size_bytes, what=path):
            if _has_times(descriptor, member):
                raise _UnsuitedError
            if name := extractor._normpath(member.path):
                tell_part(path, member.offset, member.size)
                yield member.offset, name, FilePart(file, member.offset, member.size)
    except CutOffError:
        raise
    except VerificationError as error:
        raise _UnsuitedError from error


def _has_times(descriptor: int, member: Member) -> bool:
    """Whether GNU tar has noted more times (``-G``), which tarfile takes for a folder's name."""
    header = os.pread(descriptor, BLOCK_BYTES, member.offset - BLOCK_BYTES)
    return header[257:263] == b"ustar " and header[345:346] > b"\0"


def _by_tarfile(file: Any, *, most_remembered: int, is_stream: bool = False) -> _Members:
    """Raises _UnsuitedError for a link behind more than ``most_remembered`` members, unless it is
    ``is_stream``, where all links are left out.
    """
    mode: Any = "r|*" if is_stream else "r:*"
    walk = tarfile.open(mode=mode, fileobj=file, tarinfo=_Header)  # noqa: SIM115 - files are kept
    remembered = walk.members  # type: ignore[attr-defined]  # typeshed leaves it out
    has_followed = has_forgotten = False
    for member in walk:
        if len(remembered) > most_remembered and not has_followed:
            remembered.clear()
            has_forgotten = True
        is_link = member.islnk() or member.issym()
        if is_link and not is_stream:
            if has_forgotten:
                raise _UnsuitedError
            has_followed = True  # which has brought all members up: they come from there
        content = None if is_link and is_stream else _content(walk, member)
        if content and (name := extractor._normpath(member.name)):
            yield member.offset_data, name, content
        elif is_link and not content:
            _log.warning("%s, a link to %s, is left out", member.name, member.linkname)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO | None:
    """None of what has no content, and of a link that leads nowhere."""
    try:
        return cast("BinaryIO | None", tar.extractfile(member))
    except KeyError:
        return None


class _Header(tarfile.TarInfo):
    """Refuses a damaged header wherever it is, and not in the first place alone."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except _DAMAGED as error:
            if not tar.offset:
                raise
            raise tarfile.ReadError(f"{error} at byte {tar.offset:,}") from error
