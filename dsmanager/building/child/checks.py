"""Proof of a build, on both sides of it: room for what is announced, and examples that decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.files import require_free_bytes
from dsmanager.loading.decoding import make_decoder
from dsmanager.loading.shards import open_shard
from dsmanager.progress import Progress

__all__ = ["decode_first", "require_room"]

_EXAMPLES = 2


def require_room(folder: Path, info: Any) -> None:
    """What the builder says of its own size must fit. Raises NoSpaceError."""
    announced = int(info.dataset_size or 0) + int(info.download_size or 0)
    if announced:
        require_free_bytes(folder, announced, f"{info.full_name}")


def decode_first(tree: Path, info: Any, progress: Progress, *, skip_damaged: bool = False) -> None:
    """Decodes the first examples of every split, as a load will; all but what needs TensorFlow.

    Raises VerificationError that names the split. With ``skip_damaged`` a shard that is damaged is
    left to whoever reads all of them.
    """
    try:
        decode = make_decoder(info.features)
    except DsmanagerError:
        return
    progress.start_phase("decode", item_unit="examples")
    for name, split in info.splits.items():
        path, count = Path(split.filepaths[0]), split.shard_lengths[0]
        shard = open_shard(tree / path.name, info.file_format.value, count)
        records = shard.records(0, min(count, _EXAMPLES))
        for record in _undamaged(records) if skip_damaged else records:
            try:
                decode(record)
            except Exception as error:
                if isinstance(error, DsmanagerError) and not isinstance(error, VerificationError):
                    return  # only TensorFlow can
                raise VerificationError(
                    f"split {name}: an example cannot be read back: {error}",
                    hint="see that what the builder yields is what its features say",
                ) from error
            progress.add_items()


def _undamaged(records: Iterable[bytes]) -> Iterator[bytes]:
    with suppress(VerificationError):
        yield from records
