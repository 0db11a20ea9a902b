"""Tar shards for ``tf.data``. TensorFlow is imported inside functions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dsmanager.errors import DsmanagerError

__all__ = ["from_files", "from_memory", "from_records", "parse_default", "require"]


def require(what: str) -> None:
    """Raises DsmanagerError, with the command that installs it, where TensorFlow is missing."""
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise DsmanagerError(
            f"{what} needs TensorFlow, which is not installed",
            hint="use to_numpy(), or: pip install 'dsmanager[tf]'",
        ) from error


def from_records(
    records: Iterable[Any],
    record_to_pair: Callable[[Any], Any],
    output_types: Any,
    output_shapes: Any,
) -> Any:
    """Pairs of one's own making straight from the tars, which are read again for every epoch."""
    import tensorflow as tf

    types = output_types or (tf.float32, tf.int32)
    shapes = output_shapes or (tf.TensorShape(None), tf.TensorShape(None))
    return tf.data.Dataset.from_generator(
        lambda: map(record_to_pair, records), output_types=types, output_shapes=shapes
    )


def from_memory(
    encoded: Callable[[], Iterator[tuple[bytes, int]]],
    image_size: tuple[int, int],
    num_workers: int | None,
) -> Any:
    """Default pairs straight from the tars: ``encoded`` gives image and label for every epoch."""
    import tensorflow as tf

    signature = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
    read = tf.data.Dataset.from_generator(encoded, output_signature=signature)
    return read.map(
        lambda content, label: _pair(content, label, image_size),
        num_parallel_calls=num_workers or tf.data.AUTOTUNE,
    )


def from_files(paths: Sequence[str], parser: Callable[[Any], Any], num_workers: int | None) -> Any:
    import tensorflow as tf

    read = tf.data.TFRecordDataset(list(paths))
    return read.map(parser, num_parallel_calls=num_workers or tf.data.AUTOTUNE)


def parse_default(record: Any, image_size: tuple[int, int]) -> tuple[Any, Any]:
    """A serialised default record as (image, label)."""
    import tensorflow as tf

    described = {
        "image_raw": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    parsed = tf.io.parse_single_example(record, described)
    return _pair(parsed["image_raw"], parsed["label"], image_size)


def _pair(content: Any, label: Any, image_size: tuple[int, int]) -> tuple[Any, Any]:
    """One way for memory and disk, so that pixels agree: float32 from 0 to 1."""
    import tensorflow as tf

    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = tf.image.resize(image, image_size)
    return tf.ensure_shape(image, (*image_size, 3)), tf.cast(label, tf.int32)
