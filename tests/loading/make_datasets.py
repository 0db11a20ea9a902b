"""Builds small datasets with TFDS and TensorFlow, and keeps what TensorFlow reads back from them.

Run as a program, in a process of its own: ``make_datasets.py FOLDER``. Leaves
``FOLDER/<format>/everything/1.0.0`` and ``FOLDER/expected.pickle``.
"""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

f = tfds.features
EXAMPLES = 23
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def encoded(array: np.ndarray, image_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, image_format)
    return buffer.getvalue()


def animation(rng: np.random.Generator) -> bytes:
    frames = [Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)) for _ in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


FEATURES: dict[str, Any] = {
    **{name: np.dtype(name) for name in [*INTEGERS, "float32", "float64", "bool"]},
    "text": f.Text(),
    "bytes": np.object_,
    "scalar": f.Scalar(np.int32),
    "label": f.ClassLabel(names=["zero", "one", "two"]),
    "unnamed": f.ClassLabel(num_classes=9),
    "box": f.BBoxFeature(),
    "fixed": f.Tensor(shape=(2, 3), dtype=np.int16),
    "open": f.Tensor(shape=(None, 3), dtype=np.float32),
    "open last": f.Tensor(shape=(2, None), dtype=np.float64),
    "words": f.Tensor(shape=(None,), dtype=np.object_),
    "zlib": f.Tensor(shape=(2, 2), dtype=np.float64, encoding="zlib"),
    "packed": f.Tensor(shape=(None, 2), dtype=np.uint64, encoding="bytes"),
    "packed bool": f.Tensor(shape=(3,), dtype=np.bool_, encoding="bytes"),
    "dynamic": f.Tensor(shape=(None, None, 1), dtype=np.int32, encoding="zlib"),
    "maybe": f.Tensor(shape=(), dtype=np.int32, optional=True),
    "maybe float": f.Tensor(shape=(2,), dtype=np.float32, optional=True),
    "audio": f.Audio(sample_rate=8000),
    "stereo": f.Audio(shape=(None, 2), dtype=np.int16),
    "image": f.Image(),
    "gray": f.Image(shape=(None, None, 1), encoding_format="png"),
    "rgba": f.Image(shape=(6, 5, 4), encoding_format="png"),
    "deep": f.Image(shape=(None, None, 3), dtype=np.uint16, encoding_format="png"),
    "depth": f.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png"),
    "float image": f.Image(shape=(None, None, 1), dtype=np.float32),
    "as gray": f.Image(shape=(None, None, 1)),
    "as rgb": f.Image(shape=(None, None, 3)),
    "animation": f.Image(shape=(None, None, None, 3)),
    "segments": f.LabeledImage(labels=3, shape=(None, None, 1)),
    "video": f.Video(shape=(None, 6, 5, 3)),
    "nested": {"a/b": np.int64, "inner": {"label": f.ClassLabel(names=["no", "yes"])}},
    "list": f.Sequence(np.int32),
    "pairs": f.Sequence(np.float32, length=2),
    "texts": f.Sequence(f.Text()),
    "labels": f.Sequence(f.ClassLabel(names=["x", "y"])),
    "boxes": f.Sequence({"box": f.BBoxFeature(), "kind": f.Text(), "crowd": np.bool_}),
    "images": f.Sequence(f.Image(shape=(6, 5, 3), encoding_format="png")),
    "open images": f.Sequence(f.Image(encoding_format="png")),
    "packed list": f.Sequence(f.Tensor(shape=(2,), dtype=np.float64, encoding="zlib")),
    "dynamic list": f.Sequence(f.Tensor(shape=(None, None), dtype=np.int8, encoding="bytes")),
    "ragged": f.Sequence(f.Sequence(np.int64)),
    "ragged texts": f.Sequence({"words": f.Sequence(f.Text())}),
    "ragged rows": f.Sequence(f.Sequence(f.Tensor(shape=(2,), dtype=np.float32))),
    "ragged images": f.Sequence(f.Sequence(f.Image(shape=(6, 5, 1), encoding_format="png"))),
    "ragged packed": f.Sequence(f.Sequence(f.Tensor(shape=(2,), dtype=np.int16, encoding="bytes"))),
    "very ragged": f.Sequence(f.Sequence(f.Sequence(np.int32))),
    "translation": f.Translation(languages=["en", "de"]),
    "translations": f.TranslationVariableLanguages(languages=["en", "de"]),
    "steps": f.Dataset(
        {
            "reward": np.float32,
            "frame": f.Image(shape=(6, 5, 3), encoding_format="png"),
            "actions": f.Sequence(np.int32),
            "note": f.Text(),
            "state": f.Tensor(shape=(2,), dtype=np.float64, encoding="zlib"),
        }
    ),
    "numbers": f.Dataset(np.int64),
}


