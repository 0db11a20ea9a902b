"""Refs, patterns and archive names: what is read prints back the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from dsmanager.errors import UsageError
from dsmanager.refs import COMPRESSION_SUFFIXES, Ref, RefPattern, parse_archive_name
from fuzz.checks import refusing_with

_SOME = (Ref("digit", None, "1.0.8"), Ref("coco", "2017", "1.1.0"), Ref("a.b", "c/d", "0.0.0"))


def run(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with refusing_with(UsageError):
        _check(Ref.parse(text))
    with refusing_with(UsageError):
        pattern = RefPattern.parse(text)
        assert RefPattern.parse(str(pattern)) == pattern
        for ref in _SOME:
            pattern.matches(ref)
    for name in (text, f"{text}__1.0.8__cache.tar.gz", f"{text}__cache.tar"):
        found = parse_archive_name(name)
        if found is not None:
            _check(found[0])
            assert name.endswith(COMPRESSION_SUFFIXES[found[1]])
            assert "/" not in name


def _check(ref: Ref) -> None:
    assert Ref.parse(str(ref)) == ref
    assert ref.is_proper
    assert not {"", ".", ".."} & set(str(ref.subdir).split("/"))
    assert not PurePosixPath(ref.subdir).is_absolute()
    assert "/" not in ref.archive_name()
    assert not ref.archive_name().startswith(".")


def seeds() -> Iterator[tuple[str, bytes]]:
    for name, text in (
        ("full", "coco/2017:1.1.0"),
        ("name", "digit"),
        ("glob", "co*/[a-z]?:1.*"),
        ("archive", "coco__2017__1.1.0__cache.tar.gz"),
        ("climbing", "../x:1.0.0"),
        ("leading-zero", "digit:01.0.0"),
        ("line-feed", "digit:1.0.8\n"),
        ("other-digits", "digit:\u0661.0.8"),
        ("odd-glob", "[z-a][!]][[:alpha:]]"),
    ):
        yield name, text.encode()
