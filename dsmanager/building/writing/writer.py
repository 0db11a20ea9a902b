"""What takes the place of TFDS's writing of a split: same order, shards and bytes.

Records go to a spill in the order they come; at the end they are copied in the order of TFDS's
hash of the keys into TFDS's shards. Images that are in files of their own are read only then
(``deferral.py``), and what is left of their examples goes to a process beside this one, which
makes records of it and spills them in its turn (``record_maker.py``). A builder that builds another
one while it generates does without for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

from tensorflow_datasets.core.utils import shard_utils

from dsmanager.building.forks import guarded
from dsmanager.building.writing.assembly import ShardWriters
from dsmanager.building.writing.deferral import Deferral
from dsmanager.building.writing.filling import fill
from dsmanager.building.writing.record_maker import RecordMaker
from dsmanager.building.writing.spill import Places, Spill
from dsmanager.errors import DsmanagerError
from dsmanager.files import temporary_path
from dsmanager.progress import Progress

__all__ = ["write_examples"]


def write_examples(
    self: Any,
    split_name: str,
    generator: Iterable[Any],
    filename_template: Any,
    disable_shuffling: bool,
    *,
    shards: ShardWriters,
    partitions: Any = None,
    defer_files: bool = False,
    maker: RecordMaker | None = None,
    progress: Progress,
) -> Any:
    """In place of ``SplitBuilder._build_from_generator``: the same, with encoding beside it.

    With ``partitions`` a split that falls into parts is made by several processes; the shards are
    written by those of ``shards``. With ``defer_files`` a file that an image is in may be read
    only then, and ``maker`` makes the records of such examples; raises ChangedFileError when a file
    does not hold what its example had from it.
    """
    from tensorflow_datasets.core import split_builder, splits

    if self._ignore_duplicates:
        raise DsmanagerError("leaving out duplicate keys is not offered")
    progress.start_phase("generate", item_unit="examples")
    may_be_parted = not disable_shuffling and not self._max_examples_per_split
    spills: Sequence[Spill] = ()
    own = temporary_path(Path(filename_template.data_dir) / "spill")
    made = temporary_path(own.with_name("made"))
    try:
        if may_be_parted and _is_parted(generator, partitions):
            spills = partitions.spills(generator)
        else:
            spills = [Spill(open(own, "xb+", buffering=0))]  # noqa: SIM115
            if maker is not None and not maker.begins(
                self._features.get_serialized_info(), split_name, disable_shuffling, made
            ):
                maker = None
            deferring = closing(Deferral(own.parent)) if defer_files else nullcontext()
            with deferring as deferral:
                fill(
                    spills[0],
                    self._features,
                    split_name,
                    guarded(islice(generator, self._max_examples_per_split)),
                    keep_order=disable_shuffling,
                    beside=True,
                    deferral=deferral,
                    maker=maker,
                    progress=progress,
                )
            if maker is not None:
                spills = [*spills, maker.finish()]
        places = Places(spills)
        shard_lengths = shards.write(
            places,
            filename_template,
            example_writer=self._example_writer,
            shard_config=self._shard_config or shard_utils.ShardConfig(),
        )
    except BaseException:
        if maker is not None:
            maker.close()  # nothing is made any more in a folder that goes
        raise
    finally:
        own.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
        Thread(target=_close, args=(spills,)).start()
    info = splits.SplitInfo(
        name=split_name,
        shard_lengths=shard_lengths,
        num_bytes=places.payload_bytes,
        filename_template=filename_template,
    )
    return split_builder._SplitInfoFuture(lambda: info)


def _is_parted(generator: Any, partitions: Any) -> bool:
    from dsmanager.builders.partitioned import PartitionedSplit

    return partitions is not None and isinstance(generator, PartitionedSplit)


def _close(spills: Iterable[Spill]) -> None:
    """The system takes a while to free a large file: nobody waits for it."""
    for spill in spills:
        spill.close()
