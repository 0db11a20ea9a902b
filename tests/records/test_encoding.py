"""example_pieces writes what protobuf's deterministic serialisation writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.records.encoding import bytes_feature, example_pieces, float_feature, int64_feature
from dsmanager.records.example import parse_example

int64s = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8)
float32s = st.lists(st.floats(width=32, allow_nan=False), max_size=8)
binaries = st.lists(st.one_of(st.binary(max_size=40), st.just(20_000).map(bytes)), max_size=4)
values = st.one_of(binaries, float32s, int64s)
names = st.one_of(st.text(max_size=12), st.sampled_from(["a", "a/b", "a/", "b", "ab"]))


def pieces_of(example: dict[str, list[object]], kinds: dict[str, str]) -> list[bytes]:
    features = {}
    for name, content in example.items():
        if kinds[name] == "bytes_list":
            features[name] = bytes_feature(*content)  # type: ignore[arg-type]
        elif kinds[name] == "float_list":
            features[name] = float_feature(content)  # type: ignore[arg-type]
        else:
            features[name] = int64_feature(*content)  # type: ignore[arg-type]
    return example_pieces(features)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(names, values, max_size=6))
def test_the_bytes_are_protobufs(example: dict[str, list[object]]) -> None:
    proto = pytest.importorskip("tensorflow_datasets.proto", reason="TFDS carries the message")
    message = proto.tf_example_pb2.Example()
    message.features.SetInParent()
    kinds = {}
    for name, content in example.items():
        first = content[0] if content else 0
        kinds[name] = {bytes: "bytes_list", float: "float_list", int: "int64_list"}[type(first)]
        values = getattr(message.features.feature[name], kinds[name])
        values.SetInParent()
        values.value.extend(content)
    record = b"".join(pieces_of(example, kinds))
    assert proto.tf_example_pb2.Example.FromString(record) == message
    assert {name: list(found) for name, found in parse_example(record).items()} == example
    assert record == message.SerializeToString(deterministic=True)


def test_large_values_are_not_copied() -> None:
    image = bytes(100_000)
    pieces = example_pieces({"image": bytes_feature(image), "label": int64_feature(1)})
    assert any(piece is image for piece in pieces)
    assert len(pieces) == 3


def test_a_float_beyond_float32_is_refused() -> None:
    with pytest.raises(OverflowError):
        float_feature([1e300])
