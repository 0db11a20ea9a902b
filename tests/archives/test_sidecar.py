from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.archives.sidecar import (
    Member,
    Sidecar,
    read_sidecar,
    sidecar_path,
)
from dsmanager.errors import ExitCode, VerificationError
from dsmanager.refs import Ref

SIDECAR = Sidecar(
    ref=Ref("digit", None, "1.0.8"),
    archive="digit__1.0.8__cache.tar.gz",
    size=10,
    sha256="a" * 64,
    tar_sha256="b" * 64,
    compression={"format": "gz", "level": 2},
    subdir=("digit/1.0.8",),
    members=(
        Member('digit/1.0.8/a "quoted" größe', 3, "c" * 64),
        Member("digit/1.0.8/b", 0, "d" * 64),
    ),
    created="2025-01-02T03:04:05Z",
    dsmanager_version="0.1.0",
    tfds_version=None,
    builder_sha256=None,
    sources=({"url": "https://example.org/a", "size": None, "sha256": None},),
    license=None,
    citation="@misc{größe}",
    splits={"train": {"examples": 1, "shards": 1}},
)


def test_reads_back_what_it_writes() -> None:
    data = SIDECAR.to_bytes()
    assert Sidecar.from_bytes(data, "x.json") == SIDECAR
    assert data == (json.dumps(json.loads(data), indent=2, ensure_ascii=False) + "\n").encode()


def test_unknown_keys_are_tolerated() -> None:
    value = json.loads(SIDECAR.to_bytes())
    value["later"] = {"more": [1]}
    value["members"][0]["crc32c"] = 5
    assert Sidecar.from_bytes(json.dumps(value).encode(), "x.json") == SIDECAR


def test_none_where_there_is_none(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    assert read_sidecar(archive) is None
    sidecar_path(archive).write_bytes(SIDECAR.to_bytes())
    assert read_sidecar(archive) == SIDECAR


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no schema": lambda top: top.pop("schema"),
    "later schema": lambda top: top.update(schema=2),
    "schema is a boolean": lambda top: top.update(schema=True),
    "ref is no ref": lambda top: top.update(ref="../digit"),
    "ref is a number": lambda top: top.update(ref=1),
    "archive is a path": lambda top: top.update(archive="../a.tar.gz"),
    "archive is hidden": lambda top: top.update(archive=".a.tar.gz"),
    "archive is empty": lambda top: top.update(archive=""),
    "archive has a control character": lambda top: top.update(archive="a\x1b.tar.gz"),
    "size is negative": lambda top: top.update(size=-1),
    "size is a text": lambda top: top.update(size="10"),
    "size is a float": lambda top: top.update(size=10.0),
    "size is absurd": lambda top: top.update(size=1 << 70),
    "sha256 is short": lambda top: top.update(sha256="ab"),
    "sha256 is upper case": lambda top: top.update(sha256="A" * 64),
    "tar_sha256 is missing": lambda top: top.pop("tar_sha256"),
    "compression is a list": lambda top: top.update(compression=[]),
    "subdir is a text": lambda top: top.update(subdir="digit/1.0.8"),
    "subdir is empty": lambda top: top.update(subdir=[]),
    "subdir has another name": lambda top: top.update(subdir=["other/1.0.8"]),
    "subdir climbs": lambda top: top.update(subdir=["digit/../1.0.8"]),
    "subdir has more": lambda top: top["subdir"].append("digit/2.0.0"),
    "no members": lambda top: top.update(members=[]),
    "members is an object": lambda top: top.update(members={}),
    "a member is a text": lambda top: top["members"].append("digit/1.0.8/c"),
    "a member is absolute": lambda top: top["members"][0].update(path="/digit/1.0.8/a"),
    "a member climbs": lambda top: top["members"][0].update(path="digit/1.0.8/../a"),
    "a member is elsewhere": lambda top: top["members"][0].update(path="digit/2.0.0/a"),
    "a member is twice": lambda top: top["members"].append(top["members"][0]),
    "members collide": lambda top: top["members"][0].update(path="digit/1.0.8/B"),
    "a member's size is null": lambda top: top["members"][0].update(size=None),
    "created is missing": lambda top: top.pop("created"),
    "sources is an object": lambda top: top.update(sources={}),
    "a source has no url": lambda top: top.update(sources=[{"size": 1}]),
    "license is a number": lambda top: top.update(license=5),
    "splits is a list": lambda top: top.update(splits=[]),
    "a split has no counts": lambda top: top.update(splits={"train": {}}),
}


@pytest.mark.parametrize("case", WRONG)
def test_refuses_wrong_values(case: str) -> None:
    value = json.loads(SIDECAR.to_bytes())
    WRONG[case](value)
    with pytest.raises(VerificationError, match=r"x\.json") as raised:
        Sidecar.from_bytes(json.dumps(value).encode(), "x.json")
    assert raised.value.exit_code is ExitCode.VERIFICATION
    assert raised.value.message.isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"schema": NaN}', b"[" * 100_000, b'{"schema": 1' + b"0" * 5000],
)
def test_refuses_what_is_no_sidecar(data: bytes) -> None:
    with pytest.raises(VerificationError):
        Sidecar.from_bytes(data, "x.json")


def test_names_the_line_of_broken_json() -> None:
    data = SIDECAR.to_bytes().replace(b'"size": 10,', b'"size": 10')
    with pytest.raises(VerificationError, match="line 6"):
        Sidecar.from_bytes(data, "x.json")


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmanager.archives.sidecar.MAX_SIDECAR_BYTES", 100)
    with pytest.raises(VerificationError, match="more than 100 bytes"):
        Sidecar.from_bytes(SIDECAR.to_bytes(), "x.json")


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from(list(json.loads(SIDECAR.to_bytes()))),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.text(max_size=5),
            st.lists(st.integers()),
            st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
        ),
        max_size=3,
    )
)
def test_any_json_is_read_or_refused(changes: dict[str, Any]) -> None:
    value = json.loads(SIDECAR.to_bytes()) | changes
    try:
        sidecar = Sidecar.from_bytes(json.dumps(value).encode(), "x.json")
    except VerificationError:
        return
    assert Sidecar.from_bytes(sidecar.to_bytes(), "x.json") == sidecar


def test_sidecars_compare_by_content() -> None:
    assert replace(SIDECAR, size=11) != SIDECAR
