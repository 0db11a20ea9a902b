"""``dsmanager sync``: show the plan, ask where it deletes, carry it out, tell what did not work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, exit_code_of, size_text
from dsmanager.errors import CancelledError, ExitCode, UsageError

if TYPE_CHECKING:
    from dsmanager.syncing.apply import SyncResult, SyncRow
    from dsmanager.syncing.document import PlanFile
    from dsmanager.syncing.plan import Line, Options

_JOBS = 4
_MOST_JOBS = 64


def register(app: typer.Typer) -> None:
    app.command("sync")(sync)


def sync(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(help="name[/config][:version]; globs are welcome. Without any: all."),
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Upload what is cached and recorded, not fetch.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything in full again; heal what is damaged.")
    ] = False,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Remove what the manifest does not record; shown first."),
    ] = False,
    no_extract: Annotated[bool, typer.Option("--no-extract", help="Only fill the cache.")] = False,
    prefer: Annotated[
        str | None,
        typer.Option("--prefer", metavar="manifest|local|remote", help="Who wins a conflict."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Print the plan, do nothing.")
    ] = False,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Write the plan, do nothing.")
    ] = None,
    apply_file: Annotated[
        Path | None, typer.Option("--apply", metavar="FILE", help="Carry out that plan.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=_MOST_JOBS, help="Refs at once.")
    ] = _JOBS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Bring this machine to what the manifest records; with --push, the remote.

    Plan marks: = same, + only here, - only there, * differs, ! damaged, ? not checked.
    """
    from dsmanager.syncing.plan import Options

    context: Context = ctx.obj
    only_plans = dry_run or plan_file is not None
    if only_plans:
        context.refuse_detach("--dry-run" if dry_run else "--plan")
    context.begin("sync", changes=not only_plans)
    if apply_file is not None:
        if refs or push or verify or delete or no_extract or prefer or only_plans:
            raise UsageError(
                "--apply carries out what the plan says, and nothing else",
                hint=f"alone: dsmanager sync --apply {apply_file}",
            )
        _apply_file(context, apply_file, jobs, yes)
        return
    options = Options(push, verify, delete, not no_extract, prefer)
    _plan_and_apply(context, refs or [], options, plan_file, dry_run, jobs, yes)


def _plan_and_apply(
    context: Context,
    refs: Sequence[str],
    options: Options,
    plan_file: Path | None,
    dry_run: bool,
    jobs: int,
    yes: bool,
) -> None:
    from dsmanager.cli.detaching import detach
    from dsmanager.cli.many_progress import run_many
    from dsmanager.syncing.apply import SyncRow, apply
    from dsmanager.syncing.board import Board
    from dsmanager.syncing.document import write_plan
    from dsmanager.syncing.sync import make_plan

    board = Board()
    # A job reads everything again itself; here it is about what the request means.
    asked = replace(options, verify=False) if context.detach else options
    plan = run_many(
        context, board, lambda cancel: make_plan(context.library, refs, asked, cancel=cancel)
    )
    everything = context.output.verbose or bool(refs)
    if plan_file is not None:
        write_plan(context.library, plan, plan_file)
        context.output.say(f"the plan is in {plan_file}: dsmanager sync --apply {plan_file}")
    if dry_run or plan_file is not None:
        for line in _plan_lines(plan.all_lines, everything=everything):
            context.output.data(line)
        for step in plan.all_lines:
            context.output.row(SyncRow(step).to_json())
        return
    shown = _plan_lines(plan.all_lines, everything=everything)
    context.output.say("\n".join(shown))
    _agree_to_delete(context, plan.deletes, yes)
    if context.detach:
        detach(context)
        return
    result = run_many(
        context,
        board,
        lambda cancel: apply(context.library, plan, jobs=jobs, board=board, cancel=cancel),
    )
    _show(context, result)


def _apply_file(context: Context, path: Path, jobs: int, yes: bool) -> None:
    from dsmanager.cli.detaching import detach
    from dsmanager.cli.many_progress import run_many
    from dsmanager.syncing.board import Board
    from dsmanager.syncing.document import read_plan
    from dsmanager.syncing.sync import apply_plan_file

    file: PlanFile = read_plan(path)
    deletes = [(ref, size) for ref, steps in file.steps.items() for action, size in steps
               if action == "delete"]  # fmt: skip
    if deletes:
        context.output.say("\n".join(f"delete {ref} {size_text(size)}" for ref, size in deletes))
        _agree(context, f"Delete {len(deletes)} ({size_text(sum(s for _, s in deletes))})?", yes)
    if context.detach:
        detach(context)
        return
    board = Board()
    _show(
        context,
        run_many(
            context,
            board,
            lambda cancel: apply_plan_file(
                context.library, file, jobs=jobs, board=board, cancel=cancel
            ),
        ),
    )