def example(index: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    count = index % 4

    def integers(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)

    def image(channels: int, dtype: Any = np.uint8) -> np.ndarray:
        return integers((6, 5, channels), dtype)

    rgb, words = image(3), ["ein", "zwei", "", "vier ☃"][:count]
    return {
        **{name: integers((), name) for name in INTEGERS},
        "float32": np.float32(rng.normal()),
        "float64": float(np.float32(rng.normal())),
        "bool": bool(index % 2),
        "text": f"text {index} ü\n",
        "bytes": bytes(range(index, index + 5)) + b"\xff\x00",
        "scalar": -index,
        "label": index % 3,
        "unnamed": index % 9,
        "box": f.BBox(ymin=0.25, xmin=0.0, ymax=1.0, xmax=0.75),
        "fixed": integers((2, 3), np.int16),
        "open": rng.normal(size=(count, 3)).astype(np.float32),
        "open last": rng.integers(0, 9, (2, count)).astype(np.float64),
        "words": np.array(words, object),
        "zlib": rng.normal(size=(2, 2)),
        "packed": integers((count, 2), np.uint64),
        "packed bool": np.array([True, False, index % 2 == 0]),
        "dynamic": integers((count, 2, 1), np.int32),
        "maybe": None if index % 2 else index,
        "maybe float": None if index % 2 else np.ones(2, np.float32),
        "audio": integers((100 * count,), np.int16).astype(np.int64),
        "stereo": integers((7 * count, 2), np.int16),
        "image": io.BytesIO(encoded(rgb, ["PNG", "BMP", "PNG", "PNG"][count])),
        "gray": image(1),
        "rgba": image(4),
        "deep": image(3, np.uint16),
        "depth": image(1, np.uint16),
        "float image": rng.normal(size=(4, 3, 1)).astype(np.float32),
        "as gray": io.BytesIO(encoded(rgb if count % 2 else image(4), "PNG")),
        "as rgb": io.BytesIO(encoded(image(1)[..., 0] if count % 2 else image(4), "PNG")),
        "animation": io.BytesIO(animation(rng)),
        "segments": image(1) % 3,
        "video": [image(3) for _ in range(count + 1)],
        "nested": {"a/b": index, "inner": {"label": "yes" if count else "no"}},
        "list": list(range(count)),
        "pairs": [0.5, index],
        "texts": words,
        "labels": ["x", "y", "x"][:count],
        "boxes": [
            {"box": f.BBox(0.0, 0.0, 0.5, 1.0), "kind": word, "crowd": word == "zwei"}
            for word in words
        ],
        "images": [image(3) for _ in range(count)],
        "open images": [image(3) for _ in range(count)],
        "packed list": [rng.normal(size=2) for _ in range(count)],
        "dynamic list": [integers((2, 3), np.int8) for _ in range(count + 1)],
        "ragged": [list(range(length)) for length in range(count)],
        "ragged texts": [{"words": words[:length]} for length in range(count)],
        "ragged rows": [np.ones((length, 2), np.float32) * index for length in range(count)],
        "ragged images": [[image(1) for _ in range(length)] for length in range(count)],
        "ragged packed": [[integers((2,), np.int16)] * length for length in range(count)],
        "very ragged": [[[1, 2], [], [index]][:n] for n in range(count)],
        "translation": {"en": "one", "de": f"eins {index}"},
        "translations": {"en": "one", "de": ["eins", "ein"][: 1 + index % 2]},
        "steps": [
            {
                "reward": step / 2,
                "frame": image(3),
                "actions": list(range(step)),
                "note": f"step {step}",
                "state": rng.normal(size=2),
            }
            for step in range(count + 1)
        ],
        "numbers": list(range(count + 1)),
    }


class Everything(tfds.core.GeneratorBasedBuilder):
    """Every feature class, with empty, extreme and ragged values."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=f.FeaturesDict(FEATURES), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(0), "test": self._generate_examples(100)}

    def _generate_examples(self, first: int) -> Any:
        count = EXAMPLES if first == 0 else 5
        for index in range(first, first + count):
            yield index, example(index)


def plain(value: Any) -> Any:
    """As :mod:`dsmanager.loading` gives it: ragged as nested lists, datasets as lists."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, tf.RaggedTensor):
        return [plain(row if isinstance(row, tf.RaggedTensor) else row.numpy()) for row in value]
    if hasattr(value, "__iter__") and not isinstance(value, (np.ndarray, bytes)):
        return [plain(inner) for inner in value]
    return value


def main(folder: Path) -> None:
    expected: dict[str, Any] = {}
    for file_format in ("tfrecord", "array_record"):
        builder = Everything(data_dir=folder / file_format, file_format=file_format)
        config = tfds.download.DownloadConfig(num_shards=3)
        builder.download_and_prepare(download_config=config)
        if file_format == "array_record":
            continue
        opened = tfds.builder_from_directory(builder.data_dir)
        in_order = tfds.ReadConfig(interleave_cycle_length=1, add_tfds_id=False)
        read = opened.as_dataset(split="all", read_config=in_order)
        whole = {example["text"]: plain(example) for example in tfds.as_numpy(read)}
        text_only = tfds.decode.PartialDecoding({"text"})  # all others take seconds for each split
        for split in ("train", "test", "train[:30%]", "train[5:-3]+test", "test[1:2]", "all"):
            read = opened.as_dataset(split=split, read_config=in_order, decoders=text_only)
            expected[split] = [whole[example["text"]] for example in tfds.as_numpy(read)]
    (folder / "expected.pickle").write_bytes(pickle.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
