"""Queries of ``list``: every text is a query or a usage error, and a query answers."""

from __future__ import annotations

from collections.abc import Iterator

from dsmanager.errors import UsageError
from dsmanager.library.presence import Built, Presence
from dsmanager.library.query import Query
from dsmanager.refs import Ref
from fuzz.checks import refusing_with

_BUILT = Built("/data/digit/1.0.8", 10**9, 3, "tfrecord", {"train": {"examples": 9, "shards": 1}})
ROWS = (Presence(Ref("digit", None, "1.0.8"), built=_BUILT), Presence(Ref("coco", "2017", "1.1.0")))


def run(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with refusing_with(UsageError):
        query = Query.parse([text])
        answers = [query.matches(row) for row in ROWS]
        assert answers == [Query.parse(text.split()).matches(row) for row in ROWS]


def seeds() -> Iterator[tuple[str, bytes]]:
    for name, text in (
        ("words", "digit not:coco"),
        ("fields", "state:not-built,damaged in:cached name:[a-d]* version:1.*"),
        ("sizes", "size>1g size<=1.5T examples>=1000 examples=9"),
        ("other-digits", "size>\u0661"),
        ("long-number", "size>" + "9" * 400),
        ("very-long-number", "size>" + "9" * 5000),
        ("odd-glob", "name:[z-a] [[] [] [!] [a&&b] [--]"),
        ("stars", "*a" * 30 + "b"),
        ("no-comparison", "size>x"),
    ):
        yield name, text.encode()
