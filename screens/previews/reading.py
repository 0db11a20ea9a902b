"""Examples of a built version folder, one at a time, and label counts, without TFDS or TensorFlow.

Owns which record a split and a number mean. Every call may take as long as the disk takes: only
background threads call it. The folder is checked before anything in it is followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsmanager.built import BuiltDataset, Split
from dsmanager.errors import NotFoundError
from dsmanager.loading.preview import label_names, shown_value
from dsmanager.loading.safety import check_dataset_info, check_features, check_folder
from dsmanager.loading.schema import Leaf, leaves
from dsmanager.loading.shards import Shard, open_shard
from dsmanager.progress import CancelToken
from dsmanager.records.example import RawFeature, scan_example
from dsmanager.screens.previews.histogram import LabelCounts

__all__ = ["Example", "ExampleReader", "Value"]

_MOST_EXAMPLES = 200_000
_MOST_BYTES = 1 << 30
_PAUSE_EVERY = 32
_PAUSE_S = 0.001  # lets go of the interpreter, so that keys are answered while labels are counted


@dataclass(frozen=True, slots=True)
class Value:
    """One feature of one example: in a line, and as it is stored, for what can be drawn."""

    leaf: Leaf
    shown: str
    raw: RawFeature | None


@dataclass(frozen=True, slots=True)
class Example:
    """One example; ``index`` counts from 0 in the order of the shards."""

    split: str
    index: int
    total: int
    values: tuple[Value, ...]


class ExampleReader:
    """A built dataset, opened at the first call. Every method may raise VerificationError."""

    def __init__(self, built: BuiltDataset) -> None:
        self._built = built
        self._shards: dict[str, list[Shard]] = {}

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The features, once the folder has passed every check."""
        check_folder(self._built.path)
        check_dataset_info(self._built.dataset_info)
        check_features(self._built.features)
        return tuple(leaves(self._built.features))

    @property
    def splits(self) -> Mapping[str, int]:
        """Examples of each split."""
        return {name: split.examples for name, split in self._built.splits.items()}

    @property
    def label_leaves(self) -> tuple[Leaf, ...]:
        return tuple(leaf for leaf in self.leaves if leaf.kind == "ClassLabel" and leaf.rank < 2)

    @cached_property
    def _names(self) -> dict[Leaf, list[str]]:
        return {leaf: label_names(self._built.path, leaf) for leaf in self.label_leaves}

    def example(self, split_name: str, index: int) -> Example:
        """One example; ``index`` wraps around. Raises NotFoundError for an unknown split."""
        found = self.leaves
        split = self._split(split_name)
        if not split.examples:
            raise NotFoundError(f"the split {split_name} has no examples")
        index %= split.examples
        raw = scan_example(self._record(split, index))
        values = tuple(
            Value(leaf, shown_value(leaf, raw, self._names.get(leaf, ())), raw.get(leaf.key))
            for leaf in found
        )
        return Example(split_name, index, split.examples, values)

    def count_labels(self, counted: LabelCounts, leaf: Leaf, cancel: CancelToken) -> None:
        """Adds to ``counted`` until the split ends, a bound is met or somebody cancels."""
        split = self._split(counted.split)
        read_bytes = 0
        for shard, length in zip(self._opened(split), split.shard_lengths, strict=True):
            for record in shard.records(0, length):
                if counted.examples >= _MOST_EXAMPLES or read_bytes >= _MOST_BYTES:
                    counted.why_stopped = "enough for a picture; reading stopped there"
                    return
                if counted.examples % _PAUSE_EVERY == 0:
                    cancel.wait(_PAUSE_S)
                feature = scan_example(record).get(leaf.key)
                for value in feature.values() if feature is not None else ():
                    if isinstance(value, int):
                        counted.counts[value] = counted.counts.get(value, 0) + 1
                counted.examples += 1
                read_bytes += len(record)

    def labels(self, split: str, leaf: Leaf) -> LabelCounts:
        """Counters at zero."""
        return LabelCounts(leaf.key, split, self._split(split).examples, self._names[leaf])

    def _split(self, name: str) -> Split:
        try:
            return self._built.splits[name]
        except KeyError as error:
            raise NotFoundError(f"{self._built.ref} has no split '{name}'") from error

    def _record(self, split: Split, index: int) -> bytes:
        for shard, length in zip(self._opened(split), split.shard_lengths, strict=True):
            if index < length:
                # The first one needs no index of the file, which may take a while to make.
                return next(iter(shard.records(0, length))) if not index else shard.record(index)
            index -= length
        raise NotFoundError(f"the split {split.name} ends before that example")

    def _opened(self, split: Split) -> Sequence[Shard]:
        shards = self._shards.get(split.name)
        if shards is None:
            built = self._built
            names = split.shard_names(built.ref.name, built.file_format)
            shards = [
                open_shard(built.path / name, built.file_format, length)
                for name, length in zip(names, split.shard_lengths, strict=True)
            ]
            self._shards[split.name] = shards
        return shards
