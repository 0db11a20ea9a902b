"""Making one partition, in whatever process: what :mod:`dsmanager.parallel` calls for each.

The folder of a build's partitions holds, for each split, a plan (the description of each partition)
and, for each finished partition, a spill and its index. The index comes last and says that the
partition is finished. Everything gets its name by a rename, and names tell partitions of other
sources apart: the same one may be made twice at once.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from dsmanager.building.forks import guarded
from dsmanager.building.writing.filling import fill
from dsmanager.building.writing.spill import Spill
from dsmanager.errors import DsmanagerError
from dsmanager.files import temporary_path
from dsmanager.progress import CancelToken, Progress

__all__ = ["CALL", "make", "part_paths", "plan_path", "split_stem", "use_builder"]

CALL = "dsmanager.building.child.partition:make"

_builders: list[Any] = []


def use_builder(builder: Any) -> None:
    """Partitions are made with ``builder`` in this process and in its forks."""
    _builders[:] = [builder]


def make(setup: Any, task: Any, progress: Progress, cancel: CancelToken) -> None:
    """Makes one partition: its spill, and then the index that says that it is finished.

    ``setup`` is what :func:`~dsmanager.building.child.construction.rebuilt` needs, with the
    partitions' ``folder``; ``task`` is ``[split, number]``.
    """
    split, number = task
    folder = Path(setup["folder"])
    if not plan_path(folder, split).is_file():
        raise DsmanagerError(
            f"the folder of the partitions cannot be seen: {folder}",
            hint="use a --data-dir, or a --download-dir, on storage that all workers share",
        )
    if not _builders:
        from dsmanager.building.child.construction import rebuilt

        use_builder(rebuilt(setup, progress))
    builder = _builders[0]
    fingerprint, partition = _plan(plan_path(folder, split))[number]
    path, index = part_paths(folder, split, number, fingerprint)
    unfinished = temporary_path(path)
    spill = Spill(open(unfinished, "xb+", buffering=0), kept=True)  # noqa: SIM115
    try:
        cancel.check()
        examples = guarded(builder._generate_partition(split, partition))
        fill(
            spill,
            builder.info.features,
            split,
            examples,
            keep_order=False,
            beside=False,
            progress=progress,
        )
        unfinished.rename(path)
        spill.save(index, fingerprint)
    finally:
        spill.close()
        unfinished.unlink(missing_ok=True)


def split_stem(split: str) -> str:
    """What begins the names of a split's files. They say nothing that could be a shard's."""
    return hashlib.sha256(split.encode()).hexdigest()[:8]


def plan_path(folder: Path, split: str) -> Path:
    """Holds (fingerprint, partition) of each partition of a split, as JSON."""
    return folder / f"{split_stem(split)}.plan"


def part_paths(folder: Path, split: str, number: int, fingerprint: str) -> tuple[Path, Path]:
    """Spill and index."""
    stem = f"{split_stem(split)}.{number:06}.{fingerprint[:16]}"
    return folder / f"{stem}.spill", folder / f"{stem}.index"


@cache
def _plan(path: Path) -> Any:
    """Once a process, which works for one build."""
    return json.loads(path.read_bytes())
