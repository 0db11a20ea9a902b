"""Values of an Example become arrays exactly, however many bytes each takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsmanager.errors import VerificationError
from dsmanager.loading.arrays import Field, Ragged, nest
from dsmanager.records.example import RawFeature

int64s = st.one_of(
    st.integers(-(2**63), 2**63 - 1), *[st.integers(0, 2**bits - 1) for bits in range(7, 63, 7)]
)


def varints(values: list[int]) -> memoryview:
    data = bytearray()
    for value in values:
        rest = value % 2**64
        while rest >= 0x80:
            data.append(rest & 0x7F | 0x80)
            rest >>= 7
        data.append(rest)
    return memoryview(bytes(data))


def read(chunks: list[memoryview], kind: str = "int", dtype: str = "int64") -> np.ndarray:
    field = Field("x", np.dtype(dtype), (None,))
    values = field.read({"x": RawFeature(kind, chunks)})
    assert isinstance(values, np.ndarray)
    return values


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(int64s, max_size=6), max_size=3))
def test_integers_of_any_length_are_exact(runs: list[list[int]]) -> None:
    chunks = [varints(run) for run in runs]
    expected = [value for run in runs for value in run]
    assert read(chunks).tolist() == expected
    assert RawFeature("int", chunks).values() == expected
    assert RawFeature("int", chunks).count == len(expected)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=30))
@example(b"\xff" * 9 + b"\x02")
@example(b"\xff" * 9 + b"\x01")
@example(b"\xff" * 10 + b"\x01")
@example(b"\x05\x80")
def test_both_readers_of_integers_agree_on_any_bytes(data: bytes) -> None:
    feature = RawFeature("int", [memoryview(data)])
    try:
        expected = feature.values()
    except VerificationError:
        with pytest.raises(VerificationError):
            read(feature.chunks)
    else:
        assert read(feature.chunks).tolist() == expected


nested = st.lists(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3), max_size=4)


@settings(deadline=None, max_examples=200)
@given(nested)
def test_ragged_values_nest_and_their_rows_are_their_elements(rows: list) -> None:
    flat = np.array([value for row in rows for inner in row for value in inner], np.int64)
    lengths = (
        np.array([len(row) for row in rows], np.int64),
        np.array([len(inner) for row in rows for inner in row], np.int64),
    )
    ragged = Ragged(flat, lengths)

    def lists(value: object) -> object:
        return [lists(v) for v in value] if isinstance(value, list) else value.tolist()

    assert lists(nest(ragged)) == rows
    for index, row in enumerate(rows):
        inner = ragged[index]
        assert isinstance(inner, Ragged)
        assert lists(nest(inner)) == row
        assert [inner[i].tolist() for i in range(len(row))] == row


def test_sequences_that_do_not_add_up_are_an_error() -> None:
    field = Field("x", np.dtype(np.int64), (None, None), rank=2)
    for lengths in ([1, 1], [4], [5, -2], []):
        sequences = {
            "x/ragged_flat_values": RawFeature("int", [varints([1, 2, 3])]),
            "x/ragged_row_lengths_0": RawFeature("int", [varints(lengths)]),
        }
        with pytest.raises(VerificationError, match="add up"):
            field.read(sequences)
