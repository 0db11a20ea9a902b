"""Templates: how many names they mean is bounded, and shards are called what a file can be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dsmanager.errors import UsageError
from dsmanager.ingest import templates
from dsmanager.ingest.tars.request import TarsRequest, size_of
from dsmanager.ingest.templates import MAX_NAMES, expand, stem_of
from fuzz.checks import refusing_with, scratch_folder

MOST_NAMES = 300
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def run(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    templates.MAX_NAMES = MOST_NAMES  # as many as there may be take long to make
    try:
        _check(text)
    finally:
        templates.MAX_NAMES = MAX_NAMES


def _check(text: str) -> None:
    with refusing_with(UsageError):
        names = expand(text)
        assert 0 < len(names) <= MOST_NAMES
        if "{" not in text:
            assert names == [text]
        stem = stem_of(text)
        assert _STEM.fullmatch(stem), stem
        assert ".tfrecord" not in stem
        request = TarsRequest((text,), scratch_folder())
        assert request.stem == stem
        assert request.split in ("train", "validation", "val", "test")
        assert request.urls() == names
    with refusing_with(UsageError):
        assert size_of(text) > 0


def seeds() -> Iterator[tuple[str, bytes]]:
    for name, text in (
        ("range", "train-{0..7}.tar.gz"),
        ("padded", "{00..100..50}-{-3..03}"),
        ("letters", "{a..e..2}{z..a}"),
        ("lists", "s3://bucket/{train,val}/{a,{b,c{1,2}}}.tar?x=1"),
        ("open", "{{{{,}{a}{1..}{..2}{a,b"),
        ("many", "{0..99}{0..9}"),
        ("long-numbers", "{999999999999999999..0..-999999999999999999}"),
        ("deep", "{," * 1300 + "}" * 1300),
        ("side-by-side", "{a..a}" * 680),
        ("format-within-format", "a.tf.tfrecordrecord-.tfrecord.tar"),
        ("size", "1.5Gib"),
        ("long-size", "9" * 15 + "." + "9" * 9 + "tib"),
    ):
        yield name, text.encode()
