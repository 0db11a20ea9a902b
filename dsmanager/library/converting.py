"""Converting raw sources: what the verb and the API ask for, as the services take it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.errors import OTHER_FOLDER, DsmanagerError, UsageError
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.ingest.tars.convert import TarsResult
    from dsmanager.settings import Settings

__all__ = ["TAR_FORMATS", "TarOptions", "convert_tars", "hinting_at_dest"]

TAR_FORMATS = ("tfrecord", "array_record")


@dataclass(frozen=True, slots=True)
class TarOptions:
    """What can be said of a conversion of tars; see ``dsmanager convert --help``."""

    split_at: str | None = None
    """``first-dot``, WebDataset's rule, unless ``last-dot``, tar2tf's."""
    fields: str | None = None
    record: str | Callable[..., Any] | None = None
    """``module:function`` of one's own, which takes a record and a seed; or a function object."""
    seeded: bool = True
    """Whether a function object takes the seed, too."""
    shards: int | None = None
    max_shard_size: str | int | None = None
    shuffle: int | None = None
    name: str | None = None
    skip_incomplete: bool = False


def convert_tars(
    settings: Settings,
    templates: Sequence[str],
    dest: Path,
    *,
    to: str = TAR_FORMATS[0],
    options: TarOptions,
    workers: int | None = None,
    cluster: str | None = None,
    overwrite: bool = False,
    ais: Mapping[str, Any] | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> TarsResult:
    """Converts the tars that ``templates`` mean into the folder ``dest``.

    A function object that no other process can import is called in this one, whatever ``workers``
    says. Raises UsageError for what cannot be asked for, else as
    :func:`dsmanager.ingest.tars.convert.convert_tars`.
    """
    from dsmanager.ingest.tars import convert
    from dsmanager.ingest.tars.functions import call_request
    from dsmanager.ingest.tars.grouping import SPLIT_RULES
    from dsmanager.ingest.tars.records import record_request
    from dsmanager.ingest.tars.request import TarsRequest, size_of
    from dsmanager.ingest.tars.shards import Layout

    if callable(options.record):
        record = call_request(options.record, seeded=options.seeded)
        if cluster is not None and record["kind"] == "call":
            raise UsageError(
                "a function that no other process can import cannot travel to a cluster",
                hint="put it in a module that the workers have: --record module:function",
            )
    else:
        record = record_request(options.fields, options.record, str(settings.working_dir))
    max_size = options.max_shard_size
    layout = Layout(
        to,
        options.shards,
        size_of(str(max_size)) if max_size is not None else None,
        options.shuffle,
    )
    dest = Path(os.path.realpath(settings.working_dir / os.path.expanduser(dest)))
    request = TarsRequest(
        templates=tuple(templates),
        dest=dest,
        record=record,
        split_at=options.split_at or SPLIT_RULES[0],
        layout=layout,
        name=options.name,
        skip_incomplete=options.skip_incomplete,
    )
    with hinting_at_dest():
        return convert.convert_tars(
            request,
            settings,
            workers=1 if record["kind"] == "call" else workers,
            cluster=cluster,
            overwrite=overwrite,
            ais=ais,
            lock=_lock_of(settings, dest),
            progress=progress,
            cancel=cancel,
        )


@contextmanager
def hinting_at_dest() -> Iterator[None]:
    """A conversion writes to DEST, wherever the data dir is: hints about a folder say so."""
    try:
        yield
    except DsmanagerError as error:
        error.hint = error.hint and error.hint.replace(OTHER_FOLDER, "name another DEST")
        raise


def _lock_of(settings: Settings, dest: Path) -> Path | None:
    """The lock of the ref that a version folder of the data dir is, which every verb heeds."""
    try:
        name, *config, version = dest.relative_to(os.path.realpath(settings.data_dir)).parts
    except ValueError:
        return None
    ref = Ref(name, "/".join(config) or None, version)
    return settings.data_dir / f"{ref.stem}.lock" if ref.is_proper else None
