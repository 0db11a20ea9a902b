"""``dsmanager manifest``: what is expected; recorded, shown, taken over, shared on the remote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, size_text
from dsmanager.cli.running import choose, run, run_each
from dsmanager.errors import UsageError, VerificationError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.recording import RecordResult
    from dsmanager.library.sharing import Prefer, SharedEntry, ShareResult
    from dsmanager.refs import Ref

group = typer.Typer(
    help="Record, show, import, export and share the manifest.", rich_markup_mode=None
)
_Refs = Annotated[list[str] | None, typer.Argument(metavar="[REF]...", help="All without one.")]
_PreferOption = Annotated[
    str | None,
    typer.Option(
        "--prefer", metavar="local|remote", help="Whose entry counts where the two differ."
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="manifest")


@group.command("record")
def record(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; globs are welcome.")],
) -> None:
    """Write cached archives into the manifest, after reading them."""
    from dsmanager.library.recording import record as record_ref
    from dsmanager.library.scope import refs_to_record

    context: Context = ctx.obj
    context.begin("manifest record", changes=True)

    def work(ref: Ref, progress: Progress, cancel: CancelToken) -> RecordResult:
        return record_ref(context.library, ref, progress=progress, cancel=cancel)

    chosen = choose(context, refs, lambda each: refs_to_record(context.library, each))
    run_each(context, chosen, work, lambda done: _show(context, done))


@group.command("show")
def show(
    ctx: typer.Context,
    refs: _Refs = None,
) -> None:
    """Show the manifest in use."""
    from dsmanager.library.scope import select

    context: Context = ctx.obj
    context.begin("manifest show")
    path = context.settings.manifest_path
    entries = context.library.manifest.entries
    chosen = list(entries)
    if refs:
        chosen = select(
            refs,
            entries,
            newest_only=False,
            what="record",
            hint=f"record it: dsmanager manifest record {refs[0]}",
        )
    context.output.say(f"{path}{'' if path.exists() else ' (does not exist yet)'}")
    table = []
    for ref in chosen:
        entry = entries[ref]
        context.output.row({"ref": str(ref), **entry.to_json()})
        table.append((str(ref), size_text(entry.size), entry.sha256, entry.remote or ""))
    if table:
        context.output.data("\n".join(columns(table, right=(1,))))


@group.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A datasets.json or Armory's cached_datasets.json.")],
) -> None:
    """Merge another manifest, of either format, into the one in use."""
    from dsmanager.library.recording import import_manifest

    context: Context = ctx.obj
    context.begin("manifest import", changes=True)

    def work(progress: Progress, cancel: CancelToken) -> list[RecordResult]:
        return import_manifest(context.library, file, progress=progress, cancel=cancel)

    for done in run(context, str(file), work):
        _show(context, done)


@group.command("export")
def export(
    ctx: typer.Context,
    armory: Annotated[
        bool, typer.Option("--armory", help="In the format of Armory's cached_datasets.json.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write; stdout without it.")
    ] = None,
) -> None:
    """Write the manifest out, in our format or in Armory's."""
    from dsmanager.files import write_json
    from dsmanager.manifest import to_armory

    context: Context = ctx.obj
    context.begin("manifest export", changes=to is not None)
    manifest = context.library.manifest
    if not manifest.entries:
        raise UsageError(
            f"{context.settings.manifest_path} records nothing",
            hint="record an archive: dsmanager manifest record REF",
        )
    value = to_armory(manifest) if armory else manifest.to_json()
    if to is not None:
        write_json(to.absolute(), value)
        context.output.row({"file": str(to), "entries": len(manifest.entries)}, f"wrote {to}")
    elif context.output.as_json:
        context.output.row(value)
    else:
        context.output.data(json.dumps(value, indent=2, ensure_ascii=False))


@group.command("push")
def push(
    ctx: typer.Context,
    refs: _Refs = None,
    prefer: _PreferOption = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Write where the server cannot do compare-and-swap, or over what is no manifest.",
        ),
    ] = False,
) -> None:
    """Merge entries into the manifest on the remote, datasets.json below its prefix."""
    from dsmanager.library.sharing import push as push_entries

    context: Context = ctx.obj
    context.begin("manifest push", changes=True)
    chosen = _preference(prefer)

    def work(progress: Progress, cancel: CancelToken) -> ShareResult:
        return push_entries(
            context.library,
            refs or (),
            prefer=chosen,
            force=force,
            progress=progress,
            cancel=cancel,
        )

    done = run(context, "manifest push", work)
    _show_shared(context, done, done.url, "push")


@group.command("pull")
def pull(ctx: typer.Context, refs: _Refs = None, prefer: _PreferOption = None) -> None:
    """Merge entries of the manifest on the remote into the one in use."""
    from dsmanager.library.sharing import pull as pull_entries

    context: Context = ctx.obj
    context.begin("manifest pull", changes=True)
    chosen = _preference(prefer)

    def work(progress: Progress, cancel: CancelToken) -> ShareResult:
        return pull_entries(
            context.library, refs or (), prefer=chosen, progress=progress, cancel=cancel
        )

    done = run(context, "manifest pull", work)
    _show_shared(context, done, str(done.manifest), "pull")


def _preference(text: str | None) -> Prefer | None:
    if text not in (None, "local", "remote"):
        raise UsageError(f"there is no side '{text}'", hint="use --prefer local|remote")
    return cast("Prefer | None", text)


def _show_shared(context: Context, done: ShareResult, target: str, verb: str) -> None:
    context.asked = len(done.entries)
    for each in done.entries:
        if each.outcome == "conflict":
            context.output.error(_conflict(each, verb))
            continue
        row = {"ref": str(each.ref), **each.entry.to_json(), "outcome": each.outcome}
        lines = [] if each.outcome == "unchanged" else [f"{each.ref} {each.outcome}"]
        context.output.row(row, *lines)
    context.output.say(f"{target} has {done.total:,} entr{'y' if done.total == 1 else 'ies'}")


def _conflict(each: SharedEntry, verb: str) -> VerificationError:
    assert each.other is not None
    mine, theirs = (each.entry, each.other) if verb == "pull" else (each.other, each.entry)
    return VerificationError(
        f"{each.ref} is another archive here (sha256 {mine.sha256}) than in the remote's manifest "
        f"({theirs.sha256}); both stay as they are",
        hint=f"say which counts: dsmanager manifest {verb} {each.ref} --prefer local|remote",
        ref=str(each.ref),
    )


def _show(context: Context, done: RecordResult) -> None:
    row = {
        "ref": str(done.ref),
        "manifest": str(done.manifest),
        **done.entry.to_json(),
        "outcome": "unchanged" if done.was_recorded else "recorded",
    }
    said = "is recorded already" if done.was_recorded else "recorded"
    context.output.row(row, f"{done.ref} {said} in {done.manifest}: sha256 {done.entry.sha256}")
