"""Bytes of a fuzzer made into input that gets past the first check of a parser.

A mutated file is nearly always refused for its checksum or its syntax, and what lies behind is
never reached. So bytes are also read as a script: which valid document to take, what to change in
it. Owns no property; the targets do.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

BLOCK = 512
POSIX, GNU = b"ustar\x0000", b"ustar  \x00"
END = bytes(1024)


MOST_EDITS = 6


class Script:
    """Bytes read one after the other; zeros when there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        value = self._data[self._at] if self else 0
        self._at += 1
        return value

    def number(self) -> int:
        return self.byte() | self.byte() << 8

    def bytes(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.byte() % len(choices)]


# --- JSON ------------------------------------------------------------------------------------

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63 - 1, 2**63, 10**30, 0.5, 1e308, float("inf")),
    *("", ".", "..", "/", "a/b", "../x", "\0", "\n", "\ud800", "\u202e", "é", "x" * 300),
    *([], {}, [[]], [None], {"": 0}, [0, -1], ["a", "a"], {"a": {"b": {"c": []}}}),
)


def json_text(data: bytes, documents: Sequence[Any], words: Sequence[Any] = ()) -> bytes:
    """``data`` itself where it looks like JSON, else a valid document changed as it says."""
    if data[:1] in (b"{", b"[", b'"', b" ", b"\n", b""):
        return data
    script = Script(data)
    document = copy.deepcopy(documents[script.byte() % len(documents)])
    values = (*ODD_VALUES, *words)
    for _ in range(MOST_EDITS):
        if script:
            _edit(document, script, values)
    return json.dumps(document).encode()


def _edit(document: Any, script: Script, values: Sequence[Any]) -> None:
    nodes = list(_nodes(document))
    if not nodes:
        return
    owner, key = nodes[script.number() % len(nodes)]
    kind = script.byte() % 6
    if kind == 0:
        owner[key] = copy.deepcopy(script.pick(values))
    elif kind == 1:
        del owner[key]
    elif kind == 2 and isinstance(owner, dict):
        owner[str(script.pick(values))[:50]] = owner.pop(key)
    elif kind == 3 and isinstance(owner, list):
        owner.append(copy.deepcopy(script.pick(values)))
    elif kind == 4:
        owner[key] = script.bytes(script.byte() % 16).decode("utf-8", "surrogateescape")
    elif len(nodes) < 60:
        other, name = nodes[script.number() % len(nodes)]
        owner[key] = copy.deepcopy(other[name])


def _nodes(document: Any) -> Iterator[tuple[Any, Any]]:
    keys = document if isinstance(document, dict) else range(len(document))
    for key in list(keys):
        yield document, key
        if isinstance(document[key], (dict, list)):
            yield from _nodes(document[key])


# --- tar -------------------------------------------------------------------------------------


def tar_header(
    name: bytes = b"digit/1.0.8/a",
    size: bytes | int = 0,
    kind: bytes = b"0",
    *,
    magic: bytes = POSIX,
    prefix: bytes = b"",
    link: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One tar header with any field wrong on purpose, made without the code under test."""
    size_field = b"%011o\0" % size if isinstance(size, int) else size
    fields = [
        *((name, 100), (b"0000644\0", 8), (b"0000000\0", 8), (b"0000000\0", 8)),
        *((size_field, 12), (b"00000000000\0", 12), (b" " * 8, 8), (kind, 1), (link, 100)),
        *((magic, 8), (b"", 80), (prefix, 155), (b"", 12)),
    ]
    block = b"".join(value[:width].ljust(width, b"\0") for value, width in fields)
    checksum = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + checksum + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    digits = next(n for n in range(1, 9) if len(str(len(body) + n)) == n)
    return b"%d" % (len(body) + digits) + body


def with_checksums(data: bytes) -> bytes:
    """Every block that looks like a tar header gets the checksum that it should have."""
    blocks = []
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        if block[257:262] == b"ustar" and len(block) == BLOCK:
            total = sum(block[:148]) + 8 * 32 + sum(block[156:])
            block = block[:148] + b"%06o\0 " % total + block[156:]
        blocks.append(block)
    return b"".join(blocks)


_NAMES = (
    *(b"digit/1.0.8/a", b"digit/1.0.8/b", b"digit/1.0.8/A", b"digit/", b"digit/1.0.8/", b"./"),
    *(b"digit/.config/metadata.json", b"digit/rgb/1.0.8/a", b"..", b"/etc/x", b"digit/../x", b""),
    *(b"./digit/1.0.8/c", "digit/1.0.8/é".encode(), "digit/1.0.8/e\u0301".encode(), b"x" * 100),
)
_KEYS = (b"path", b"size", b"linkpath", b"mtime", b"GNU.sparse.name", b"comment", b"hdrcharset")
_KINDS = (b"0", b"0", b"5", b"x", b"L", b"\0", b"1", b"2", b"S", b"g", b"K", b"X")


def tar_stream(script: Script) -> bytes:
    """Headers with valid checksums and contents, as the script says; they may well lie."""
    parts = []
    while script and len(parts) < 64:
        kind, name = script.pick(_KINDS), script.pick(_NAMES)
        flags = script.byte()
        content = _tar_content(script, kind)
        size: bytes | int = len(content)
        if flags & 0x0F == 1:
            size = script.bytes(12)
        elif flags & 0x0F == 2:
            size = b"\x80" + script.bytes(11).rjust(11, b"\0")
        elif flags & 0x0F == 3:
            size = script.number()
        if flags & 0x30 == 0x30:
            name = script.bytes(script.byte())
        prefix = script.pick(_NAMES) if flags & 0xC0 == 0xC0 else b""
        magic = GNU if flags & 0xC0 == 0x80 else POSIX
        parts += [tar_header(name, size, kind, magic=magic, prefix=prefix), padded(content)]
    return b"".join(parts) + END[: 512 * (script.byte() % 20 or 20)]


def _tar_content(script: Script, kind: bytes) -> bytes:
    if kind == b"x":
        records = []
        for _ in range(script.byte() % 4):
            key, value = script.pick(_KEYS), script.pick((*_NAMES, b"0", b"512", b"9" * 19))
            records.append(pax_record(key, value))
        return b"".join(records) + script.bytes(script.byte() % 8)
    if kind == b"L":
        return bytes(script.pick(_NAMES)) + b"\0"
    return script.bytes(script.byte() % 32)
