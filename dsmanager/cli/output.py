"""What a verb says: data on stdout, narration on stderr, or one JSON envelope on stdout.

Names from outside are shown as plain text: no markup, no control characters.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from dsmanager.errors import DsmanagerError, ExitCode
from dsmanager.text import plain, redact

__all__ = ["Output", "columns", "exit_code_of", "size_text"]

SCHEMA = 1


class Output:
    """Collects rows and errors of one command, shows them, and knows the exit code."""

    def __init__(self, command: str = "") -> None:
        self.command = command
        self.as_json = self.quiet = self.verbose = False
        self.rows: list[dict[str, Any]] = []
        self.errors: list[DsmanagerError] = []
        self.good: int | None = None
        """How many items went well, for a verb whose rows also tell what did not."""

    def row(self, row: dict[str, Any], *lines: str) -> None:
        """One item that went well: its JSON row, and the lines that a person sees."""
        self.rows.append(row)
        if not self.as_json:
            for line in lines:
                self.data(line)

    def data(self, line: str) -> None:
        """A line of data for a person, on stdout."""
        if not self.as_json:
            _write(sys.stdout, plain_lines(line))

    def say(self, line: str) -> None:
        """A line of narration, on stderr."""
        if not self.quiet:
            _write(sys.stderr, plain_lines(line))

    def complain(self, line: str) -> None:
        """A line about what failed, on stderr, quiet or not; the envelope tells it otherwise."""
        if not self.as_json:
            _write(sys.stderr, plain_lines(line))

    def error(self, error: DsmanagerError) -> None:
        """One item that failed; shown at once unless the envelope will hold it."""
        self.errors.append(error)
        if not self.as_json:
            _write(sys.stderr, f"error: {_one_line(error.message)}")
            if error.hint:
                _write(sys.stderr, f"  hint: {_one_line(error.hint)}")

    def close(self) -> None:
        """Writes the envelope where one was asked for."""
        if self.as_json:
            import json

            _write(sys.stdout, json.dumps(self.envelope(), indent=2))

    def envelope(self) -> dict[str, Any]:
        good = len(self.rows) if self.good is None else self.good
        status = "success" if not self.errors else "partial" if good else "error"
        return {
            "schema": SCHEMA,
            "command": self.command,
            "status": status,
            "data": self.rows,
            "errors": [
                {
                    "code": error.code,
                    "message": _one_line(error.message),
                    "hint": _one_line(error.hint) if error.hint else None,
                    "ref": error.ref,
                }
                for error in self.errors
            ],
        }


def exit_code_of(errors: Sequence[DsmanagerError], asked: int) -> ExitCode:
    """The exit code of a command that worked on ``asked`` items.

    A cancelled one is 130; when all failed for one reason, that reason's code; else 3.
    """
    codes = {error.exit_code for error in errors}
    if not codes:
        return ExitCode.DONE
    if ExitCode.CANCELLED in codes:
        return ExitCode.CANCELLED
    if len(codes) == 1 and len(errors) >= asked:
        return codes.pop()
    return ExitCode.PARTIAL


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Aligns cells by their width on a terminal; ``right`` names columns of numbers."""
    widths = [max(map(_cell_len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - _cell_len(cell))
            cells.append(gap + cell if index in right else cell + gap)
        lines.append("  ".join(cells).rstrip())
    return lines


def _cell_len(text: str) -> int:
    """Columns of a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def size_text(size_bytes: int | None) -> str:
    """``8.3 MB``; empty for None."""
    import humanize

    return "" if size_bytes is None else humanize.naturalsize(size_bytes)


def plain_lines(text: str) -> str:
    return "\n".join(plain(redact(line)) for line in text.split("\n"))


def _one_line(text: str) -> str:
    return plain(redact(" ".join(text.split())))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # it was closed before the program started
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii") + "\n")
    except OSError as error:
        # What could not be written must not fail once more when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # Whoever read this has gone (a closed pipe, a lost terminal); the work goes on.
