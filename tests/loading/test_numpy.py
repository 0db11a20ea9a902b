"""NumPy splits give what TensorFlow reads, and behave like sequences."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmanager.errors import NotFoundError, UsageError, VerificationError
from dsmanager.loading import NumpySplit, load_directory

FORMATS = ["tfrecord", "array_record"]
SPLITS = ["train", "test", "train[:30%]", "train[5:-3]+test", "test[1:2]", "all"]


def assert_same(actual: Any, expected: Any, where: str) -> None:
    """Equal in values, types, dtypes, shapes and order of keys."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected), where
        for name, value in expected.items():
            assert_same(actual[name], value, f"{where}/{name}")
    elif isinstance(expected, list):
        assert not isinstance(actual, np.ndarray), where
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_same(actual[index], value, f"{where}[{index}]")
    else:
        assert type(actual) is type(expected), where
        if isinstance(expected, (np.ndarray, np.generic)):
            assert actual.dtype == expected.dtype, where
            assert actual.shape == expected.shape, where
        np.testing.assert_array_equal(actual, expected, where)


def numpy_split(version_dir: Path, split: str = "train") -> NumpySplit:
    return load_directory(version_dir, split=split, framework="numpy")[1]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("file_format", FORMATS)
def test_every_feature_equals_what_tensorflow_reads(
    built: Any, file_format: str, split: str
) -> None:
    loaded = numpy_split(built.version_dir(file_format), split)
    expected = built.expected[split]
    assert len(loaded) == len(expected)
    for index, example in enumerate(loaded):
        assert_same(example, expected[index], f"{split}[{index}]")


@pytest.mark.parametrize("file_format", FORMATS)
def test_any_example_can_be_read_alone(built: Any, file_format: str) -> None:
    loaded = numpy_split(built.version_dir(file_format), "train[5:-3]+test")
    expected = built.expected["train[5:-3]+test"]
    for index in (0, len(expected) - 1, 7, -1, -len(expected)):
        assert_same(loaded[index], expected[index], str(index))
    with pytest.raises(IndexError):
        loaded[len(expected)]
    with pytest.raises(IndexError):
        loaded[-len(expected) - 1]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("part", [slice(2, 9), slice(None, None, -3), slice(-4, None), slice(5, 5)])
def test_a_slice_is_a_split_again(built: Any, file_format: str, part: slice) -> None:
    loaded = numpy_split(built.version_dir(file_format))[part]
    expected = built.expected["train"][part]
    assert len(loaded) == len(expected)
    assert [example["scalar"] for example in loaded] == [e["scalar"] for e in expected]
    assert [e["scalar"] for e in loaded[1:]] == [e["scalar"] for e in expected[1:]]


def test_a_split_can_be_iterated_again_and_twice_at_once(built: Any) -> None:
    loaded = numpy_split(built.version_dir(), "test")
    first, second = iter(loaded), iter(loaded)
    assert next(first)["text"] == next(second)["text"]
    assert len(list(loaded)) == len(list(loaded)) == 5


def test_a_pickled_split_holds_no_data_and_reads_the_same(built: Any) -> None:
    for file_format in FORMATS:
        loaded = numpy_split(built.version_dir(file_format))
        assert loaded[3]["text"]
        copied = pickle.dumps(loaded)
        assert len(copied) < 20_000
        assert_same(pickle.loads(copied)[3], built.expected["train"][3], file_format)


def texts(split: NumpySplit) -> list[bytes]:
    return [split[index]["text"] for index in range(len(split))]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_other_processes_read_an_opened_split(built: Any, file_format: str, method: str) -> None:
    loaded = numpy_split(built.version_dir(file_format))
    expected = [example["text"] for example in built.expected["train"]]
    assert texts(loaded) == expected
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_texts_of, (pickle.dumps(loaded),)).get(60) == expected


def _texts_of(pickled: bytes) -> list[bytes]:
    split = pickle.loads(pickled)
    return [split[index]["text"] for index in range(len(split))]


@pytest.mark.parametrize("file_format", FORMATS)
def test_threads_share_a_split(built: Any, file_format: str) -> None:
    loaded = numpy_split(built.version_dir(file_format))
    expected = [example["text"] for example in built.expected["train"]]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(texts, [loaded] * 16)) == [expected] * 16


def test_arrays_can_be_written_to(built: Any) -> None:
    example = numpy_split(built.version_dir(), "test")[0]
    for name in ("image", "deep", "open", "zlib", "dynamic", "audio"):
        assert example[name].flags.writeable, name


@pytest.mark.parametrize(
    ("split", "error"),
    [
        ("valid", NotFoundError),
        ("train+valid", NotFoundError),
        ("train[", UsageError),
        ("train[:200%]", UsageError),
        ("train[9000:]", UsageError),
        ("train[3:3]", UsageError),
        ("", UsageError),
        ("all[:3]", UsageError),
    ],
)
def test_a_wrong_split_is_named_with_the_splits_there_are(
    built: Any, split: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        numpy_split(built.version_dir(), split)
    assert "train, test" in str(raised.value.hint) or "test, train" in str(raised.value.hint)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("how", ["flip a payload byte", "flip a length byte", "cut", "grow"])
def test_a_damaged_shard_is_an_error_and_never_data(
    plain_dataset: Callable[..., Path], how: str
) -> None:
    folder = plain_dataset()
    shard = folder / "small-train.tfrecord-00000-of-00001"
    data = bytearray(shard.read_bytes())
    middle = len(data) // 3
    if how == "flip a payload byte":
        data[middle + 14] ^= 1
    elif how == "flip a length byte":
        data[middle] ^= 1
    elif how == "cut":
        del data[-middle:]
    else:
        data += data[:middle]
    shard.write_bytes(data)
    loaded = numpy_split(folder)
    with pytest.raises(VerificationError):
        list(loaded)
    with pytest.raises(VerificationError):
        [loaded[index] for index in range(3)]


def test_a_damaged_array_record_is_an_error(built: Any, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "everything" / "1.0.0"
    shutil.copytree(built.version_dir("array_record"), folder)
    shard = next(folder.glob("*train*00000-of-*"))
    data = bytearray(shard.read_bytes())
    for position in range(200, len(data) - 70_000, 97):
        data[position] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(VerificationError):
        list(numpy_split(folder))


def test_values_of_another_kind_than_recorded_are_an_error(
    plain_dataset: Callable[..., Path],
) -> None:
    folder = plain_dataset()
    features = (folder / "features.json").read_text()
    for wrong in (
        features.replace("int64", "float32"),
        features.replace('"n"', '"other"'),
        features.replace('"shape": {}', '"shape": {"dimensions": ["2"]}'),
    ):
        (folder / "features.json").write_text(wrong)
        with pytest.raises(VerificationError):
            numpy_split(folder)[0]
