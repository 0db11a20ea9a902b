"""Writes docs/commands.md from the program's own help; ``--print`` shows it instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from dsmanager.cli.main import app

_HEAD = """# Commands

Made from the program's own help by `python docs/make_commands.py`; a test compares the two.
Global options may stand before and after the verb.
"""


def _sections(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            child = command.get_command(context, verb)
            assert child is not None
            yield from _sections(child, f"{name} {child.name}")


def main() -> None:
    text = "\n".join([_HEAD, *_sections(typer.main.get_command(app), "dsmanager")])
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        Path(__file__).with_name("commands.md").write_text(text, "utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    main()
