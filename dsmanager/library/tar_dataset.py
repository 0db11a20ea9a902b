"""Tar shards as a dataset, without or with records on disk between: what tar2tf did, from anywhere.

    ds = dsmanager.TarDataset("s3://bucket/train-{0..3}.tar.gz")
    for record in ds: ...                    # {"__key__": "a/b", "jpg": b"…", "cls": b"7"}
    for image, label in ds.to_numpy(): ...
    ds.to_tf().shuffle(1024).batch(64)       # or to_tf(path="records/"): TFRecord files between
    ds.write("out/", name="photos")

By default a pair is an image of 224 by 224 by 3 float32 from 0 to 1 and a label, the same from
memory and from disk. TensorFlow and torch are imported where they are used, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dsmanager.errors import DsmanagerError
from dsmanager.library.converting import TarOptions, convert_tars
from dsmanager.progress import CancelToken, Progress
from dsmanager.settings import Settings

if TYPE_CHECKING:
    from dsmanager.ingest.sources import Source
    from dsmanager.ingest.tars.convert import TarsResult
    from dsmanager.ingest.tars.grouping import TarRecord

__all__ = ["IMAGE_SIZE", "AisDataset", "TarDataset", "default_record_parser"]

Record: TypeAlias = "dict[str, Any]"
Pair: TypeAlias = "Callable[[Record], tuple[Any, Any]]"

IMAGE_SIZE = (224, 224)
"""Height and width of the images of a default pair."""


class TarDataset:
    """The records of all tars that a template means, in order; may be iterated again and again.

    A record is a dict: ``__key__``, and the content of each file by its extension. Raises
    NotFoundError, naming it, for a tar that is not there; nothing is left out silently.
    """

    def __init__(
        self,
        template: str | Sequence[str],
        *,
        split_at: str | None = None,
        settings: Settings | None = None,
        ais: Mapping[str, Any] | None = None,
    ) -> None:
        """``split_at`` is ``first-dot`` (WebDataset's rule) or ``last-dot`` (tar2tf's); ``ais``
        says how AIStore is reached, for templates of ``ais://``.
        """
        self._templates = (template,) if isinstance(template, str) else tuple(template)
        self._split_at = split_at
        self._settings = settings
        self._ais = ais
        self._located: list[Source] | None = None

    def __iter__(self) -> Iterator[Record]:
        for record in self._records():
            yield {"__key__": record.key, **record.files}

    def to_numpy(self, record_to_pair: Pair | None = None) -> TarPairs:
        """Pairs of arrays: of ``record_to_pair``, else (image, label)."""
        return TarPairs(self, record_to_pair)

    def to_torch(self, record_to_pair: Pair | None = None) -> Any:
        """A ``torch.utils.data.IterableDataset`` of pairs; workers of a loader share the tars.

        An image of a default pair is a tensor of 3 by 224 by 224.
        """
        try:
            import torch.utils.data as torch_data
        except ImportError as error:
            raise _not_installed("to_torch() needs PyTorch", "torch") from error
        from dsmanager.library.tar_torch import torch_dataset

        pairs = self.to_numpy(record_to_pair)
        return torch_dataset(torch_data, pairs.part, as_tensors=record_to_pair is None)

    def to_tf(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        record_to_example: Callable[[Record], Any] | None = None,
        record_to_pair: Pair | None = None,
        output_types: Any = None,
        output_shapes: Any = None,
        record_parser: Callable[[Any], Any] | None = None,
        max_shard_size: str | int | None = None,
        num_workers: int | None = None,
        overwrite: bool = False,
    ) -> Any:
        """A ``tf.data.Dataset`` of pairs.

        Without ``path`` records go through memory: ``record_to_pair`` with ``output_types`` and
        ``output_shapes``, else the default pair. With ``path``, a folder, they become TFRecord
        files there first (unless the same are there already), and ``record_parser`` reads them,
        else :func:`default_record_parser`. ``record_to_example`` returns a ``tf.train.Example`` or
        a dict of values; then ``record_parser`` has to know what is in it.
        """
        from dsmanager.library import tar_tensorflow

        tar_tensorflow.require("to_tf()")
        if path is None and record_to_pair is not None:
            return tar_tensorflow.from_records(self, record_to_pair, output_types, output_shapes)
        if path is None:
            return tar_tensorflow.from_memory(
                lambda: ((content, label) for content, label, _ in self.default_pairs()),
                IMAGE_SIZE,
                num_workers,
            )
        done = self._write(
            path,
            "tfrecord",
            TarOptions(
                split_at=self._split_at,
                record=record_to_example,
                seeded=False,
                max_shard_size=max_shard_size,
            ),
            workers=num_workers,
            overwrite=overwrite,
        )
        parser = record_parser or default_record_parser
        return tar_tensorflow.from_files(shard_paths(done), parser, num_workers)

    def write(
        self,
        dest: str | os.PathLike[str],
        *,
        to: str = "tfrecord",
        name: str | None = None,
        fields: str | None = None,
        record_to_example: str | Callable[..., Any] | None = None,
        shards: int | None = None,
        max_shard_size: str | int | None = None,
        shuffle: int | None = None,
        skip_incomplete: bool = False,
        num_workers: int | None = None,
        cluster: str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> TarsResult:
        """The same as ``dsmanager convert``. ``record_to_example`` is ``module:function``, called
        with record and seed, or a function of one record.
        """
        options = TarOptions(
            split_at=self._split_at,
            fields=fields,
            record=record_to_example,
            seeded=isinstance(record_to_example, str),
            shards=shards,
            max_shard_size=max_shard_size,
            shuffle=shuffle,
            name=name,
            skip_incomplete=skip_incomplete,
        )
        return self._write(
            dest,
            to,
            options,
            workers=num_workers,
            cluster=cluster,
            overwrite=overwrite,
            progress=progress,
            cancel=cancel,
        )

    def _write(
        self,
        dest: str | os.PathLike[str],
        to: str,
        options: TarOptions,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        **places: Any,
    ) -> TarsResult:
        return convert_tars(
            self._settings or Settings.load(),
            self._templates,
            Path(dest),
            to=to,
            options=options,
            ais=self._ais,
            progress=progress or Progress(),
            cancel=cancel or CancelToken(),
            **places,
        )

    def default_pairs(self, *, part: int = 0, parts: int = 1) -> Iterator[tuple[bytes, int, str]]:
        """Encoded image, label and where it is from, of every ``parts``-th tar."""
        from dsmanager.ingest.tars.records import as_error, default_features

        for record in self._records(part=part, parts=parts):
            try:
                content, label, _ = default_features(record)
            except ValueError as error:
                raise as_error(f"record {record.key}", error) from error
            yield content, label, record.key

    def records(self, *, part: int = 0, parts: int = 1) -> Iterator[Record]:
        """As iterating does, of every ``parts``-th tar alone."""
        for record in self._records(part=part, parts=parts):
            yield {"__key__": record.key, **record.files}

    def _records(self, *, part: int = 0, parts: int = 1) -> Iterator[TarRecord]:
        from dsmanager.ingest.tars.grouping import SPLIT_RULES
        from dsmanager.ingest.tars.stream import LeftOut
        from dsmanager.ingest.tars.task import tar_records

        for source in self._sources()[part::parts]:
            yield from tar_records(
                source,
                split_at=self._split_at or SPLIT_RULES[0],
                left_out=LeftOut(),
                wanted=None,
                progress=Progress(),
                cancel=CancelToken(),
            )

    def _sources(self) -> list[Source]:
        from dsmanager.ingest.sources import locate
        from dsmanager.ingest.templates import expand

        if self._located is None:
            urls = [url for template in self._templates for url in expand(template)]
            settings = self._settings or Settings.load()
            self._located = locate(urls, settings, ais=self._ais, cancel=CancelToken())
        return self._located


class TarPairs:
    """Pairs of NumPy's arrays; may be iterated again."""

    def __init__(self, dataset: TarDataset, record_to_pair: Pair | None) -> None:
        self._dataset = dataset
        self._record_to_pair = record_to_pair

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self.part(0, 1)

    def part(self, part: int, parts: int) -> Iterator[tuple[Any, Any]]:
        """The pairs of every ``parts``-th tar."""
        import numpy as np

        from dsmanager.library.tar_images import unit_image

        if self._record_to_pair is not None:
            yield from map(self._record_to_pair, self._dataset.records(part=part, parts=parts))
            return
        for content, label, key in self._dataset.default_pairs(part=part, parts=parts):
            yield unit_image(content, IMAGE_SIZE, key), np.int32(label)


