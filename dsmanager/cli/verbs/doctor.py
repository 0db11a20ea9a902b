"""``dsmanager doctor``: whether this machine has what dsmanager needs."""

from __future__ import annotations

import typer

from dsmanager.cli.context import Context
from dsmanager.errors import DsmanagerError


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(ctx: typer.Context) -> None:
    """Check packages, folders, file system, space, settings, manifest, leftovers and remote."""
    from dsmanager.library.health import examine

    context: Context = ctx.obj
    context.begin("doctor")
    failed = 0
    for finding in examine(context.settings, read_only=context.read_only):
        row = {
            "check": finding.name,
            "status": finding.status,
            "text": finding.text,
            "hint": finding.hint,
        }
        lines = [f"{finding.status:<7} {finding.name:<11} {finding.text}"]
        if finding.hint:
            lines.append(f"{'':19} hint: {finding.hint}")
        context.output.row(row, *lines)
        failed += finding.status == "failed"
    if failed:
        context.output.error(
            DsmanagerError(
                f"{failed} check{'s' if failed > 1 else ''} failed",
                hint="the lines above say what helps; then again: dsmanager doctor",
            )
        )
