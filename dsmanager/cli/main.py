"""The program: parses, runs a verb, and turns every outcome into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from dsmanager.cli.arguments import normalised
from dsmanager.cli.context import Context
from dsmanager.cli.output import exit_code_of
from dsmanager.errors import CancelledError, DsmanagerError, ExitCode, UsageError, from_os_error

__all__ = ["main"]

VERBS = {
    "list": "Show what is built, cached, remote or recorded.",
    "info": "Show splits, features, sizes, files, licence and provenance.",
    "build": "Build datasets with their TFDS builders.",
    "check": "Check builders before a long build, and try a few examples.",
    "new": "Scaffold ./NAME/: a builder with its test and dummy data.",
    "convert": "Make records of raw sources: tar shards, ImageNet.",
    "package": "Pack what is built as archives, and record them.",
    "verify": "Verify archives and builds against every record of them.",
    "extract": "Unpack cached archives, verifying every byte.",
    "upload": "Send cached archives with their sidecars to the remote.",
    "download": "Fetch archives from the remote into the cache, verified.",
    "sync": "Bring this machine to what the manifest records, or push to it.",
    "load": "Open a dataset, fetching it where needed, and show examples.",
    "rm": "Remove datasets from the places that you name; shows them first.",
    "gc": "Remove what dead processes left, here and on the remote.",
    "manifest": "Record, show, import, export and share the manifest.",
    "remote": "Add, list, check and serve remotes.",
    "config": "Show the settings in force, and where they come from.",
    "doctor": "Check packages, folders, space, settings and remotes.",
    "demo": "Take a dataset through its whole life, and show what happened.",
    "jobs": "Show jobs, newest first.",
    "attach": "Follow a job until it ends; Ctrl-C leaves it running.",
    "cancel": "Stop jobs and take away what they had begun.",
    "retry": "Start an ended job again.",
}
"""What each verb does, in a line: the program's help is shown without importing any of them."""


class _Verbs(TyperGroup):
    """Imports a verb when it is asked for: a command pays for its own options alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS and cmd_name not in self.commands:
            self.commands[cmd_name] = _command(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            for verb in VERBS:  # near names are suggested from what has been made
                self.get_command(ctx, verb)
        return super().resolve_command(ctx, args)


def _command(verb: str) -> click.Command:
    own = typer.Typer(rich_markup_mode=None, suggest_commands=False, add_completion=False)
    import_module(f"dsmanager.cli.verbs.{verb}").register(own)
    made = typer.main.get_command(own)
    return made.commands[verb] if isinstance(made, click.Group) else made


app = typer.Typer(
    name="dsmanager",
    cls=_Verbs,
    rich_markup_mode=None,
    suggest_commands=False,  # click does
    no_args_is_help=False,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Global options may stand before and after the verb.",
)


@app.callback(invoke_without_command=True)
def _globals(
    ctx: typer.Context,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", "-o", help="Folder of the datasets.")
    ] = None,
    remote: Annotated[
        str | None,
        typer.Option("--remote", help="Remote: a configured name or s3://bucket/prefix."),
    ] = None,
    manifest: Annotated[
        str | None, typer.Option("--manifest", help="Manifest: datasets.json or Armory's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No narration.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More narration.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start a long verb as a job, and return.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Owns the life of a machine-learning dataset.

    Build it, package it as one archive, verify it, upload it to S3, download and extract it
    anywhere, load it for training.
    """
    context: Context = ctx.obj
    context.data_dir, context.remote, context.manifest = data_dir, remote, manifest
    context.no_progress, context.read_only = no_progress, read_only
    context.detach, context.verb = detach, ctx.invoked_subcommand or ""
    context.output.as_json, context.output.quiet = as_json, quiet
    context.output.verbose = verbose
    if version:
        from importlib.metadata import version as version_of

        context.output.command = "version"
        number = version_of("dsmanager")
        context.output.row({"version": number}, f"dsmanager {number}")
    elif detach:
        _require_job(context)
        return
    elif ctx.invoked_subcommand is None:
        _open_tui(ctx, context)
    else:
        return
    raise typer.Exit


def _open_tui(ctx: typer.Context, context: Context) -> None:
    """The TUI on a terminal; elsewhere a verb is needed."""
    from dsmanager.cli.tui import can_open, open_tui
    from dsmanager.settings import Settings

    if context.output.as_json or not can_open():
        raise click.UsageError("no verb was given", ctx)

    def load() -> Settings:
        return Settings.load(
            data_dir=context.data_dir, remote=context.remote, manifest=context.manifest
        )

    context.exit_code = ExitCode(open_tui(load, read_only=context.read_only) and ExitCode.FAILED)


def _require_job(context: Context) -> None:
    """Raises UsageError for a verb that is no job."""
    from dsmanager.jobs.request import SLOT_OF_VERB

    if context.verb not in SLOT_OF_VERB:
        context.output.command = context.verb
        raise UsageError(
            f"'{context.verb}' cannot be a job" if context.verb else "--detach needs a verb",
            hint=f"--detach goes with: {', '.join(SLOT_OF_VERB)}",
        )


def main(arguments: Sequence[str] | None = None, *, context: Context | None = None) -> int:
    """Runs the program and returns its exit code. ``DSMANAGER_DEBUG=1`` shows tracebacks.

    A caller who wants to know more than that gives a fresh ``context`` and looks at it afterwards.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    context = context or Context()
    context.arguments = given
    output = context.output
    output.as_json = "--json" in given
    if not given:
        sys.stderr.write(typer.main.get_command(app).get_help(_click_context()) + "\n")
        return ExitCode.USAGE
    try:
        code = typer.main.get_command(app).main(
            normalised(given), prog_name="dsmanager", standalone_mode=False, obj=context
        )
        if code == ExitCode.CANCELLED:  # how the parser passes a KeyboardInterrupt on
            output.error(CancelledError("cancelled"))
    except click.exceptions.Abort:
        output.error(CancelledError("cancelled"))
    except click.ClickException as error:
        output.command = output.command or _command_of(error)
        output.error(UsageError(error.format_message(), hint=_usage_hint(error)))
    except DsmanagerError as error:
        _debug()
        output.error(error)
    except KeyboardInterrupt:
        output.error(CancelledError("cancelled"))
    except OSError as error:
        _debug()
        output.error(from_os_error(error, "finish"))
    except Exception as error:
        _debug()
        output.error(
            DsmanagerError(
                f"unexpected {type(error).__name__}: {error}",
                hint="see where: DSMANAGER_DEBUG=1 dsmanager …",
            )
        )
    try:
        output.close()
    except OSError as error:
        output.as_json = False
        output.error(from_os_error(error, "write the output"))
        return output.errors[-1].exit_code
    if context.exit_code is not None:
        return context.exit_code
    return exit_code_of(output.errors, context.asked)


def _debug() -> None:
    """Shows the traceback where one was asked for, else nothing."""
    if os.environ.get("DSMANAGER_DEBUG") == "1":
        import traceback

        from dsmanager.text import redact

        sys.stderr.write(redact(traceback.format_exc()))


def _command_of(error: click.ClickException) -> str:
    """The verb, as far as it was understood: "manifest record"."""
    where = error.ctx if isinstance(error, click.UsageError) else None
    return where.command_path.removeprefix("dsmanager").strip() if where else ""


def _usage_hint(error: click.ClickException) -> str:
    where = error.ctx if isinstance(error, click.UsageError) else None
    return f"see: {where.command_path if where else 'dsmanager'} --help"


def _click_context() -> click.Context:
    return click.Context(typer.main.get_command(app), info_name="dsmanager")
