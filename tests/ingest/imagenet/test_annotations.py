"""Boxes as the slim script has them, and XML that comes from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmanager.ingest.imagenet import annotations
from dsmanager.ingest.imagenet.annotations import BadAnnotationError, annotation_of, boxes

SIZE = "<size><width>200</width><height>100</height></size>"


def xml(*objects: tuple[float, float, float, float], size: str = SIZE) -> bytes:
    inside = "".join(
        f"<object><name>n01440764</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for left, top, right, bottom in objects
    )
    return f"<annotation>{size}{inside}</annotation>".encode()


edge = st.integers(-500, 500)


@given(st.lists(st.tuples(edge, edge, edge, edge), max_size=5))
def test_every_box_is_inside_and_has_an_area(
    objects: list[tuple[float, float, float, float]],
) -> None:
    found = boxes(xml(*objects))
    expected = []
    for left, top, right, bottom in objects:
        across = sorted(min(max(value / 200, 0), 1) for value in (left, right))
        down = sorted(min(max(value / 100, 0), 1) for value in (top, bottom))
        if across[0] < across[1] and down[0] < down[1]:
            expected.append((*across, *down))
    assert found == expected


def test_no_object_needs_no_size() -> None:
    assert boxes(b"<annotation/>") == []


REFUSED = {
    "empty": b"",
    "no XML": b"boxes",
    "cut": xml((1, 2, 3, 4))[:-20],
    "entity": b'<!DOCTYPE a [<!ENTITY x "1">]><annotation>&x;</annotation>',
    "outside": b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
    "no size": xml((1, 2, 3, 4), size=""),
    "size of zero": xml((1, 2, 3, 4), size="<size><width>0</width><height>5</height></size>"),
    "no number": xml((1, 2, 3, 4)).replace(b"<xmin>1<", b"<xmin>one<"),
    "infinite": xml((1, 2, 3, 4)).replace(b"<xmin>1<", b"<xmin>inf<"),
    "no edge": xml((1, 2, 3, 4)).replace(b"<xmin>1</xmin>", b""),
    "deep": b"<a>" * 100 + b"</a>" * 100,
    "many": xml(*[(1, 2, 3, 4)] * (annotations.MAX_BOXES + 1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_says_nothing_of_boxes_is_refused(what: str) -> None:
    with pytest.raises(BadAnnotationError):
        boxes(REFUSED[what])


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_have_boxes_or_are_refused(noise: bytes, at: int) -> None:
    whole = bytearray(xml((1, 2, 3, 4)))
    whole[at : at + len(noise)] = noise
    for content in (noise, bytes(whole)):
        try:
            assert all(0 <= edge <= 1 for box in boxes(content) for edge in box)
        except BadAnnotationError:
            continue


@pytest.mark.parametrize("place", ["train/n01440764", "train", "n01440764", "."])
def test_annotations_are_found_where_they_are_given_out(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "n01440764_1.xml").write_bytes(b"<annotation/>")
    assert annotation_of(tmp_path, "train", "n01440764", "n01440764_1") == b"<annotation/>"
    assert annotation_of(tmp_path, "train", "n01440764", "n01440764_2") is None


def test_a_large_annotation_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(bytes(annotations.MAX_BYTES + 1))
    with pytest.raises(BadAnnotationError, match="more than"):
        annotation_of(tmp_path, "train", "n01440764", "x")
