"""``dsmanager verify``: read bytes again and compare them with every record of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import choose, run_each
from dsmanager.errors import UsageError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.verification import VerifyResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF...", help="name[/config][:version]; globs are welcome."),
    ] = None,
    places: Annotated[
        list[str] | None,
        typer.Option(
            "--in", metavar="built|cached|remote", help="Where; default cached, else built."
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Check the CRC of every record of a build, too.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is there.")] = False,
    subset: Annotated[
        str | None,
        typer.Option(
            "--subset", metavar="K/N", help="Of N parts that are always the same, the K-th."
        ),
    ] = None,
) -> None:
    """Verify archives and builds against manifest, sidecar and object metadata."""
    from dsmanager.library.schedule import Subset
    from dsmanager.library.scope import refs_to_verify
    from dsmanager.library.verification import PLACES
    from dsmanager.library.verification import verify as verify_ref

    context: Context = ctx.obj
    context.begin("verify")
    for place in places or ():
        if place not in PLACES:
            raise UsageError(f"there is no place '{place}'", hint=f"use --in {'|'.join(PLACES)}")

    def work(item: tuple[Ref, str], progress: Progress, cancel: CancelToken) -> VerifyResult:
        ref, place = item
        return verify_ref(context.library, ref, place, deep=deep, progress=progress, cancel=cancel)

    part = Subset.parse(subset) if subset is not None else None
    if everything == bool(refs):
        raise UsageError(
            "name either datasets or --all", hint="for all of them: dsmanager verify --all"
        )
    chosen = choose(
        context,
        refs or ["*"],
        lambda each: refs_to_verify(context.library, each, places or (), deep=deep),
    )
    if part is not None:
        there = len(chosen)
        chosen = [pair for pair in chosen if pair[0] in part]
        context.output.say(f"{len(chosen):,} of {there:,} are in part {part}")
    run_each(context, chosen, work, lambda done: _show(context, done), label=lambda i: str(i[0]))


def _show(context: Context, done: VerifyResult) -> None:
    row = {
        "ref": str(done.ref),
        "in": done.place,
        "bytes": done.size_bytes,
        "sha256": done.sha256,
        "against": list(done.against),
        "outcome": "verified",
    }
    agreed = " and ".join(done.against)
    size = size_text(done.size_bytes)
    context.output.row(row, f"{done.ref} {done.place}: verified ({size}), agrees with {agreed}")
