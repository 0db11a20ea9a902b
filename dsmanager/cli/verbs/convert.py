"""``dsmanager convert``: raw sources to records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.imagenet import convert_imagenet
from dsmanager.cli.output import size_text
from dsmanager.cli.running import run_each
from dsmanager.errors import UsageError
from dsmanager.libc import keep_freed_memory
from dsmanager.library.converting import TAR_FORMATS, TarOptions, convert_tars
from dsmanager.library.imagenet import IMAGENET_FORMS, ImagenetRequest
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.ingest.tars.convert import TarsResult

_OF_TARS = (
    "split_at",
    "fields",
    "record",
    "shards",
    "max_shard_size",
    "shuffle",
    "name",
    "skip_incomplete",
)
_OF_IMAGENET = ("only", "skip_bad")
_OF_SLIM = (*_OF_IMAGENET, "synset_text", "annotations")
_FORMS: dict[str, tuple[str, ...]] = (
    dict.fromkeys(TAR_FORMATS, _OF_TARS)
    | dict.fromkeys(IMAGENET_FORMS, _OF_IMAGENET)
    | {"slim": _OF_SLIM}
)
"""What ``--to`` may say, and the options that go with it besides those of all."""


def register(app: typer.Typer) -> None:
    app.command("convert")(convert)


def convert(
    ctx: typer.Context,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC... DEST",
            help="Tars: paths, http(s)://, s3:// or ais:// URLs, with bash's ranges in quotes: "
            "'train-{0..7}.tar.gz'. For tpu, slim and tfds one folder with ImageNet's tars or "
            "trees. DEST is a folder.",
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="|".join(_FORMS), help="What to make.")
    ] = TAR_FORMATS[0],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes at once (default: cores).")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="Dask scheduler, such as tcp://host:8786, to work on."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace all that DEST holds.")
    ] = False,
    split_at: Annotated[
        str | None,
        typer.Option(
            "--split-at",
            metavar="first-dot|last-dot",
            help="Where a name ends and its extension begins: as WebDataset (default) or tar2tf.",
        ),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            help="Extensions to keep as bytes: all, or jpg,cls. Without: height, width, depth, "
            "label, image_raw.",
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record", help="module:function(record, seed) that returns a dict of features."
        ),
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, help="How many (default: one a tar).")
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option("--max-shard-size", help="As many as that takes, such as 512M.")
    ] = None,
    shuffle: Annotated[
        int | None,
        typer.Option("--shuffle", metavar="SEED", help="Shuffle records over all shards."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Make a dataset of that name, for load.")
    ] = None,
    skip_incomplete: Annotated[
        bool, typer.Option("--skip-incomplete", help="Leave out records that lack a file.")
    ] = False,
    only: Annotated[
        str | None, typer.Option("--only", metavar="train|val", help="One half of ImageNet.")
    ] = None,
    synset_text: Annotated[
        Path | None,
        typer.Option(
            "--synset-text",
            metavar="FILE",
            help="Words for ImageNet's synsets (default: LOC_synset_mapping.txt, where it is).",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option("--annotations", metavar="DIR", help="XML files with ImageNet's boxes."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out images that cannot be read, and name them."),
    ] = False,
) -> None:
    """Make records of raw sources: tar shards to TFRecord or ArrayRecord files; ImageNet's tars to
    the shards of the TPU or slim scripts, or to TFDS's dataset.
    """
    context: Context = ctx.obj
    context.begin("convert", changes=True)
    keep_freed_memory()
    if len(places) < 2:
        raise UsageError(
            "convert needs a source and a destination",
            hint="for example: dsmanager convert 'train-{0..7}.tar.gz' OUT",
        )
    sources, dest = places[:-1], Path(places[-1])
    _require_fitting(to, ctx.params)
    if to in IMAGENET_FORMS:
        request = ImagenetRequest(
            source=_only_one(sources, to),
            dest=dest,
            to=to,
            only=only,
            synset_text=synset_text,
            annotations=annotations,
            skip_bad=skip_bad,
            workers=workers,
            cluster=cluster,
            overwrite=overwrite,
        )
        convert_imagenet(context, request)
        return
    options = TarOptions(
        split_at=split_at,
        fields=fields,
        record=record,
        shards=shards,
        max_shard_size=max_shard_size,
        shuffle=shuffle,
        name=name,
        skip_incomplete=skip_incomplete,
    )

    def work(dest: Path, progress: Progress, cancel: CancelToken) -> TarsResult:
        return convert_tars(
            context.settings,
            sources,
            dest,
            to=to,
            options=options,
            workers=workers,
            cluster=cluster,
            overwrite=overwrite,
            progress=progress,
            cancel=cancel,
        )

    run_each(context, [dest], work, lambda done: _show(context, done), label=lambda d: d.name)


def _only_one(sources: list[str], to: str) -> Path:
    """The folder of a form that takes one. Raises UsageError for several."""
    if len(sources) > 1:
        raise UsageError(
            f"--to {to} takes one source, the folder that holds ImageNet's tars or trees",
            hint=f"dsmanager convert SRC DEST --to {to}",
        )
    return Path(sources[0])


def _require_fitting(to: str, given: dict[str, Any]) -> None:
    """Raises UsageError for an unknown form, and for an option that has no meaning for it."""
    if to not in _FORMS:
        raise UsageError(f"'{to}' is nothing to convert to", hint=f"use --to {'|'.join(_FORMS)}")
    for option in sorted({option for options in _FORMS.values() for option in options}):
        if option not in _FORMS[to] and given.get(option) not in (None, False):
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} has no meaning with --to {to}", hint=f"leave out {flag}")


def _show(context: Context, done: TarsResult) -> None:
    row = {
        "path": str(done.path),
        "name": done.name,
        "format": done.file_format,
        "sources": done.sources,
        "records": done.records,
        "shards": done.shards,
        "bytes": done.size_bytes,
        "reused": done.reused,
        "notes": list(done.notes),
        "outcome": "unchanged" if done.was_converted else "converted",
    }
    said = "is converted already" if done.was_converted else "converted"
    for note in done.notes:
        context.output.say(note)
    context.output.row(
        row,
        f"{done.name} {said}: {done.sources:,} tars, {done.records:,} records in {done.shards:,} "
        f"shards ({size_text(done.size_bytes)}) in {done.path}",
    )
