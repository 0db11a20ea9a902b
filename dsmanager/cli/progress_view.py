"""Live counters on a terminal, plain lines at a bounded rate elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from dsmanager.cli.context import Context
from dsmanager.cli.output import Output, size_text
from dsmanager.progress import Pace, Snapshot, Speed
from dsmanager.text import plain

__all__ = ["ProgressView", "amount_text", "bar_fields", "progress_view", "rich_progress"]

_FIRST_LINE_AFTER_S = 2.0
_LINE_EVERY_S = 10.0
_SHOWN_AFTER_S = 0.3  # what ends sooner needs no bar, and does not pay for importing one


class ProgressView(Protocol):
    """Shows samples of one operation's counters."""

    def show(self, snapshot: Snapshot, pace: Pace | None = None) -> None:
        """``pace`` is what a process that does the work elsewhere says of itself."""

    def note(self, text: str) -> None: ...


@contextmanager
def progress_view(context: Context, label: str) -> Iterator[ProgressView]:
    """The view that fits: bars on a terminal, lines elsewhere, notes alone where quiet."""
    output = context.output
    if output.quiet or context.no_progress:
        yield _Notes(output)
    elif sys.stderr.isatty():
        bars = _Bars(label)
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines(output, label)


class _Notes:
    """Only the narration."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, snapshot: Snapshot, pace: Pace | None = None) -> None:
        pass

    def note(self, text: str) -> None:
        self._output.say(text)


class _Lines(_Notes):
    """One line every few seconds, for logs and scripts."""

    def __init__(self, output: Output, label: str) -> None:
        super().__init__(output)
        self._label = label
        self._next_s = time.monotonic() + _FIRST_LINE_AFTER_S
        self._phase = ""
        self._speed = Speed()

    def show(self, snapshot: Snapshot, pace: Pace | None = None) -> None:
        now_s = time.monotonic()
        bytes_per_s, _ = pace or self._speed.of(snapshot)
        if self._output.verbose and snapshot.phase != self._phase:
            self._phase = snapshot.phase
            self._output.say(f"{self._label}: {snapshot.phase}")
        if now_s < self._next_s or not snapshot.phase:
            return
        self._next_s = now_s + _LINE_EVERY_S
        amount = amount_text(snapshot, bytes_per_s)
        self._output.say(f"{self._label}: {snapshot.phase} {amount}".rstrip())


class _Bars:
    """One live line: ref, phase, bar, amount, rate, time left."""

    def __init__(self, label: str) -> None:
        self._label = plain(label)
        self._started_s = time.monotonic()
        self._phase: str | None = None
        self._progress: Any = None
        self._task: Any = None
        self._speed = Speed()

    def show(self, snapshot: Snapshot, pace: Pace | None = None) -> None:
        pace = pace or self._speed.of(snapshot)
        if self._progress is None:
            if time.monotonic() - self._started_s < _SHOWN_AFTER_S:
                return
            self._progress = rich_progress()
            self._progress.start()
        fields = bar_fields(snapshot, *pace)
        if snapshot.phase != self._phase:
            self._begin(snapshot.phase, fields)
        self._progress.update(self._task, **fields)

    def note(self, text: str) -> None:
        target = self._progress.console if self._progress else None
        if target is not None:
            target.print(plain(text), markup=False, highlight=False)
        else:
            sys.stderr.write(plain(text) + "\n")

    def close(self) -> None:
        if self._progress is not None:
            with suppress(OSError):
                self._progress.stop()

    def _begin(self, phase: str, fields: dict[str, Any]) -> None:
        self._phase = phase
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(f"{self._label} {phase}", **fields)


def rich_progress() -> Any:
    """Live lines, one a task, each with :func:`bar_fields`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[amount]}", markup=False),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True, markup=False),
        transient=True,
        refresh_per_second=8,
    )


def bar_fields(snapshot: Snapshot, bytes_per_s: float, left_s: float | None) -> dict[str, Any]:
    """What a live line shows, as :class:`Speed` says how fast it goes."""
    done, total = _counters(snapshot)
    return {
        "completed": done,
        "total": total,
        "amount": amount_text(snapshot, bytes_per_s, with_percent=False),
        "left": _clock(left_s) if left_s is not None else "",
    }


def _clock(seconds: float) -> str:
    """``1:02:03`` for 3,723 seconds."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def _counters(snapshot: Snapshot) -> tuple[int, int | None]:
    """What fills the bar: bytes where they are counted, else items."""
    if snapshot.bytes_done or snapshot.bytes_total:
        return snapshot.bytes_done, snapshot.bytes_total
    return snapshot.items_done, snapshot.items_total


def amount_text(snapshot: Snapshot, bytes_per_s: float, *, with_percent: bool = True) -> str:
    """``45 % 120.0 MB of 266.7 MB 80.1 MB/s 1,350 examples``, as far as it is known."""
    parts = []
    done, total = _counters(snapshot)
    if total and with_percent:
        parts.append(f"{100 * done // total} %")
    if snapshot.bytes_done or snapshot.bytes_total:
        of = f" of {size_text(snapshot.bytes_total)}" if snapshot.bytes_total else ""
        parts.append(f"{size_text(snapshot.bytes_done)}{of}")
        parts.append(f"{size_text(int(bytes_per_s))}/s")
    is_short = not with_percent and bool(parts)  # a bar has little room: bytes say enough
    if (snapshot.items_done or snapshot.items_total) and not is_short:
        of = f" of {snapshot.items_total:,}" if snapshot.items_total else ""
        parts.append(f"{snapshot.items_done:,}{of} {snapshot.item_unit}".rstrip())
    return " ".join(parts)
