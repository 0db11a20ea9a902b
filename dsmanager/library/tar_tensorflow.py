"""Tar shards for ``tf.data``. TensorFlow is imported inside functions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError

if TYPE_CHECKING:
    from dsmanager.library.tar_dataset import TarDataset

__all__ = ["from_files", "from_memory", "parse_default", "require"]


def require(what: str) -> None:
    """Raises DsmanagerError, with the command that installs it, where TensorFlow is missing."""
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise DsmanagerError(
            f"{what} needs TensorFlow, which is not installed",
            hint="use to_numpy(), or: pip install 'dsmanager[tf]'",
        ) from error


def from_memory(
    dataset: TarDataset,
    record_to_pair: Callable[[Any], Any] | None,
    output_types: Any,
    output_shapes: Any,
    num_workers: int | None,
) -> Any:
    """Pairs straight from the tars, which are read again for every epoch."""
    import tensorflow as tf

    if record_to_pair is not None:
        types = output_types or (tf.float32, tf.int32)
        shapes = output_shapes or (tf.TensorShape(None), tf.TensorShape(None))

        def pairs() -> Iterator[Any]:
            return (record_to_pair(record) for record in dataset)

        return tf.data.Dataset.from_generator(pairs, output_types=types, output_shapes=shapes)

    def encoded() -> Iterator[tuple[bytes, int]]:
        return ((content, label) for content, label, _ in dataset.default_pairs())

    signature = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
    read = tf.data.Dataset.from_generator(encoded, output_signature=signature)
    return read.map(_pair, num_parallel_calls=num_workers or tf.data.AUTOTUNE)


def from_files(paths: Sequence[str], parser: Callable[[Any], Any], num_workers: int | None) -> Any:
    import tensorflow as tf

    read = tf.data.TFRecordDataset(list(paths))
    return read.map(parser, num_parallel_calls=num_workers or tf.data.AUTOTUNE)


def parse_default(record: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    described = {
        "image_raw": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    parsed = tf.io.parse_single_example(record, described)
    return _pair(parsed["image_raw"], parsed["label"])


def _pair(content: Any, label: Any) -> tuple[Any, Any]:
    """One way for memory and disk, so that pixels agree: float32 from 0 to 1."""
    import tensorflow as tf

    from dsmanager.library.tar_dataset import IMAGE_SIZE

    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = tf.image.resize(image, IMAGE_SIZE)
    return tf.ensure_shape(image, (*IMAGE_SIZE, 3)), tf.cast(label, tf.int32)
