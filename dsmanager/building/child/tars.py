"""The files of a tar as TFDS gives them to builders: no hidden, absolute or climbing names, and of
links what they lead to.

Of a plain tar the headers alone are read, in a quarter of the time that tarfile takes, and what is
yielded are ranges of it, which need not be read at all (``writing/deferral.py``). Where anything
comes that is neither a file nor a folder, and for whatever is compressed, tarfile goes on. It
remembers all members, for links that lead back to them; a million take half a gigabyte, and so it
is only let where there is a link.
"""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterator
from io import FileIO
from itertools import islice
from typing import Any, BinaryIO, TypeAlias, cast

from tensorflow_datasets.core.download import extractor

from dsmanager.building.writing.file_part import FilePart
from dsmanager.building.writing.opened import tell_part
from dsmanager.errors import VerificationError
from dsmanager.sources.tar_index import CutOffError, members

__all__ = ["files_of"]

_Files: TypeAlias = Iterator[tuple[str, BinaryIO]]

_log = logging.getLogger(__name__)

_DAMAGED = tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError  # type: ignore[attr-defined]


class _UnsuitedError(Exception):
    """A walk has come to what it cannot give."""


def files_of(tar: Any, *, is_stream: bool) -> _Files:
    """Yields (relative path, file) of each file of ``tar``, a path or a file object.

    A file can be read until the walk ends. With ``is_stream``, each only before the next one is
    asked for, and links are left out.

    Raises CutOffError, TarError for what is no tar or damaged, and where it is compressed what its
    decompressor raises. With TFDS a damaged header ends a tar as if that were all.
    """
    given = 0
    for walk in _walks(tar, is_stream):
        try:
            for found in islice(walk, given, None):
                given += 1
                yield found
            return
        except _UnsuitedError:
            continue


def _walks(tar: Any, is_stream: bool) -> Iterator[_Files]:
    """From the quickest to the one that gives everything."""
    if isinstance(tar, (str, os.PathLike)) and os.path.isfile(tar):
        yield _by_headers(tar)
        if not is_stream:
            yield _by_tarfile(tar, is_stream=False, remembers=False)
    yield _by_tarfile(tar, is_stream=is_stream, remembers=not is_stream)


def _by_headers(tar: str | os.PathLike[str]) -> _Files:
    path = os.path.abspath(tar)
    with FileIO(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        try:
            for member in members(file.fileno(), 0, size_bytes, what=path):
                if name := extractor._normpath(member.path):
                    tell_part(path, member.offset, member.size)
                    yield name, FilePart(file, member.offset, member.size)
        except CutOffError:
            raise
        except VerificationError as error:
            raise _UnsuitedError from error


def _by_tarfile(tar: Any, *, is_stream: bool, remembers: bool) -> _Files:
    """Follows links where it ``remembers`` what was before, and else, except in a stream, raises
    _UnsuitedError at the first one.
    """
    mode: Any = "r|*" if is_stream else "r:*"
    with (
        extractor._open_or_pass(tar) as file,
        tarfile.open(mode=mode, fileobj=file, tarinfo=_Header) as opened,
    ):
        for member in opened:
            if not remembers:
                opened.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
            is_link = member.islnk() or member.issym()
            if is_link and not remembers and not is_stream:
                raise _UnsuitedError
            content = None if is_link and is_stream else _content(opened, member)
            if content and (name := extractor._normpath(member.name)):
                yield name, content
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
