"""Splits as NumPy values, without TensorFlow: iterated, indexed, sliced, read in batches, pickled.

Owns which records a split means, and their order: as they were written, shard after shard, unless
they were selected by index. Memory holds one record at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from dsmanager.errors import DsmanagerError, NotFoundError, UsageError, VerificationError
from dsmanager.loading.decoding import Decoder, make_decoder
from dsmanager.loading.shards import ShardsElsewhere, open_shard
from dsmanager.loading.split_records import Part, PositionError, SplitRecords
from dsmanager.text import plain

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["NumpySplit", "numpy_split", "require_split"]

_Positions: TypeAlias = "range | np.ndarray[Any, np.dtype[np.int64]]"


class NumpySplit(Sequence[Any]):
    """The examples of one split, decoded when asked for.

    Re-iterable; takes integers (negative ones too) and slices, which are splits again and cost
    nothing. Values are as ``tfds.as_numpy(builder.as_dataset(split))`` gives them. Safe in several
    threads and across forks; pickles as paths and decoders, without data and without TFDS.
    Reading raises VerificationError, which names split, shard and record, at a damaged record.
    """

    def __init__(
        self, dataset: str, split: str, records: SplitRecords, decoder: Decoder, at: _Positions
    ) -> None:
        self.dataset = dataset
        self.split = split
        self._records = records
        self._decoder = decoder
        self._at = at

    @property
    def name(self) -> str:
        """The split string; a selection of its examples adds a digest of their positions."""
        if isinstance(self._at, range) and self._at == range(len(self._records)):
            return self.split
        positions = str(self._at).encode() if isinstance(self._at, range) else self._at.tobytes()
        return f"{self.split}#{hashlib.blake2b(positions, digest_size=4).hexdigest()}"

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> NumpySplit: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            at = self._at[index]
            return NumpySplit(self.dataset, self.split, self._records, self._decoder, at)
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index:,} of {len(self):,}")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several examples at once, in the order asked for, read in the order of the files."""
        raw = self.read(indices)
        return [self.decode(each, index) for each, index in zip(raw, indices, strict=True)]

    def read(self, indices: Sequence[int]) -> list[Any]:
        """The stored bytes of these examples, checked. Raises VerificationError."""
        positions = [int(self._at[index]) for index in indices]
        try:
            return self._records.read(positions)
        except PositionError as error:
            raise self._error(error.reason, indices[positions.index(error.position)]) from error

    def prefetch(self, indices: Sequence[int]) -> None:
        """Begins to fetch these examples, where they are streamed, and returns at once.

        Loaders call it for the batches ahead. Errors are left to :meth:`read`.
        """
        self._records.prefetch([int(self._at[index]) for index in indices])

    def decode(self, raw: Any, index: int) -> Any:
        """One example of its stored bytes. Raises VerificationError."""
        try:
            return self._decoder(raw)
        except VerificationError as error:
            raise self._error(error, index) from error

    def __iter__(self) -> Iterator[Any]:
        return map(self.decode, self._each(), range(len(self)))

    def __repr__(self) -> str:
        return f"NumpySplit({self.dataset!r}, {self.name!r}, {len(self):,} examples)"

    def _each(self) -> Iterator[Any]:
        at = self._at
        if isinstance(at, range) and at.step == 1:
            try:
                yield from self._records.between(at.start, at.stop)
            except PositionError as error:
                raise self._error(error.reason, error.position - at.start) from error
        else:
            for index in range(len(at)):
                yield self.read([index])[0]

    def _error(self, reason: VerificationError, index: int) -> VerificationError:
        place = self._records.place(int(self._at[index]))
        where = f"{self.dataset}, split '{self.split}', example {int(index):,} ({place})"
        return VerificationError(
            f"{where}: {reason.message}", hint=f"check it: dsmanager verify {self.dataset}"
        )


def numpy_split(
    info: tfds.core.DatasetInfo,
    split: str,
    *,
    dataset: str,
    state_dir: Path | None = None,
    elsewhere: ShardsElsewhere | None = None,
) -> NumpySplit:
    """One split, or part of one: ``train``, ``train[:10%]``, ``train[5:20]+test``, ``all``.

    ``dataset`` is its full ref; ``state_dir`` keeps the indexes of its shards, which may be
    ``elsewhere``. Raises NotFoundError for an unknown split, UsageError for a string that TFDS
    cannot read and for one that selects nothing, DsmanagerError for features that need TensorFlow.
    """
    file_format = info.file_format.value if info.file_format else "tfrecord"
    opened = elsewhere.open if elsewhere else partial(open_shard, state_dir=state_dir)
    parts = []
    for instruction in require_split(info, split):
        path = Path(instruction.filename)
        shard = opened(path, file_format, instruction.examples_in_shard)
        parts.append(Part(shard, instruction.skip, instruction.skip + instruction.take))
    records = SplitRecords(parts)
    decoder = make_decoder(info.features)
    return NumpySplit(dataset, split, records, decoder, range(len(records)))


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
