"""ILSVRC's XML annotations: boxes inside the image, or one clear reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator

from dsmanager.ingest.imagenet.annotations import MAX_BOXES, BadAnnotationError, boxes
from fuzz.checks import refusing_with
from fuzz.structure import Script

_NUMBERS = (
    *(b"1", b"500", b"0", b"-1", b"375.5", b"1e308", b"1e-320", b"nan", b"inf", b"", b" 7\n"),
    *(b"1_0", b"0x1", b"9" * 400, "\u0661".encode(), b"&#49;", b"<![CDATA[12]]>", b"<!-- -->3"),
)
_NAMES = (b"annotation", b"size", b"width", b"height", b"object", b"bndbox", b"xmin", b"xmax")
_NAMES += (b"ymin", b"ymax", b"name", b"part")
_ENCODINGS = (b"utf-8", b"UTF-16", b"latin-1", b"utf-7", b"rot13", b"idna", b"no-such", b"cp037")


def run(data: bytes) -> None:
    """Data that begin with ``<`` or a byte order mark are a document, others a script of one."""
    is_document = data[:1] in (b"<", b"\xef", b"\xff", b"\xfe", b"")
    document = data if is_document else _document(Script(data))
    with refusing_with(BadAnnotationError):
        found = boxes(document)
        assert len(found) <= min(MAX_BOXES, len(document))
        for box in found:
            assert 0 <= box.xmin < box.xmax <= 1
            assert 0 <= box.ymin < box.ymax <= 1


def _document(script: Script) -> bytes:
    parts = []
    if script.byte() & 1:
        parts.append(b'<?xml version="1.0" encoding="' + script.pick(_ENCODINGS) + b'"?>')
    parts.append(b"<annotation>")
    parts.append(_element(b"size", script, (b"width", b"height", b"depth")))
    while script:
        flags = script.byte()
        box = _element(b"bndbox", script, (b"xmin", b"ymin", b"xmax", b"ymax"))
        if flags & 3 == 3:
            name = script.pick(_NAMES)
            box = b"<" + name + b">" + script.bytes(script.byte() % 8) + b"</" + name + b">" + box
        parts.append(b"<object><name>n01440764</name>" + box + b"</object>")
    return b"".join(parts) + b"</annotation>"


def _element(name: bytes, script: Script, children: tuple[bytes, ...]) -> bytes:
    inner = b""
    for child in children:
        choice = script.byte()
        tag = script.pick(_NAMES) if choice & 0xF0 == 0xF0 else child
        inner += b"<" + tag + b">" + _NUMBERS[choice % len(_NUMBERS)] + b"</" + tag + b">"
    return b"<" + name + b">" + inner + b"</" + name + b">"


def seeds() -> Iterator[tuple[str, bytes]]:
    box = b"<object><bndbox>%s</bndbox></object>"
    edges = b"<xmin>10</xmin><ymin>20</ymin><xmax>300</xmax><ymax>200</ymax>"
    whole = (
        b"<annotation><size><width>500</width><height>375</height><depth>3</depth></size>"
        + box % edges
        + b"</annotation>"
    )
    yield "whole", whole
    yield "declared", b'<?xml version="1.0" encoding="utf-8"?>\n' + whole
    yield "utf-16", whole.decode().encode("utf-16")
    for name in ("no-such", "utf-7", "idna", "rot13"):
        yield f"encoding-{name}", f'<?xml version="1.0" encoding="{name}"?><a/>'.encode()
    yield "entities", b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'
    yield "no-size", b"<annotation>" + box % edges + b"</annotation>"
    yield "deep", b"<a>" * 20 + b"</a>" * 20
    yield "two-roots", whole + whole
    yield "cut", whole[:-30]
    yield "script", bytes([1, 0, 0, 1, 1, 0, 2, 0, 1, 1, 3, 241, 3, 2, 1, 1, 2, 97, 98])
