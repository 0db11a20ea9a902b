"""The base of builders whose source falls into parts that can be read apart from each other.

A partition is described by plain JSON values (paths, names, ranges). It gives the same examples
wherever and however often it runs: on this machine, in another process, once more after a crash.
TFDS itself can build such a dataset, too, and runs one partition after the other.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

__all__ = ["PartitionedBuilder", "PartitionedSplit"]


class PartitionedBuilder(  # type: ignore[call-arg]  # TFDS has no types
    tfds.core.GeneratorBasedBuilder,  # type: ignore[misc]
    skip_registration=True,
):
    """Instead of generators, a builder says which partitions there are and how one is read."""

    @abc.abstractmethod
    def _partitions(self, dl_manager: Any) -> Mapping[str, Sequence[Any]]:
        """The partitions of each split, as JSON values that name all that they need.

        A path in them stands for the file as it is: when the file changes, so does the partition.
        """

    @abc.abstractmethod
    def _generate_partition(self, split: str, partition: Any) -> Iterator[tuple[Any, Any]]:
        """Yields (key, example) of one partition, from its description alone.

        Keys are different within the whole split. Nothing that :meth:`_partitions` left on ``self``
        is here: this may be another process.
        """

    def _split_generators(self, dl_manager: Any) -> dict[str, PartitionedSplit]:
        return {
            split: PartitionedSplit(self, split, tuple(partitions))
            for split, partitions in self._partitions(dl_manager).items()
        }

    def _generate_examples(self) -> Iterator[tuple[Any, Any]]:
        raise NotImplementedError("examples come from _generate_partition")


class PartitionedSplit:
    """One split; iterating gives the examples of all its partitions, one after the other."""

    def __init__(
        self, builder: PartitionedBuilder, split: str, partitions: tuple[Any, ...]
    ) -> None:
        self.builder = builder
        self.split = split
        self.partitions = partitions

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for partition in self.partitions:
            yield from self.builder._generate_partition(self.split, partition)
