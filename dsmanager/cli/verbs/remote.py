"""``dsmanager remote``: add, list and check remotes; serve one on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns
from dsmanager.cli.running import run
from dsmanager.errors import AlreadyExistsError, UsageError, of_exit_code
from dsmanager.progress import CancelToken, Progress
from dsmanager.text import redact

if TYPE_CHECKING:
    from dsmanager.remotes.server import ServerStatus
    from dsmanager.settings import RemoteConfig

group = typer.Typer(help="Add, list, check and serve remotes.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="remote")


@group.command("add")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    url: Annotated[str, typer.Argument(help="s3://bucket[/prefix]")],
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", help="Server, where it is not AWS.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile of the AWS configuration.")
    ] = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Send unsigned requests.")] = False,
    no_verify_tls: Annotated[
        bool, typer.Option("--no-verify-tls", help="Accept any TLS certificate.")
    ] = False,
    current: Annotated[bool, typer.Option("--current", help="Make it the current remote.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a remote of that name.")
    ] = False,
) -> None:
    """Write a remote into the settings; no secret is stored."""
    from dsmanager.settings import RemoteConfig, add_remote

    context: Context = ctx.obj
    context.begin("remote add", changes=True)
    if name in context.settings.remotes and not overwrite:
        raise AlreadyExistsError(
            f"remote '{name}' is configured already",
            hint=f"replace it: dsmanager remote add {name} {redact(url)} --overwrite",
        )
    remote = RemoteConfig(
        name, url, endpoint_url, region, profile, anonymous, verify_tls=not no_verify_tls
    )
    config_file = context.settings.config_file
    add_remote(config_file, remote, make_current=current)
    context.output.row(
        _row(remote, is_current=current),
        f"{name} added to {config_file}: {_place(remote)}; check it: dsmanager remote check {name}",
    )


@group.command("list")
def list_(ctx: typer.Context) -> None:
    """List the configured remotes; the current one is marked."""
    context: Context = ctx.obj
    context.begin("remote list")
    current = context.settings.current_remote()
    table = []
    for remote in context.settings.remotes.values():
        is_current = current is not None and current.name == remote.name
        context.output.row(_row(remote, is_current=is_current))
        table.append(("*" if is_current else " ", remote.name, _place(remote)))
    if current is not None and current.name not in context.settings.remotes:
        context.output.row(_row(current, is_current=True))
        table.append(("*", current.name, _place(current)))
    if table:
        context.output.data("\n".join(columns(table)))
    else:
        context.output.say("none is configured; add one: dsmanager remote add NAME s3://bucket")


@group.command("check")
def check(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Configured name or URL; else the current one.")
    ] = None,
) -> None:
    """Check endpoint, credentials, bucket, reading and writing of a remote."""
    from dsmanager.remotes.checks import check_remote
    from dsmanager.remotes.remote import Remote

    context: Context = ctx.obj
    context.begin("remote check")
    settings = context.settings
    config = settings.remote_named(name) if name else settings.require_remote()
    remote = Remote(config)
    steps = run(
        context, config.name, lambda _p, _c: check_remote(remote, read_only=context.read_only)
    )
    for step in steps:
        row = {
            "step": step.name,
            "status": step.status,
            "text": step.text,
            "seconds": round(step.seconds, 3),
        }
        context.output.row(row, f"{step.status:<8} {step.name:<16} {step.text}")
        if step.status == "failed":
            failure = of_exit_code(step.exit_code, f"{step.name}: {step.text}", hint=step.hint)
            context.output.error(failure)


@group.command("serve")
def serve(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the server and its remote.")] = "local",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder that keeps its data.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop it; the data stays.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say whether it runs.")] = False,
) -> None:
    """Run an S3 server on this machine (SeaweedFS), in the background, as a remote."""
    from dsmanager.library.serving import serve as start_as_remote
    from dsmanager.remotes import server

    context: Context = ctx.obj
    context.begin("remote serve", changes=not status)
    state_dir = context.settings.state_dir
    if stop and status:
        raise UsageError("--stop and --status exclude each other", hint="say one of them")
    if status:
        found = server.statuses(state_dir=state_dir)
        if name != "local" or not found:
            found = (server.status(name, state_dir=state_dir),)
        for each in found:
            _show_server(context, each)
        return
    if stop:
        stopped = run(context, name, lambda _p, _c: server.stop(name, state_dir=state_dir))
        _show_server(context, stopped, down="is stopped")
        return

    def work(_: Progress, cancel: CancelToken) -> ServerStatus:
        return start_as_remote(context.settings, name, folder=folder, cancel=cancel)

    started = run(context, name, work)
    _show_server(context, started)
    context.output.say(f"remote '{started.name}' is in {context.settings.config_file}")


def _show_server(context: Context, found: ServerStatus, *, down: str = "does not run") -> None:
    from dsmanager.remotes.guard import OPEN_PORTS, how_to_guard

    row = {
        "name": found.name,
        "running": found.running,
        "pid": found.pid,
        "endpoint_url": found.endpoint_url,
        "dir": str(found.folder),
        "bucket": found.bucket,
        "credentials_file": str(found.credentials_file),
        "log": str(found.log),
        "guarded": found.guarded,
    }
    if found.running:
        text = f"{found.name} runs at {found.endpoint_url} (process {found.pid}), bucket "
        text += f"{found.bucket}, data in {found.folder}"
    else:
        text = f"{found.name} {down}; its data is in {found.folder}"
    context.output.row(row, text)
    if found.running and not found.guarded:
        context.output.say(f"{found.name}: {OPEN_PORTS}\nhint: {how_to_guard(found.name)}")


def _row(remote: RemoteConfig, *, is_current: bool) -> dict[str, Any]:
    return {
        "name": redact(remote.name),
        "url": remote.url,
        "endpoint_url": redact(remote.endpoint_url) if remote.endpoint_url else None,
        "region": remote.region,
        "profile": remote.profile,
        "anonymous": remote.anonymous,
        "current": is_current,
    }


def _place(remote: RemoteConfig) -> str:
    at = f" at {redact(remote.endpoint_url)}" if remote.endpoint_url else ""
    return f"s3://{remote.bucket}/{remote.prefix}{at}"