def _plan_lines(lines: Sequence[Line], *, everything: bool) -> list[str]:
    """The plan for a person: steps, kept refs that differ or are damaged, and a count."""
    shown = [line for line in lines if everything or line.action != "keep" or line.mark in "*!"]
    table = [_cells(line) for line in shown]
    moved: dict[str, tuple[int, int]] = {}
    for line in lines:
        count, size_bytes = moved.get(str(line.action), (0, 0))
        moved[str(line.action)] = (count + 1, size_bytes + line.size_bytes)
    parts = [
        f"{action} {count}" + (f" ({size_text(size_bytes)})" if size_bytes else "")
        for action, (count, size_bytes) in moved.items()
    ]
    unchecked = sum(line.action == "keep" and line.mark == "?" for line in lines)
    if unchecked:
        parts.append(f"{unchecked} of them not checked")
    return [*columns(table, right=(3,)), f"plan: {', '.join(parts) or 'nothing to do'}"]


def _cells(line: Line) -> tuple[str, ...]:
    size = size_text(line.size_bytes) if line.size_bytes else ""
    return (line.mark, str(line.action), str(line.ref), size, line.reason)


def _agree_to_delete(context: Context, deletes: Sequence[Line], yes: bool) -> None:
    if deletes:
        total = size_text(sum(line.size_bytes for line in deletes))
        _agree(context, f"Delete {len(deletes)} ({total})?", yes)


def _agree(context: Context, question: str, yes: bool) -> None:
    """Returns when somebody agrees; Enter alone means no."""
    if yes:
        return
    if not context.is_interactive:
        raise UsageError("nobody can be asked here, and nothing was done", hint="add --yes")
    if not typer.confirm(question, default=False, err=True):
        raise CancelledError("nothing was done")


def _show(context: Context, result: SyncResult) -> None:
    """Rows on stdout, what did not work on stderr, and the exit code."""
    output = context.output
    for row in result.rows:
        done = row.outcome not in ("kept", "failed", "skipped", "cancelled", "conflict")
        lines = [_row_text(row)] if done else []
        output.row(row.to_json(), *lines)
    cancelled = [row.line.ref for row in result.rows if row.outcome == "cancelled"]
    failed = [row for row in result.rows if row.error is not None]
    if failed:
        _show_failed(context, failed, len(result.refs))
    output.errors += result.errors
    if cancelled:
        count = len(set(cancelled))
        stopped = CancelledError(f"cancelled before {count} of {len(result.refs)} were done")
        stopped.hint = "the same command goes on from here: dsmanager sync"
        output.error(stopped)
    elif not failed:
        output.say(_summary(result))
    context.exit_code = _exit_code(result, bool(cancelled))


def _row_text(row: SyncRow) -> str:
    size = f" ({size_text(row.line.size_bytes)})" if row.line.size_bytes else ""
    return f"{row.line.ref} {row.outcome}{size}: {row.line.reason}"


def _show_failed(context: Context, failed: Sequence[SyncRow], total: int) -> None:
    table = [
        (row.line.mark, str(row.line.action), str(row.line.ref), str(row.error and row.error.code))
        for row in failed
    ]
    context.output.say(f"{len(failed)} of {total} did not work:")
    for cells, row in zip(columns(table), failed, strict=True):
        context.output.complain(f"  {cells}  {row.error.message if row.error else ''}")
        if row.error and row.error.hint:
            context.output.complain(f"      hint: {row.error.hint}")


def _summary(result: SyncResult) -> str:
    counts: dict[str, int] = {}
    for row in result.rows:
        counts[str(row.outcome)] = counts.get(str(row.outcome), 0) + 1
    return "done: " + (", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "-")


def _exit_code(result: SyncResult, is_cancelled: bool) -> ExitCode:
    if is_cancelled:
        return ExitCode.CANCELLED
    asked = len(result.refs)
    if result.conflicts and asked > 1:
        return ExitCode.PARTIAL
    return exit_code_of(result.errors, asked)
