"""``dsmanager check``: the rules of builders, before a long build."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.running import run_each
from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.building.checking import CheckResult


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files or folders of builders.")
    ],
    manual_dir: Annotated[
        Path | None, typer.Option("--manual-dir", help="Folder of sources that you downloaded.")
    ] = None,
    download_dir: Annotated[
        Path | None, typer.Option("--download-dir", help="Folder that keeps downloads.")
    ] = None,
) -> None:
    """Check builders: names, versions, features, checksums, and a trial of a few examples.

    Nothing is fetched: a trial is made from what is in those folders or in dummy_data.
    """
    from dsmanager.building.checking import check as check_file
    from dsmanager.catalog.rules import suspects_at

    context: Context = ctx.obj
    context.begin("check")
    settings, output = context.settings, context.output
    files: list[Path] = []
    for path in paths:
        try:
            files += [file for file in suspects_at(path) if file not in files]
        except DsmanagerError as error:
            error.ref = str(path)
            output.error(error)

    def work(file: Path, progress: Progress, cancel: CancelToken) -> CheckResult:
        log = settings.state_dir / "logs" / f"check-{file.stem}.log"
        log.unlink(missing_ok=True)
        return check_file(
            file,
            folders=settings.builders,
            download_dir=download_dir.expanduser() if download_dir else settings.download_dir,
            manual_dir=manual_dir.expanduser() if manual_dir else None,
            log_path=log,
            progress=progress,
            cancel=cancel,
        )

    output.good = 0
    run_each(context, files, work, lambda result: _show(context, result), label=lambda f: f.stem)


def _show(context: Context, result: CheckResult) -> None:
    output = context.output
    for finding in result.findings:
        output.row({"builder": result.name, **finding.as_json()}, str(finding))
        if finding.hint:
            output.say(f"  hint: {finding.hint}")
    counts = Counter(finding.severity for finding in result.findings)
    said = ", ".join(f"{count} {kind}{'s'[: count != 1]}" for kind, count in counts.items())
    if not result.errors:
        output.good = (output.good or 0) + 1
        result.log.unlink(missing_ok=True)  # of interest when it failed
        output.say(f"{result.name} passes{f', with {said}' if said else ''}{_tried(result)}")
        return
    hint = f"mend it, then: dsmanager check '{result.file}'"
    if result.log.exists():
        hint = f"see what its code printed: less '{result.log}'"
    output.error(DsmanagerError(f"{result.name} does not pass: {said}", hint=hint, ref=result.name))


def _tried(result: CheckResult) -> str:
    made = sum(sum(splits.values()) for splits in result.tried.values())
    return f"; a trial made {made} examples" if made else ""
