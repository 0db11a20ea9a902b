"""``dsmanager verify``: read bytes again and compare them with every record of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import run_each
from dsmanager.errors import UsageError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.verification import VerifyResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; globs are welcome.")],
    places: Annotated[
        list[str] | None,
        typer.Option(
            "--in", metavar="built|cached|remote", help="Where; default cached, else built."
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Check the CRC of every record of a build, too.")
    ] = False,
) -> None:
    """Verify archives and builds against manifest, sidecar and object metadata."""
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

    chosen = refs_to_verify(context.library, refs, places or (), deep=deep)
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
