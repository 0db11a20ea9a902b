"""Our encoder and serializer and TFDS's give the same bytes, or raise the same, for any value."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_datasets.core import example_serializer, features
from tensorflow_datasets.core.features import feature as feature_lib

from dsmanager.building.writing.encoder import make_encoder
from dsmanager.building.writing.pending import Pending, encode, encoded_later, owned
from dsmanager.building.writing.serializer import make_serializer
from dsmanager.loading import without_tensorflow

without_tensorflow.install()

INTEGERS = [np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)]
FLOATS = [np.dtype(f"f{size}") for size in (2, 4, 8)]
NUMBERS = [*INTEGERS, *FLOATS, np.dtype(bool)]
texts = st.one_of(st.text(max_size=8), st.binary(max_size=200))
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
checked = settings(deadline=None, max_examples=50)


def theirs(spec: Any, example: Any) -> bytes:
    serializer = example_serializer.ExampleSerializer(spec)
    record: bytes = serializer.get_tf_example(example).SerializeToString(deterministic=True)
    return record


def ours(feature: Any, value: Any) -> bytes:
    serializer = example_serializer.ExampleSerializer(feature.get_serialized_info())
    pieces, length = make_serializer(serializer)(make_encoder(feature)(value))
    record = b"".join(pieces)
    assert len(record) == length
    return record


def same(feature: Any, value: Any) -> None:
    """Encodes ``value`` and compares the bytes."""
    expected = theirs(feature.get_serialized_info(), feature.encode_example(value))
    assert ours(feature, value) == expected


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    if dtype.kind == "O":
        return texts
    return hnp.from_dtype(dtype)


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int | None, ...]) -> tuple[Any, Any]:
    dtype = draw(st.sampled_from([*NUMBERS, np.dtype(object)]))
    sizes = tuple(draw(st.integers(0, 3)) if size is None else size for size in shape)
    count = int(np.prod(sizes))
    values = draw(st.lists(elements(dtype), min_size=count, max_size=count))
    array = np.empty(count, dtype)
    array[:] = values
    kind = np.dtype(object).type if dtype.kind == "O" else dtype.type
    return features.Tensor(shape=shape, dtype=kind), array.reshape(sizes)


@st.composite
def leaves(draw: st.DrawFn) -> tuple[Any, st.SearchStrategy[Any]]:
    """A feature, and what a builder may yield for it."""
    choices: list[tuple[Any, st.SearchStrategy[Any]]] = [
        (features.Text(), texts),
        (features.ClassLabel(names=["a", "b", "c"]), st.sampled_from(["a", 1, -1, b"c"])),
        (features.Image(), st.binary(max_size=300)),
        (features.Audio(), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)),
        (
            features.Audio(dtype=np.float32),
            hnp.arrays(np.float32, st.tuples(st.integers(0, 20))),
        ),
        (features.BBoxFeature(), st.just(features.BBox(0.1, 0.2, 0.5, 0.75))),
        (
            features.Tensor(shape=(None, None), dtype=np.int16, encoding="zlib"),
            hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=2)),
        ),
        (features.Tensor(shape=(2,), dtype=np.float64, encoding="bytes"), st.just([0.5, 1])),
        (features.Scalar(np.int64), st.integers(-(2**63), 2**63 - 1)),
        (features.Scalar(np.bool_), st.booleans()),
        (features.Scalar(np.float32), st.floats(width=32)),
        (features.Scalar(np.str_), st.text(max_size=5)),
        (
            features.Tensor(shape=(), dtype=np.int32, optional=True),
            st.one_of(st.none(), st.integers(0, 9)),
        ),
        (
            features.LabeledImage(labels=3),
            st.binary(max_size=30),
        ),
        (features.Video(shape=(None, 4, 4, 3)), st.lists(st.binary(max_size=40), max_size=4)),
    ]
    return draw(st.sampled_from(choices))


@st.composite
def trees(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    kind = draw(st.sampled_from(["leaf", "sequence", "dict", "dataset"] if depth else ["leaf"]))
    if kind == "leaf":
        return draw(leaves())
    if kind == "dict":
        inner = draw(st.dictionaries(names, trees(depth=depth - 1), min_size=1, max_size=3))
        feature = features.FeaturesDict({name: each for name, (each, _) in inner.items()})
        return feature, st.fixed_dictionaries({name: values for name, (_, values) in inner.items()})
    feature, values = draw(trees(depth=depth - 1))
    if kind == "dataset":
        return features.Dataset(feature), st.lists(values, max_size=3)
    length = draw(st.sampled_from([None, 2]))
    bounds = {"max_size": 3} if length is None else {"min_size": 2, "max_size": 2}
    return features.Sequence(feature, length=length), st.lists(values, **bounds)


@checked
@given(st.data())
def test_every_supported_feature_gives_tfds_bytes(data: st.DataObject) -> None:
    inner = data.draw(st.dictionaries(names, trees(), min_size=1, max_size=4))
    value = {name: data.draw(values) for name, (_, values) in inner.items()}
    try:
        feature = features.FeaturesDict({name: each for name, (each, _) in inner.items()})
        encoded = feature.encode_example(value)
        expected = theirs(feature.get_serialized_info(), encoded)
    except Exception:
        return  # what TFDS refuses is for the next test
    assert ours(feature, value) == expected


ODD = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.booleans(),
    st.lists(st.integers(), max_size=3), hnp.arrays(np.int32, (2,)), st.just({"y": 1}),
    st.just(np.zeros((), np.int8)), st.just(np.float32(2)), st.just("a"), st.just(-2),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*encountered in cast", "ignore:.*out-of-bound Python integers")
@checked
@given(st.data())
def test_any_value_of_a_plain_feature_gives_what_tfds_gives(data: st.DataObject) -> None:
    plain, _ = data.draw(leaves())
    dtype = data.draw(st.sampled_from([*NUMBERS, np.dtype(object)]))
    tensor = features.Tensor(shape=data.draw(st.sampled_from([(), (2,)])), dtype=dtype.type)
    feature = features.FeaturesDict({"x": data.draw(st.sampled_from([plain, tensor]))})
    value = {"x": data.draw(ODD), **data.draw(st.sampled_from([{}, {}, {"more": 1}]))}
    try:
        with np.errstate(all="ignore"):
            expected = theirs(feature.get_serialized_info(), feature.encode_example(value))
    except Exception as error:
        with pytest.raises(type(error)), np.errstate(all="ignore"):
            ours(feature, value)
        return
    with np.errstate(all="ignore"):
        assert ours(feature, value) == expected


def test_an_error_names_the_feature_as_tfds_does() -> None:
    inner = features.FeaturesDict({"label": features.ClassLabel(names=["a"])})
    feature = features.FeaturesDict({"inner": inner, "text": features.Text()})
    said = []
    for encode_example in (feature.encode_example, make_encoder(feature)):
        with pytest.raises(ValueError, match="greater than configured") as caught:
            encode_example({"inner": {"label": 7}, "text": "x"})
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert 'with name "inner"' in said[0]
    assert 'with name "label"' in said[0]


def test_an_image_in_a_file_is_read_from_where_the_file_stands(tmp_path: Path) -> None:
    feature = features.FeaturesDict({"image": features.Image()})
    path = tmp_path / "image"
    path.write_bytes(b"skipped, then content")

    def at(file: Any) -> Any:
        file.seek(14)
        return file

    with open(path, "rb") as first, open(path, "rb") as second:
        for one, two in [
            (at(first), at(second)),
            (at(io.BytesIO(b"0" * 99)), at(io.BytesIO(b"0" * 99))),
        ]:
            info = feature.get_serialized_info()
            expected = theirs(info, feature.encode_example({"image": one}))
            assert ours(feature, {"image": two}) == expected


@checked
@given(st.sampled_from([(), (3,), (None,), (2, None), (1, 2, 2)]).flatmap(tensors))
def test_tensors_of_every_dtype_give_tfds_bytes(made: tuple[Any, Any]) -> None:
    feature, value = made
    same(features.FeaturesDict({"x": feature}), {"x": value})
    same(features.FeaturesDict({"x": features.Sequence(feature)}), {"x": [value, value]})


@pytest.mark.filterwarnings("ignore:.*encountered in cast")
@checked
@given(st.sampled_from(NUMBERS), st.data())
def test_values_that_do_not_fit_raise_what_tfds_raises(dtype: Any, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(), (2,), (None, 2)]))
    spec = {"x": feature_lib.TensorInfo(shape=shape, dtype=dtype.type)}
    example = {"x": data.draw(ODD)}
    serialize = make_serializer(example_serializer.ExampleSerializer(spec))
    try:
        with np.errstate(all="ignore"):
            expected = theirs(spec, example)
    except Exception as error:
        with pytest.raises(type(error)):
            serialize(example)
        return
    with np.errstate(all="ignore"):
        assert b"".join(serialize(example)[0]) == expected


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -0.0, 1e-45, 3.5e38])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_unusual_floats_give_tfds_bytes(value: float) -> None:
    for dtype in (np.float32, np.float64):
        same(features.FeaturesDict({"x": dtype}), {"x": dtype(value)})
        feature = features.FeaturesDict({"x": features.Tensor(shape=(None,), dtype=dtype)})
        same(feature, {"x": np.array([value, 1, value], dtype)})
    signalling = np.array([0x7F800001, 0x3F800000], np.uint32).view(np.float32)
    same(
        features.FeaturesDict({"x": features.Tensor(shape=(2,), dtype=np.float32)}),
        {"x": signalling},
    )


def test_long_values_give_tfds_bytes() -> None:
    feature = features.FeaturesDict(
        {"a" * 200: features.Text(), "b": features.Audio(), "c": features.Sequence(np.uint64)}
    )
    numbers = np.random.default_rng(0).integers(-(2**62), 2**62, 5000)
    value = {"a" * 200: b"x" * 70_000, "b": numbers, "c": list(numbers.view(np.uint64))}
    same(feature, value)


def test_features_named_alike_stand_in_the_order_of_bytes() -> None:
    nested = features.Sequence(features.Sequence(np.int64))
    names = ["a-b", "a0", "ä", "ab", "abc", "b"]
    feature = features.FeaturesDict({"a": nested, **dict.fromkeys(names, np.int64)})
    same(feature, {"a": [[1], [], [2, 3]], **dict.fromkeys(names, 1)})


def test_arrays_that_wait_are_copies() -> None:
    array = np.zeros(3, np.int64)
    waiting = owned({"x": array, "more": [array, b"bytes"]})
    array[:] = 7
    assert waiting["x"].tolist() == waiting["more"][0].tolist() == [0, 0, 0]
    assert waiting["more"][1] == b"bytes"


def test_what_is_to_come_is_waited_for_wherever_it_is() -> None:
    class Late:
        nbytes = 1 << 20

        def __array__(self, *_: Any, **__: Any) -> Any:
            return np.frombuffer(b"made", np.uint8)

    class Feature:
        def encode_example(self, example: Any) -> Any:
            return {
                "image": encoded_later(bytes, Late()),
                "film": [encoded_later(bytes, Late()), b"plain"],
                "films": [[encoded_later(bytes, Late())], []],
            }

    encoded, pending = encode(Feature().encode_example, None)
    assert all(type(each) is Pending for each in pending)
    assert len(pending) == 3
    string = np.object_
    info = feature_lib.TensorInfo
    spec = {
        "image": info(shape=(), dtype=string),
        "film": info(shape=(None,), dtype=string, sequence_rank=1),
        "films": info(shape=(None, None), dtype=string, sequence_rank=2),
    }
    plain = {"image": b"made", "film": [b"made", b"plain"], "films": [[b"made"], []]}
    serialize = make_serializer(example_serializer.ExampleSerializer(spec))
    assert b"".join(serialize(encoded)[0]) == theirs(spec, plain)


def test_large_values_are_not_copied() -> None:
    spec = {
        "image": feature_lib.TensorInfo(shape=(), dtype=np.object_),
        "film": feature_lib.TensorInfo(shape=(None,), dtype=np.object_, sequence_rank=1),
    }
    images = [bytes([number]) * 20_000 for number in range(4)]
    example = {"image": images[0], "film": [*images[1:], b"small"]}
    serialize = make_serializer(example_serializer.ExampleSerializer(spec))
    pieces, length = serialize(example)
    assert [piece for piece in pieces if len(piece) >= 20_000] == [*images[1:], images[0]]
    assert all(any(piece is image for piece in pieces) for image in images)
    record = b"".join(pieces)
    assert record == theirs(spec, example)
    assert len(record) == length
