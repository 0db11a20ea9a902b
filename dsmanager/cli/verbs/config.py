"""``dsmanager config``: the settings in force and where they come from."""

from __future__ import annotations

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns


def register(app: typer.Typer) -> None:
    app.command("config")(config)


def config(ctx: typer.Context) -> None:
    """Show the settings in force, and the files that they come from."""
    context: Context = ctx.obj
    context.begin("config")
    settings = context.settings
    current = settings.current_remote()
    project = settings.project_file
    row = {
        "data_dir": str(settings.data_dir),
        "state_dir": str(settings.state_dir),
        "manifest": str(settings.manifest_path),
        "remote": current.name if current else None,
        "remotes": list(settings.remotes),
        "jobs": [f"{name} {count}" for name, count in settings.job_slots.items()],
        "builders": [str(folder) for folder in settings.builders],
        "config_file": str(settings.config_file),
        "project_file": str(project) if project else None,
    }
    shown = [
        (name, ", ".join(value) if isinstance(value, list) else str(value or "-"))
        for name, value in row.items()
    ]
    context.output.row(row, "\n".join(columns(shown)))
