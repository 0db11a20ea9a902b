"""The places inside TFDS where dsmanager puts its own parts, for the versions it knows.

With these a build takes the same path and gives the same bytes whether TensorFlow is installed or
not: records are written by our writer, images encoded and files read without TensorFlow. All of it
happens in the child process only.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dsmanager.building.forks import guarded
from dsmanager.building.writing.assembly import ShardWriters
from dsmanager.errors import DsmanagerError
from dsmanager.progress import Progress
from dsmanager.records.tfrecord import TFRecordWriter

__all__ = ["install", "use_writer"]

_SUPPORTED = ((4, 9, 10), (4, 10))


def install(progress: Progress) -> None:
    """Makes every replacement; ``progress`` is what the writer counts on.

    Raises DsmanagerError for a TFDS whose inside may look otherwise.
    """
    import tensorflow_datasets as tfds

    _check_version(tfds.__version__)
    from tensorflow_datasets.core import example_serializer, file_adapters, writer
    from tensorflow_datasets.core.features import image_feature
    from tensorflow_datasets.core.utils import lazy_imports_utils, tqdm_utils

    from dsmanager.building.child import tensorflow_parts
    from dsmanager.loading import without_tensorflow

    tqdm_utils.disable_progress_bar()
    without_tensorflow.install()
    tensorflow = lazy_imports_utils.tensorflow
    tensorflow._submodules.update(tensorflow_parts.stand_ins(tensorflow))
    image_feature._ImageEncoder._encode_image = _encode_image
    file_adapters.TfRecordFileAdapter.write_examples = classmethod(_write_tfrecord)
    example_serializer.ExampleSerializer.serialize_example = _serialize
    use_writer(progress, ShardWriters(workers=1, progress=progress))
    writer.ShardWriter.write = functools.partialmethod(_write_shard, progress=progress)


def use_writer(
    progress: Progress,
    shards: Any,
    partitions: Any = None,
    *,
    defer_files: bool = False,
    maker: Any = None,
) -> None:
    """Splits are written by our writer; ``partitions`` runs those that fall into parts.

    ``shards`` writes the shards. With ``defer_files`` files of images may be read then, and
    ``maker`` makes records of what is left of their examples.
    """
    from tensorflow_datasets.core import split_builder

    from dsmanager.building.writing.writer import write_examples

    split_builder.SplitBuilder._build_from_generator = functools.partialmethod(
        write_examples,
        shards=shards,
        partitions=partitions,
        defer_files=defer_files,
        maker=maker,
        progress=progress,
    )


def _check_version(version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    low, end = _SUPPORTED
    if not low <= numbers < end:
        raise DsmanagerError(
            f"tensorflow-datasets {version} is installed; this version of dsmanager builds with "
            "4.9.10 and later ones of 4.9",
            hint="pip install 'tensorflow-datasets>=4.9.10,<4.10'",
        )


def _serialize(self: Any, example: Any) -> bytes:
    """As TFDS does, with the features in an order that is always the same.

    Without that protobuf writes them in an order that changes from process to process, so that not
    even TFDS gives the same shards twice.
    """
    from dsmanager.building.writing.serializer import make_serializer

    if "serialize" not in self.__dict__:
        self.serialize = make_serializer(self)
    pieces, _ = self.serialize(example)
    return b"".join(pieces)


def _encode_image(self: Any, image: Any) -> Any:
    """In place of TensorFlow's encoders; TFDS's checks of shape and dtype stay."""
    from tensorflow_datasets.core.features import image_feature

    from dsmanager.building.writing.images import encode_jpeg, encode_png
    from dsmanager.building.writing.pending import encoded_later

    image_feature._validate_np_array(image, shape=self.shape, dtype=self.np_dtype)
    encoder = encode_jpeg if self.encoding_format == "jpeg" else encode_png
    return encoded_later(encoder, image)


def _write_tfrecord(_cls: Any, path: Any, iterator: Iterable[tuple[Any, bytes]]) -> None:
    with TFRecordWriter(Path(os.fspath(path))) as writer:
        writer.write_all(record for _, record in iterator)


def _write_shard(self: Any, examples: Iterable[Any], path: Any, *, progress: Progress) -> int:
    """One shard of a ShardBasedBuilder, in the order of its generator, one example in memory."""
    progress.start_phase("generate", item_unit="examples")
    count = 0

    def serialized() -> Iterable[tuple[Any, bytes]]:
        nonlocal count
        for key, example in guarded(examples):
            record = self._serialize_example(example)
            count += 1
            progress.add_items()
            progress.add_bytes(len(record))
            yield key, record

    self._example_writer.write(path=path, examples=serialized())
    return count
