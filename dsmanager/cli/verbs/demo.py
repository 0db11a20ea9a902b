"""``dsmanager demo``: the whole life of a dataset on this machine, in under a minute."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.running import run
from dsmanager.errors import AlreadyExistsError

if TYPE_CHECKING:
    from dsmanager.demo.run import Step


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="Where to work; a temporary folder without it.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything, and say how to look around.")
    ] = False,
) -> None:
    """Take a dataset through its whole life: build, package, verify, upload, download, load."""
    from dsmanager.demo.run import Demo
    from dsmanager.remotes.weed import find_weed

    context: Context = ctx.obj
    context.begin("demo", changes=True)
    find_weed()  # says at once what to install
    place = _place(folder)
    started_s = time.monotonic()
    steps: list[Step] = []
    is_kept = False
    try:
        run(
            context,
            "demo",
            lambda progress, cancel: steps.extend(
                Demo(place, progress=progress, cancel=cancel).steps()
            ),
        )
        is_kept = keep
    finally:
        if not is_kept:
            _clear(place, made_here=folder is None)
    for step in steps:
        row = {
            "machine": step.machine,
            "verb": step.verb,
            "text": step.text,
            "seconds": round(step.seconds, 3),
        }
        context.output.row(row)
    if not context.output.as_json:
        _report(steps, time.monotonic() - started_s)
        if keep:
            _look_around(context, place)


def _place(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="dsmanager-demo-"))
    place = folder.expanduser().absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise AlreadyExistsError(
            f"{place} exists and is not an empty folder", hint="use a new one: dsmanager demo NEW"
        )
    place.mkdir(parents=True, exist_ok=True)
    return place


def _clear(place: Path, *, made_here: bool) -> None:
    from dsmanager.demo.run import Demo
    from dsmanager.progress import CancelToken, Progress

    Demo(place, progress=Progress(), cancel=CancelToken()).stop()
    for child in place.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
    if made_here:
        place.rmdir()


def _report(steps: list[Step], seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="One dataset, two machines, one S3 server", title_justify="left")
    for heading, justify in (("machine", "left"), ("verb", "left"), ("seconds", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("what happened", overflow="fold")
    for step in steps:
        table.add_row(step.machine, step.verb, f"{step.seconds:.2f}", Text(step.text))
    console = Console()
    console.print(table)
    console.print(f"Everything agreed, in {seconds:.1f} s.", highlight=False)


def _look_around(context: Context, place: Path) -> None:
    config = place / "config.toml"
    for line in (
        "",
        f"Everything is in {place}. Look around:",
        f"  export DSMANAGER_CONFIG='{config}'",
        f"  dsmanager list --data-dir '{place}/machine-a'",
        f"  dsmanager list --data-dir '{place}/machine-b'",
        f"  dsmanager info digit --preview --data-dir '{place}/machine-b'",
        "When you are done:",
        f"  dsmanager remote serve demo --stop && rm -r '{place}'",
    ):
        context.output.data(line)
