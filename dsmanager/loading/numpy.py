"""Splits as NumPy values, without TensorFlow: iterated, indexed, sliced, pickled.

Owns which records a split string means, and their order: as they were written, shard after shard.
Memory holds one record at a time, and for random access 8 bytes a record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dsmanager.errors import DsmanagerError, NotFoundError, UsageError, VerificationError
from dsmanager.loading.decoding import Decoder, make_decoder
from dsmanager.loading.shards import Shard, open_shard
from dsmanager.text import plain

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["NumpySplit", "numpy_split", "require_split"]


@dataclass(frozen=True, slots=True)
class _Part:
    """The records ``start`` up to ``stop`` of one shard."""

    shard: Shard
    start: int
    stop: int


class NumpySplit(Sequence[Any]):
    """The examples of one split, decoded when asked for.

    Re-iterable; takes integers (negative ones too) and slices, which are splits again and cost
    nothing. Values are as ``tfds.as_numpy(builder.as_dataset(split))`` gives them. Safe in several
    threads and across forks; pickles as paths and decoders, without data and without TFDS.
    Reading raises VerificationError at the first damaged record.
    """

    def __init__(self, name: str, parts: Sequence[_Part], decoder: Decoder, at: range) -> None:
        self.name = name
        self._parts = tuple(parts)
        self._ends = tuple(accumulate(part.stop - part.start for part in parts))
        self._decoder = decoder
        self._at = at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> NumpySplit: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return NumpySplit(self.name, self._parts, self._decoder, self._at[index])
        return self._decoded(self._record(self._at[index]))

    def __iter__(self) -> Iterator[Any]:
        return map(self._decoded, self._records())

    def __repr__(self) -> str:
        return f"NumpySplit({self.name!r}, {len(self):,} examples)"

    def _records(self) -> Iterator[bytes]:
        if self._at.step != 1:
            yield from map(self._record, self._at)
            return
        begin = 0
        for part, end in zip(self._parts, self._ends, strict=True):
            first, last = max(self._at.start, begin), min(self._at.stop, end)
            if first < last:
                offset = part.start - begin
                yield from part.shard.records(first + offset, last + offset)
            begin = end

    def _record(self, position: int) -> bytes:
        number = bisect_right(self._ends, position)
        part = self._parts[number]
        return part.shard.record(position - self._ends[number] + part.stop)

    def _decoded(self, record: bytes) -> Any:
        try:
            return self._decoder(record)
        except VerificationError as error:
            raise VerificationError(
                f"{self.name}: {error.message}", hint=error.hint or "check it: dsmanager verify"
            ) from error


def numpy_split(info: tfds.core.DatasetInfo, split: str) -> NumpySplit:
    """One split, or part of one: ``train``, ``train[:10%]``, ``train[5:20]+test``, ``all``.

    Raises NotFoundError for an unknown split, UsageError for a string that TFDS cannot read and
    for one that selects nothing, DsmanagerError for features that need TensorFlow.
    """
    file_format = info.file_format.value if info.file_format else "tfrecord"
    parts = []
    for instruction in require_split(info, split):
        path = Path(instruction.filename)
        shard = open_shard(path, file_format, instruction.examples_in_shard)
        parts.append(_Part(shard, instruction.skip, instruction.skip + instruction.take))
    count = sum(part.stop - part.start for part in parts)
    return NumpySplit(split, parts, make_decoder(info.features), range(count))


def require_split(info: tfds.core.DatasetInfo, split: str) -> list[Any]:
    """TFDS's file instructions for a split string. Raises as :func:`numpy_split` does."""
    names = ", ".join(info.splits)
    hint = f"it has the splits {names}; see: dsmanager info {info.name}"
    try:
        instructions = info.splits[split].file_instructions
    except (KeyError, ValueError, NotImplementedError, AssertionError) as error:
        reason = plain(str(error).strip().splitlines()[-1]) if str(error).strip() else ""
        shown = plain(split)[:200]
        if "Unknown split" in str(error):
            raise NotFoundError(f"{info.full_name} has no split '{shown}'", hint=hint) from error
        message = f"'{shown}' is no split of {info.full_name}: {reason}"
        raise UsageError(message, hint=hint) from error
    if any(instruction.take < 0 for instruction in instructions):
        raise UsageError(f"the split '{plain(split)[:200]}' ends before it begins", hint=hint)
    if not sum(instruction.take for instruction in instructions):
        raise UsageError(f"the split '{plain(split)[:200]}' selects no examples", hint=hint)
    return [_complete(instruction) for instruction in instructions]


def _complete(instruction: Any) -> Any:
    if instruction.take < 0 or instruction.examples_in_shard <= 0:
        raise DsmanagerError("TFDS gave an instruction without a number of examples")
    return instruction
