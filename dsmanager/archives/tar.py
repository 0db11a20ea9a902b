"""The tar stream, byte by byte: writing it in one fixed way, reading it strictly.

Written (fixed for good; see docs/archive-format.md): POSIX ustar headers with mtime, uid and gid 0,
no owner names, mode 0644 for files and 0755 for folders. A PAX ``x`` header precedes a member only
when its path does not fit the name and prefix fields or is not ASCII (``path``), or when it has
8 GiB or more (``size``; the ustar field is 0 then). Two zero blocks end the stream, and zeros fill
it up to a multiple of 10,240 bytes. Where no PAX header is needed, that is exactly what GNU tar
writes with ``--format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0``.

Read: ustar and GNU headers, PAX ``x`` (path and size), GNU ``L`` and base-256 sizes; regular files
and folders, nothing else. What is refused raises :class:`~dsmanager.archives.paths.MalformedError`.
The standard library's tarfile is not used: it allocates what a header asks for before any filter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from zlib import adler32

from dsmanager.archives.paths import MAX_MEMBERS, MalformedError, check_path

__all__ = [
    "BLOCK_BYTES",
    "ByteStream",
    "Entry",
    "HeaderStream",
    "checksum",
    "entries",
    "file_header",
    "folder_header",
    "padding",
    "stream_end",
]

BLOCK_BYTES = 512
RECORD_BYTES = 10_240
USTAR_MAX_SIZE = 8**11 - 1
MAX_SIZE = (1 << 63) - 1
MAX_LONG_HEADER_BYTES = 64 << 10
MAX_TAIL_BYTES = 1 << 20

_ZEROS = bytes(BLOCK_BYTES)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_POSIX, _GNU = b"ustar\x0000", b"ustar  \x00"
_FILE, _FOLDER, _PAX, _LONG_NAME = b"0", b"5", b"x", b"L"


# --- writing ---------------------------------------------------------------------------------


def file_header(path: str, size: int) -> bytes:
    """The header of a regular file of ``size`` bytes, with its PAX header where one is needed."""
    return _member(path, path, size, b"0000644\0", _FILE)


def folder_header(path: str) -> bytes:
    return _member(path, f"{path}/", 0, b"0000755\0", _FOLDER)


def padding(size: int) -> bytes:
    """The zeros after ``size`` bytes of content."""
    return _ZEROS[: -size % BLOCK_BYTES]


def stream_end(length: int) -> bytes:
    """What ends a stream of ``length`` bytes."""
    return bytes(2 * BLOCK_BYTES + -(length + 2 * BLOCK_BYTES) % RECORD_BYTES)


def _member(path: str, name: str, size: int, mode: bytes, kind: bytes) -> bytes:
    fields = _split_name(name.encode("ascii")) if name.isascii() else None
    records = b""
    if fields is None:
        records += _pax_record("path", path)
    if size > USTAR_MAX_SIZE:
        records += _pax_record("size", str(size))
        size = 0
    if fields is None:
        fields = name.encode("ascii", "replace")[:100], b""
    header = _ustar(*fields, size, mode, kind)
    if not records:
        return header
    extended = _ustar(b"././@PaxHeader", b"", len(records), b"0000644\0", _PAX)
    return extended + records + padding(len(records)) + header


def checksum(header: bytes) -> int:
    """The sum of the bytes of a header block, its checksum taken as spaces.

    The lower half of an Adler-32 is that of up to 256 bytes, in a fifth of the time.
    """
    first, second = adler32(header[:256], 0), adler32(header[256:], 0)
    return (first & 0xFFFF) + (second & 0xFFFF) - sum(header[148:156]) + 8 * ord(" ")


def _ustar(name: bytes, prefix: bytes, size: int, mode: bytes, kind: bytes) -> bytes:
    no_one, never, no_device = b"0000000\0", b"00000000000\0", b"0000000\0"
    header = _HEADER.pack(
        *(name, mode, no_one, no_one, b"%011o\0" % size, never, b" " * 8, kind, b""),
        *(b"ustar\0", b"00", b"", b"", no_device, no_device, prefix),
    )
    return header[:148] + b"%06o\0 " % checksum(header) + header[156:]


def _split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """``(name, prefix)``, cut where GNU tar cuts: at the last slash that the prefix can end at."""
    if len(name) <= 100:
        return name, b""
    cut = name.rstrip(b"/").rfind(b"/", 0, 156)
    if cut > 0 and len(name) - cut - 1 <= 100:
        return name[cut + 1 :], name[:cut]
    return None


def _pax_record(key: str, value: str) -> bytes:
    """``<length> key=value`` and a line feed, where the length counts its own digits."""
    body = f" {key}={value}\n".encode()
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


# --- reading ---------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One member: a relative path that :func:`check_path` accepts, and its bytes of content.

    The path is empty for the folder ``./`` itself, which :func:`entries` leaves out.
    """

    path: str
    size: int
    is_folder: bool


