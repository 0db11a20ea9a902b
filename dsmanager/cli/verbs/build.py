"""``dsmanager build``: run builders, each in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import run, run_each
from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.building import BuildPlan, BuildResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("build")(build)


def build(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF]...", help="name[/config]; NAME/* builds every config."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", help="File or folder of the builder.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Download and build afresh; replaces what is built.")
    ] = False,
    config: Annotated[str | None, typer.Option("--config", help="Config to build.")] = None,
    manual_dir: Annotated[
        Path | None, typer.Option("--manual-dir", help="Folder of sources that you downloaded.")
    ] = None,
    download_dir: Annotated[
        Path | None, typer.Option("--download-dir", help="Folder that keeps downloads.")
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not read the shards again after the build.")
    ] = False,
) -> None:
    """Build datasets with their TFDS builders."""
    from dsmanager.catalog.find import name_of_path
    from dsmanager.library.building import build as build_ref

    context: Context = ctx.obj
    context.begin("build", changes=True)
    if path is not None:
        requests = refs or [name_of_path(path)]
    elif refs:
        requests = refs
    else:
        raise UsageError(
            "name a dataset, or a builder with --path", hint="see them: dsmanager list --available"
        )

    def work(item: tuple[BuildPlan, Ref], progress: Progress, cancel: CancelToken) -> BuildResult:
        plan, ref = item
        return build_ref(
            context.library,
            plan,
            ref,
            clean=clean,
            manual_dir=manual_dir.expanduser().absolute() if manual_dir else None,
            download_dir=download_dir.expanduser().absolute() if download_dir else None,
            verify=not no_verify,
            progress=progress,
            cancel=cancel,
        )

    items = _plans(context, requests, path, config)
    run_each(context, items, work, lambda done: _show(context, done), label=lambda i: str(i[1]))


def _plans(
    context: Context, requests: list[str], path: Path | None, config: str | None
) -> list[tuple[BuildPlan, Ref]]:
    """What each request means; a request that means nothing is reported, the others go on."""
    from dsmanager.library.building import plan_build

    items: list[tuple[BuildPlan, Ref]] = []
    for request in requests:

        def work(_: Progress, cancel: CancelToken, request: str = request) -> BuildPlan:
            return plan_build(context.library, request, path=path, config=config, cancel=cancel)

        try:
            plan = run(context, request, work)
            items += [(plan, ref) for ref in plan.refs]
        except DsmanagerError as error:
            error.ref = error.ref or request
            context.output.error(error)
    return items


def _show(context: Context, done: BuildResult) -> None:
    splits = ", ".join(f"{name} {count:,}" for name, count in done.splits.items())
    row = {
        "ref": str(done.ref),
        "path": str(done.path),
        "bytes": done.size_bytes,
        "examples": done.examples,
        "splits": done.splits,
        "log": str(done.log) if done.log else None,
        "outcome": "unchanged" if done.was_built else "built",
    }
    said = "is built already" if done.was_built else "built"
    size = size_text(done.size_bytes)
    context.output.row(row, f"{done.ref} {said}: {splits} ({size}) in {done.path}")
