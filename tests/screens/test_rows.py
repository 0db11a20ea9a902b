from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.library.presence import Presence
from dsmanager.screens.rows import MARKERS, Row, encoded, markers
from dsmanager.screens.snapshot import Snapshot, read_snapshot, write_snapshot


@pytest.mark.parametrize(
    "places",
    [{}, {"built": 1}, {"cached": 5, "remote": 5, "recorded": 5}, {"config": "a/b", "built": 3},
     {"built": 1, "problem": "a shard is missing", "has_remote": False}],
)  # fmt: skip
def test_a_presence_comes_back_from_its_row(
    presence: Callable[..., Presence], places: dict[str, Any]
) -> None:
    given = presence("digit", **places)
    row = Row(json.loads(json.dumps(encoded(given, {}))))
    assert row.presence == given
    assert row.ref == str(given.ref)
    assert row.state == given.state


@pytest.mark.parametrize(
    ("places", "signs"),
    [
        ({"built": 1}, "+---"),
        ({"built": 1, "has_remote": False}, "+-?-"),
        ({"built": 1, "problem": "broken"}, "!---"),
        ({"built": 1, "cached": 5, "remote": 5, "recorded": 5}, "===="),
        ({"cached": 5, "remote": 6}, "-**-"),
        ({"cached": 5, "recorded": 6}, "-*-*"),
        ({"recorded": 6}, "---+"),
        ({"cached": 5, "recorded": 5, "is_partly_built": True}, "*=-="),
    ],
)
def test_markers_say_how_a_place_compares(
    presence: Callable[..., Presence], places: dict[str, Any], signs: str
) -> None:
    assert markers(presence("digit", **places)) == signs


def test_an_object_of_unknown_hash_is_not_checked(presence: Callable[..., Presence]) -> None:
    given = presence("digit", cached=5, remote=5)
    assert given.remote is not None
    unknown = given._replace(remote=given.remote._replace(sha256=None))
    assert markers(unknown) == "-=?-"
    assert "not checked" in MARKERS["?"]


def test_a_snapshot_comes_back(tmp_path: Path, row: Callable[..., Row]) -> None:
    path = tmp_path / "screens" / "x.json"
    rows = [row("a", built=1).raw, row("b", cached=2).raw]
    assert write_snapshot(path, Snapshot(rows, 1.0, 2.0))
    assert read_snapshot(path) == Snapshot(rows, 1.0, 2.0)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", '{"schema":1}', '{"schema":2,"rows":[]}', "[" * 100_000,
     '{"schema":1,"rows":[[1]],"local_at":1,"remote_at":1}',
     '{"schema":1,"rows":[7],"local_at":1,"remote_at":1}', "\x00"],
)  # fmt: skip
def test_whatever_is_wrong_with_a_snapshot_it_is_as_if_there_were_none(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    assert read_snapshot(path).rows == ()
    path.write_bytes(b"\xff\xfe")
    assert read_snapshot(path).rows == ()
