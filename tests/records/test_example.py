"""parse_example reads exactly what a serializer of tf.train.Example writes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import VerificationError
from dsmanager.records.example import parse_example, scan_example

int64s = st.integers(-(2**63), 2**63 - 1)
float32s = st.floats(width=32, allow_nan=False)
values = st.one_of(
    st.lists(st.binary(max_size=40), max_size=8),
    st.lists(float32s, max_size=8),
    st.lists(int64s, max_size=8),
)
examples = st.dictionaries(st.text(max_size=12), values, max_size=6)


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def example_of(feature: bytes, name: bytes = b"x") -> bytes:
    return field(1, field(1, field(1, name) + field(2, feature)))


@settings(deadline=None, max_examples=200)
@given(examples)
def test_reads_what_tensorflows_message_serializes(example: dict[str, list[object]]) -> None:
    proto = pytest.importorskip("tensorflow_datasets.proto", reason="TFDS carries the message")
    message = proto.tf_example_pb2.Example()
    message.features.SetInParent()
    for name, content in example.items():
        feature = message.features.feature[name]
        if not content:
            feature.int64_list.SetInParent()
        elif isinstance(content[0], bytes):
            feature.bytes_list.value.extend(content)
        elif isinstance(content[0], float):
            feature.float_list.value.extend(content)
        else:
            feature.int64_list.value.extend(content)
    assert parse_example(message.SerializeToString()) == example
    assert parse_example(memoryview(message.SerializeToString())) == example


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_with_our_error(data: bytes) -> None:
    try:
        parse_example(data)
    except VerificationError:
        return


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_shortened_example_is_refused(data: st.DataObject) -> None:
    whole = example_of(field(3, field(1, b"\x01\x02\x03")))
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(VerificationError):
        parse_example(whole[:cut])


def test_an_empty_example_has_no_features() -> None:
    assert parse_example(b"") == {}
    assert parse_example(field(1, b"")) == {}


def test_a_feature_without_a_list_has_no_values() -> None:
    assert parse_example(example_of(b"")) == {"x": []}
    assert scan_example(example_of(b""))["x"].kind == ""


def test_values_repeated_one_by_one_are_read_like_packed_ones() -> None:
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.5, -2.0))
    assert parse_example(example_of(field(2, floats))) == {"x": [1.5, -2.0]}
    assert parse_example(example_of(field(3, b"\x08\x05\x08\x07"))) == {"x": [5, 7]}
    mixed = field(1, b"\x01\x02") + b"\x08\x03" + field(1, b"\x04")
    assert parse_example(example_of(field(3, mixed))) == {"x": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("two kinds in one feature", example_of(field(1, b"") + field(3, b""))),
        ("a list twice", example_of(field(3, b"") + field(3, b""))),
        ("an unknown kind", example_of(field(4, b""))),
        ("half a float", example_of(field(2, field(1, b"\x00\x00")))),
        ("a name that is no text", example_of(b"", name=b"\xff")),
        ("a second Features", field(1, b"") + field(1, b"")),
        ("a SequenceExample", field(1, b"") + field(2, b"")),
        ("a feature twice", field(1, 2 * field(1, field(1, b"x")))),
        ("a key twice", field(1, field(1, field(1, b"x") + field(1, b"y")))),
        ("a group", b"\x0b\x0c"),
        ("an endless number", example_of(field(3, field(1, b"\xff" * 11)))),
        ("a number above 64 bits", example_of(field(3, field(1, b"\xff" * 9 + b"\x02")))),
        ("a length beyond the end", b"\x0a\xff\xff\xff\xff\x07"),
        ("fields in another order", field(1, field(1, field(2, b"") + field(1, b"x")))),
    ],
)
def test_what_no_serializer_writes_is_refused(what: str, data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_example(data)
