"""Examples and label counts from real shards: any record, bounds, cancellation."""

from __future__ import annotations

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.errors import CancelledError, NotFoundError
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken
from dsmanager.refs import Ref
from dsmanager.screens.previews import reading
from dsmanager.screens.previews.reading import ExampleReader


@pytest.fixture
def reader(everyday: Library) -> ExampleReader:
    ref = Ref("everyday", None, "1.0.0")
    return ExampleReader(BuiltDataset(ref, everyday.version_folder(ref)))


def test_every_example_of_a_split_comes_once_and_indices_wrap(reader: ExampleReader) -> None:
    def story(index: int) -> str:
        values = {value.leaf.key: value.shown for value in reader.example("train", index).values}
        return values["story"].partition("[/b]")[0]

    assert {story(index) for index in range(12)} == {f"[b]story {n}" for n in range(12)}
    assert story(-1) == story(11)
    assert story(12) == story(0)
    assert reader.example("train", -1).index == 11
    with pytest.raises(NotFoundError):
        reader.example("nowhere", 0)


def test_labels_are_counted_over_the_whole_split(reader: ExampleReader) -> None:
    (leaf,) = reader.label_leaves
    counted = reader.labels("train", leaf)
    reader.count_labels(counted, leaf, CancelToken())
    assert counted.counts == {0: 6, 1: 6}
    assert counted.names == ["[red]x", "a[/b]", "never"]
    assert counted.said == "all 12 examples of train"


def test_counting_ends_at_its_bound_and_says_of_how_many(
    reader: ExampleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_EXAMPLES", 5)
    (leaf,) = reader.label_leaves
    counted = reader.labels("train", leaf)
    reader.count_labels(counted, leaf, CancelToken())
    assert sum(counted.counts.values()) == counted.examples == 5
    assert counted.said.startswith("5 of 12 examples of train (")


def test_counting_stops_when_it_is_cancelled(reader: ExampleReader) -> None:
    (leaf,) = reader.label_leaves
    counted, cancel = reader.labels("train", leaf), CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        reader.count_labels(counted, leaf, cancel)
    assert counted.examples == 0
