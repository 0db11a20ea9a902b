"""The conversion of tars as a whole: look, make the parts, lay out the shards, show them at once.

Owns the working folder beside the destination: it is hidden, a killed run leaves it, and the next
one takes from it what was made from the same. Nothing is visible in the destination before all of
it is there. Two conversions into one destination exclude each other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager import files
from dsmanager.cpus import available_cpus
from dsmanager.errors import (
    AlreadyExistsError,
    DsmanagerError,
    UsageError,
    VerificationError,
    os_errors,
)
from dsmanager.ingest import LONG_WORK_BYTES
from dsmanager.ingest.sources import Source, locate
from dsmanager.ingest.tars import metadata
from dsmanager.ingest.tars.parts import Part, PartFiles, find_twins, read_index
from dsmanager.ingest.tars.request import TarsRequest
from dsmanager.ingest.tars.shards import plan_shards, shard_name
from dsmanager.ingest.tars.specs import Specs, merged
from dsmanager.locks import locked
from dsmanager.parallel import run_tasks
from dsmanager.parallel.cluster import require_cluster
from dsmanager.progress import CancelToken, Progress
from dsmanager.settings import Settings
from dsmanager.text import plain

__all__ = ["TarsResult", "convert_tars"]

_TOKEN = hashlib.sha256(b"convert").hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class TarsResult:
    """What is in the destination now. ``was_converted``: it was there, and nothing was done."""

    path: Path
    name: str
    file_format: str
    sources: int
    records: int
    shards: int
    size_bytes: int
    notes: tuple[str, ...] = ()
    """What was left out, and what is odd."""
    reused: int = 0
    """Parts that an interrupted run had finished."""
    was_converted: bool = False


def convert_tars(
    request: TarsRequest,
    settings: Settings,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    overwrite: bool = False,
    ais: Mapping[str, Any] | None = None,
    lock: Path | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> TarsResult:
    """Converts every tar of ``request`` into shards in ``request.dest``.

    Without ``workers`` there are as many as cores; on a ``cluster``, as many as tars. ``lock`` is
    held meanwhile, where the destination has one of its own.

    Raises NotFoundError that names sources which are not there, AlreadyExistsError when the
    destination holds something else, VerificationError for a tar or record that is damaged,
    UsageError for what cannot be done.
    """
    if cluster is not None:
        require_cluster(cluster)
    progress.start_phase("look")
    sources = locate(request.urls(), settings, ais=ais, cancel=cancel)
    dest = request.dest
    _require_apart(dest, sources)
    with (
        os_errors(f"write {dest.name}"),
        locked(
            lock or dest.with_name(f".{dest.name}.lock"),
            purpose=f"convert to {dest.name}",
            progress=progress,
            cancel=cancel,
        ),
    ):
        fingerprint = request.fingerprint(sources)
        if (done := _finished(request, fingerprint)) is not None:
            files.remove_leftovers(dest)
            return done
        _require_room(dest, overwrite)
        run = _Run(request, sources, workers, cluster, progress, cancel)
        return run.run(fingerprint)


def _finished(request: TarsRequest, fingerprint: str) -> TarsResult | None:
    """The result of the same conversion, when it is there and its files are as they were."""
    index = metadata.read_index(request.dest)
    if index is None or index["fingerprint"] != fingerprint:
        return None
    sizes = {shard["file"]: shard["bytes"] for shard in index["shards"]}
    for name, size_bytes in sizes.items():
        with suppress(OSError):
            if (request.dest / name).stat().st_size == size_bytes:
                continue
        return None
    return TarsResult(
        path=request.dest,
        name=request.stem,
        file_format=request.layout.file_format,
        sources=len(index["sources"]),
        records=index["records"],
        shards=len(sizes),
        size_bytes=sum(sizes.values()),
        was_converted=True,
    )


def _require_apart(dest: Path, sources: Sequence[Source]) -> None:
    """Raises UsageError where a source lies in what would be replaced."""
    for source in sources:
        if "://" not in source.url and Path(os.path.realpath(source.url)).is_relative_to(dest):
            raise UsageError(
                f"{plain(str(dest))} is where {plain(source.name)} is read from",
                hint="name another folder for the shards: dsmanager convert SRC OUT",
            )


def _require_room(dest: Path, overwrite: bool) -> None:
    if not os.path.lexists(dest):
        return
    if not dest.is_dir():
        raise UsageError(
            f"{plain(str(dest))} is no folder", hint="use another: dsmanager convert SRC OUT"
        )
    if not overwrite and any(dest.iterdir()):
        raise AlreadyExistsError(
            f"{plain(str(dest))} holds something already",
            hint="replace all of it: dsmanager convert SRC OUT --overwrite",
        )


class _Run:
    """One conversion under its lock."""

    def __init__(
        self,
        request: TarsRequest,
        sources: Sequence[Source],
        workers: int | None,
        cluster: str | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._request, self._sources = request, sources
        self._workers, self._cluster = workers, cluster
        self._progress, self._cancel = progress, cancel
        dest = request.dest
        self._work = dest.with_name(f".{dest.name}.{_TOKEN}.tmp")
        self._tree = self._work / "tree"
        self._moves = self._work / "moves.json"
        self._files = [PartFiles(self._work, number) for number in range(len(sources))]
        self._notes: list[str] = []

    def run(self, fingerprint: str) -> TarsResult:
        self._tree.mkdir(parents=True, exist_ok=True)
        self._take_back()
        try:
            parts, reused = self._parts()
            specs = self._specs(parts)
            self._note(parts)
            shards = self._shards(parts, fingerprint)
            metadata.write(
                self._tree, self._request, fingerprint, specs, shards, self._named(parts)
            )
            self._cancel.check()
            files.move_tree_into_place(self._tree, self._request.dest)
        finally:
            if not any(self._work.glob("*.json")):  # nothing in it is of use to the next run
                files.remove_path(self._work)
        files.remove_path(self._work)
        files.remove_leftovers(self._request.dest)
        return TarsResult(
            path=self._request.dest,
            name=self._request.stem,
            file_format=self._request.layout.file_format,
            sources=len(self._sources),
            records=sum(part.records for part in parts),
            shards=len(shards),
            size_bytes=sum(shard["bytes"] for shard in shards),
            notes=tuple(self._notes),
            reused=reused,
        )

    # --- parts -------------------------------------------------------------------------------

    def _parts(self) -> tuple[list[Part], int]:
        """Every part, those that were finished before first; and how many those were."""
        prints = [self._request.part_fingerprint(source) for source in self._sources]
        self._progress.start_phase("check", item_unit="records")
        made = {
            each.number: part
            for each, fingerprint in zip(self._files, prints, strict=True)
            if (part := Part.read(each, fingerprint))
            and part.is_whole(each, self._progress, self._cancel)
        }
        waiting = [each.number for each in self._files if each.number not in made]
        self._remove_strangers()
        sizes = [source.size_bytes or 0 for source in self._sources]
        needed = sum(sizes[number] for number in waiting)
        if not self._request.layout.keeps_parts:
            needed += sum(sizes)
        files.require_free_bytes(self._request.dest.parent, needed, self._request.dest.name)
        total = sum(sizes) if all(source.size_bytes for source in self._sources) else None
        self._progress.start_phase("convert", bytes_total=total, item_unit="records")
        for number, part in made.items():
            self._progress.add_found_bytes(sizes[number])
            self._progress.add_items(part.records)
        tasks = [
            {
                "number": number,
                "source": self._sources[number].to_json(),
                "fingerprint": prints[number],
            }
            for number in waiting
        ]
        self._all("dsmanager.ingest.tars.task:convert_tar", self._setup, tasks)
        for number in waiting:
            part = Part.read(self._files[number], prints[number])
            if part is None or not part.has_data(self._files[number].data):
                raise DsmanagerError(
                    f"the part of {self._sources[number].shown} is not in {self._work}",
                    hint="OUT has to lie where all workers see it: dsmanager convert SRC OUT",
                )
            made[number] = part
        reused = len(self._files) - len(waiting)
        if reused:
            self._notes.append(f"{reused:,} of {len(self._files):,} tars were converted before")
        return [made[each.number] for each in self._files], reused

    @property
    def _setup(self) -> dict[str, Any]:
        return {
            "folder": str(self._work),
            "record": dict(self._request.record),
            "split_at": self._request.split_at,
            "skip_incomplete": self._request.skip_incomplete,
            "reads_remotes": any("://" in source.url for source in self._sources),
        }

    def _all(self, call: str, setup: Mapping[str, Any], tasks: Sequence[Any]) -> None:
        running = run_tasks(
            call,
            setup,
            tasks,
            workers=self._workers or (len(tasks) if self._cluster else available_cpus()),
            cluster=self._cluster,
            is_long=sum(each.size_bytes or 0 for each in self._sources) > LONG_WORK_BYTES,
            label=lambda task: task["source"]["url"] if "source" in task else task["file"],
            progress=self._progress,
            cancel=self._cancel,
        )
        with files.flushing(self._work, self._progress), running as results:
            for _ in results:
                self._cancel.check()

    def _remove_strangers(self) -> None:
        """Parts of other requests, beyond the sources that there are now."""
        known = {path.name for each in self._files for path in _paths(each)}
        for path in self._work.iterdir():
            if path.name not in known and path != self._tree:
                files.remove_path(path)

    def _specs(self, parts: Sequence[Part]) -> Specs:
        """What the features of all parts are. Raises VerificationError where they disagree."""
        specs: Specs | None = None
        first: Source | None = None
        for source, part in zip(self._sources, parts, strict=True):
            if not part.records:
                continue
            try:
                specs = part.specs if specs is None else merged(specs, part.specs)
            except ValueError as error:
                assert first is not None
                raise VerificationError(
                    f"{source.shown} differs from {first.shown}: {error}",
                    hint="say what a record is: dsmanager convert SRC OUT --fields jpg,cls",
                ) from error
            first = first or source
        if specs is None:
            raise VerificationError(
                f"no records in {self._sources[0].shown}"
                + (f" and {len(parts) - 1:,} more" if len(parts) > 1 else ""),
                hint="look which files there are: tar tvf TAR",
            )
        return specs

    def _note(self, parts: Sequence[Part]) -> None:
        """Says what was left out: of each kind how many, and the first."""
        kinds: dict[str, tuple[int, str]] = {}
        for source, part in zip(self._sources, parts, strict=True):
            if not part.records:
                self._notes.append(f"{source.shown} holds no records")
            for kind, (count, name) in part.left_out.items():
                before, first = kinds.get(kind, (0, f"{name} in {source.name}"))
                kinds[kind] = (before + count, first)
        for kind, (count, first) in sorted(kinds.items()):
            self._notes.append(f"left out: {count:,} {kind}, the first {plain(first)}")
        hashes = [
            read_index(each, part.records)[1] for each, part in zip(self._files, parts, strict=True)
        ]
        if twin := find_twins(self._files, hashes):
            key, one, other = twin
            one_name, other_name = self._sources[one].name, self._sources[other].name
            self._notes.append(
                f"some keys are in several tars, such as {plain(key)} in {plain(one_name)} and "
                f"{plain(other_name)}: all of them were kept"
            )

    def _named(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        return [
            {"name": source.name, "bytes": source.size_bytes, "records": part.records}
            for source, part in zip(self._sources, parts, strict=True)
        ]

    # --- shards ------------------------------------------------------------------------------

    def _shards(self, parts: Sequence[Part], fingerprint: str) -> list[dict[str, Any]]:
        """Puts every shard into the tree; file name, records, bytes and payload bytes of each."""
        if self._request.layout.keeps_parts:
            return self._renamed(parts)
        layout = self._request.layout
        plan = self._work / "plan.npy"
        bounds, payloads = plan_shards(layout, self._files, parts, plan)
        names = [self._name(index, len(bounds)) for index in range(len(bounds))]
        self._progress.start_phase(
            "write",
            bytes_total=sum(part.file_bytes for part in parts),
            items_total=sum(part.records for part in parts),
            item_unit="records",
        )
        done = self._written(fingerprint, names)
        tasks = [
            {"file": name, "bounds": list(bound)}
            for name, bound in zip(names, bounds, strict=True)
            if name not in done
        ]
        setup = {
            "folder": str(self._work),
            "tree": str(self._tree),
            "plan": str(plan),
            "format": layout.file_format,
        }
        self._all("dsmanager.ingest.tars.shards:write_shard", setup, tasks)
        return [
            {
                "file": name,
                "records": stop - start,
                "bytes": (self._tree / name).stat().st_size,
                "payload_bytes": payload,
            }
            for name, (start, stop), payload in zip(names, bounds, payloads, strict=True)
        ]

    def _written(self, fingerprint: str, names: Sequence[str]) -> set[str]:
        """Shards that an interrupted run of the same conversion had finished."""
        mark = self._work / "shards.json"
        same = False
        with suppress(OSError, ValueError):
            same = json.loads(mark.read_bytes()) == fingerprint
        for path in self._tree.iterdir():
            if not same or path.name not in names:
                files.remove_path(path)
        files.write_json(mark, fingerprint)
        return {path.name for path in self._tree.iterdir()}

    def _renamed(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        """The parts themselves. What goes where is written down first: a killed run can go on."""
        kept = [each for each, part in zip(self._files, parts, strict=True) if part.records]
        names = [self._name(index, len(kept)) for index in range(len(kept))]
        for path in self._tree.iterdir():
            files.remove_path(path)
        moves = {name: each.number for name, each in zip(names, kept, strict=True)}
        files.write_json(self._moves, moves)
        for name, each in zip(names, kept, strict=True):
            os.rename(each.data, self._tree / name)
        return [
            {
                "file": name,
                "records": parts[number].records,
                "bytes": parts[number].file_bytes,
                "payload_bytes": parts[number].payload_bytes,
            }
            for name, number in moves.items()
        ]

    def _take_back(self) -> None:
        """Makes parts again of shards that a killed run had renamed."""
        with suppress(FileNotFoundError, ValueError):
            for name, number in json.loads(self._moves.read_bytes()).items():
                with suppress(FileNotFoundError):
                    os.rename(self._tree / name, PartFiles(self._work, number).data)
            self._moves.unlink()

    def _name(self, index: int, total: int) -> str:
        return shard_name(self._request.stem, self._request.layout.file_format, index, total)


def _paths(part: PartFiles) -> tuple[Path, ...]:
    return part.data, part.keys, part.index, part.facts