class HeaderStream(Protocol):
    """What :func:`entries` needs of a stream: ByteStream, or a file that can skip content."""

    @property
    def offset(self) -> int: ...

    def take(self, count: int) -> bytes: ...

    def rest(self) -> Iterator[memoryview]: ...


class ByteStream:
    """A stream of chunks, taken in pieces of any length without joining what is large."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._view = memoryview(b"")
        self._at = 0
        self._before = 0

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._before + self._at

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes, a small number. Raises MalformedError when there are fewer."""
        end = self._at + count
        if end <= len(self._view):
            taken = bytes(self._view[self._at : end])
            self._at = end
            return taken
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes as views of the chunks. Raises as :meth:`take`."""
        while count:
            if self._at == len(self._view) and not self.more():
                raise MalformedError(f"it is cut off: its content ends at byte {self.offset:,}")
            piece = self._view[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def more(self) -> bool:
        """Whether the stream goes on."""
        while self._at == len(self._view):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._before += self._at
            self._view, self._at = memoryview(chunk), 0
        return True

    def rest(self) -> Iterator[memoryview]:
        """Everything that is left."""
        while self.more():
            piece = self._view[self._at :]
            self._at = len(self._view)
            yield piece


def entries(stream: HeaderStream, *, max_headers: int = 2 * MAX_MEMBERS) -> Iterator[Entry]:
    """Every member of the tar stream, in order, up to its very end.

    After each file the caller takes its ``size`` bytes from ``stream``; the padding is skipped
    here. Raises MalformedError for anything that is not a plain tar of files and folders, and for
    one with more headers than that.
    """
    for _ in range(max_headers):
        start = stream.offset
        try:
            entry = _next_entry(stream)
        except MalformedError as error:
            raise MalformedError(f"{error} (tar header at byte {start:,})") from None
        if entry is None:
            return
        if entry.path:
            yield entry
            stream.take(-entry.size % BLOCK_BYTES)
    raise MalformedError(f"more than {max_headers:,} headers")


def _next_entry(stream: HeaderStream) -> Entry | None:
    path: bytes | None = None
    size: int | None = None
    seen: set[bytes] = set()
    while True:
        header = stream.take(BLOCK_BYTES)
        if header == _ZEROS:
            if seen:
                raise MalformedError("the stream ends after an extended header")
            _check_end(stream)
            return None
        name, declared_size, kind = _parse_header(header)
        if kind not in (_PAX, _LONG_NAME):
            break
        if kind in seen or declared_size > MAX_LONG_HEADER_BYTES:
            raise MalformedError("an extended header is repeated or too large")
        seen.add(kind)
        content = stream.take(declared_size)
        stream.take(-declared_size % BLOCK_BYTES)
        if kind == _LONG_NAME:
            if path is not None or content[-1:] != b"\0" or b"\0" in content[:-1]:
                raise MalformedError("its long name is not one string")
            path = content[:-1]
        else:
            pax_path, size = _parse_pax(content)
            if path is not None and pax_path is not None:
                raise MalformedError("it has two long names")
            path = path if pax_path is None else pax_path
    return _entry(name if path is None else path, declared_size if size is None else size, kind)


def _entry(raw_path: bytes, size: int, kind: bytes) -> Entry:
    try:
        path = raw_path.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"the name {raw_path[:200]!r} is not UTF-8") from None
    is_folder = kind == _FOLDER
    if is_folder and size:
        raise MalformedError(f"the folder {path[:200]!a} has content")
    if is_folder and path in (".", "./"):
        return Entry("", 0, True)
    path = path.removeprefix("./")
    return Entry(check_path(path.removesuffix("/") if is_folder else path), size, is_folder)


_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"7": "a contiguous file",
    b"D": "a GNU dump folder",
    b"K": "a GNU long link name",
    b"M": "a continued file",
    b"S": "a sparse file",
    b"V": "a volume label",
    b"X": "a Solaris extended header",
    b"g": "a global PAX header",
}


def _parse_header(header: bytes) -> tuple[bytes, int, bytes]:
    """``(path, size, kind)`` of one header block; kind is one of the four that are read."""
    magic = header[257:265]
    if magic not in (_POSIX, _GNU):
        raise MalformedError("this is no tar header")
    if checksum(header) != _octal(header[148:156], "checksum"):
        raise MalformedError("the checksum of a header is wrong")
    kind = header[156:157]
    name = header[:100].partition(b"\0")[0]
    if magic == _POSIX and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    if kind == b"\0":
        kind = _FILE
    if kind not in (_FILE, _FOLDER, _PAX, _LONG_NAME):
        what = _KINDS.get(kind, f"of the unknown type {kind!r}")
        raise MalformedError(f"{name[:200]!r} is {what}; only files and folders are allowed")
    return name, _size(header[124:136]), kind


def _size(field: bytes) -> int:
    if field[0] & 0x80:
        size = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or size > MAX_SIZE:
            raise MalformedError("a size is negative or absurd")
        return size
    return _octal(field, "size")


def _octal(field: bytes, what: str) -> int:
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not digits or digits.strip(b"01234567"):
        raise MalformedError(f"the {what} {field!r} is not octal")
    return int(digits, 8)


_IGNORED_PAX = frozenset(
    {"atime", "comment", "ctime", "gid", "gname", "mtime", "uid", "uname"}
    | {"LIBARCHIVE.creationtime", "SCHILY.dev", "SCHILY.fflags", "SCHILY.ino", "SCHILY.nlink"}
    | {"RHT.security.selinux"}
)
_IGNORED_PAX_PREFIXES = ("LIBARCHIVE.xattr.", "SCHILY.xattr.", "SCHILY.acl.")


def _parse_pax(content: bytes) -> tuple[bytes | None, int | None]:
    """``(path, size)`` of a PAX header, None for what it lacks."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + 8].partition(b" ")
        if not space or not digits.isdigit() or digits.startswith(b"0"):
            raise MalformedError("a PAX record has no length")
        record = content[at : at + int(digits)]
        at += len(record)
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        name = key.decode("ascii", "replace")
        if len(record) != int(digits) or record[-1:] != b"\n" or not equals or name in found:
            raise MalformedError("a PAX record is cut off, repeated or without a value")
        ignored = name in _IGNORED_PAX or name.startswith(_IGNORED_PAX_PREFIXES)
        if name not in ("path", "size") and not ignored:
            raise MalformedError(f"the PAX key {name[:100]!a} is not allowed")
        found[name] = value
    size = found.get("size")
    if size is None:
        return found.get("path"), None
    if not size.isdigit() or len(size) > 19 or int(size) > MAX_SIZE:
        raise MalformedError("a PAX size is not a number")
    return found.get("path"), int(size)


def _check_end(stream: HeaderStream) -> None:
    """A second zero block, then nothing but a bounded run of zeros in whole blocks."""
    if stream.take(BLOCK_BYTES) != _ZEROS:
        raise MalformedError("one zero block, and then more content")
    tail = 0
    for piece in stream.rest():
        tail += len(piece)
        if tail > MAX_TAIL_BYTES or bytes(piece).strip(b"\0"):
            raise MalformedError("there is something after the end of the tar stream")
    if tail % BLOCK_BYTES:
        raise MalformedError("it does not end in a whole block")