class AisDataset:
    """Tars in a bucket of an AIStore cluster, as tar2tf's class of that name has it.

    ``proxy_url`` is the gateway. Objects are read through AIStore's S3 API, or with ``via="sdk"``
    through its own SDK, the extra ``ais``.
    """

    def __init__(
        self, bucket: str, proxy_url: str, *, via: str = "s3", settings: Settings | None = None
    ) -> None:
        self._bucket = bucket
        self._ais = {"endpoint": proxy_url, "via": via}
        self._settings = settings

    def tars(self, template: str, *, split_at: str | None = "last-dot") -> TarDataset:
        """The dataset of a template of object names; names are split as tar2tf split them."""
        url = f"ais://{self._bucket}/{template}"
        return TarDataset(url, split_at=split_at, settings=self._settings, ais=self._ais)

    def load_from_tar(
        self,
        template: str,
        path: str | os.PathLike[str] | None = None,
        record_to_example: Callable[[Record], Any] | None = None,
        record_to_pair: Pair | None = None,
        output_types: Any = None,
        output_shapes: Any = None,
        max_shard_size: str | int | None = None,
        num_workers: int | None = None,
        **options: Any,
    ) -> Any:
        """A ``tf.data.Dataset``, through memory or with TFRecord files in the folder ``path``
        between; see :meth:`TarDataset.to_tf`.
        """
        return self.tars(template).to_tf(
            path,
            record_to_example=record_to_example,
            record_to_pair=record_to_pair,
            output_types=output_types,
            output_shapes=output_shapes,
            max_shard_size=max_shard_size,
            num_workers=num_workers,
            **options,
        )


def default_record_parser(record: Any) -> tuple[Any, Any]:
    """(image, label) of one serialised default record, in a graph of TensorFlow's."""
    from dsmanager.library import tar_tensorflow

    tar_tensorflow.require("default_record_parser()")
    return tar_tensorflow.parse_default(record, IMAGE_SIZE)


def shard_paths(done: TarsResult) -> list[str]:
    """The files of a conversion, in order."""
    return sorted(str(path) for path in done.path.glob(f"{done.name}.{done.file_format}-*"))


def _not_installed(what: str, extra: str) -> DsmanagerError:
    return DsmanagerError(
        f"{what}, which is not installed", hint=f"install it: pip install 'dsmanager[{extra}]'"
    )
