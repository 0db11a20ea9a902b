"""Counts of labels as bars: most frequent first where they do not all fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from dsmanager.screens.previews.lines import Line, Piece, line, shortened

__all__ = ["LabelCounts", "draw_histogram"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass
class LabelCounts:
    """What a background thread has counted so far; the screen looks a few times a second."""

    key: str
    split: str
    total: int
    """Examples in the split."""
    names: Sequence[str] = ()
    counts: dict[int, int] = field(default_factory=dict)
    examples: int = 0
    """Examples counted so far."""
    why_stopped: str | None = None
    """Why it will not be the whole split, in words."""

    @property
    def said(self) -> str:
        """Of how many examples this is."""
        if self.examples == self.total:
            return f"all {self.total:,} examples of {self.split}"
        so_far = f"{self.examples:,} of {self.total:,} examples of {self.split}"
        return f"{so_far} ({self.why_stopped})" if self.why_stopped else f"{so_far} so far"


def draw_histogram(counted: LabelCounts, columns: int, rows: int) -> list[Line]:
    """One bar a label; the last line says what the others come to.

    Labels stand in their own order while there is room for all, those that never occur included.
    """
    counts = dict(counted.counts)  # the thread goes on counting
    every = sorted({*range(len(counted.names)), *counts}) if counted.names else sorted(counts)
    shown, more = every, 0
    if len(every) > max(1, rows - 1):
        often = sorted(every, key=lambda label: (-counts.get(label, 0), label))
        shown = often[: max(1, rows - 1)]
        more = len(every) - len(shown)
    total = sum(counts.values()) or 1
    most = max(counts.values(), default=0) or 1
    names = {label: _name(counted, label) for label in shown}
    name_width = min(max(map(cell_len, names.values()), default=1), max(4, columns // 3))
    number_width = len(f"{most:,}")
    bar_width = max(1, columns - name_width - number_width - 9)
    lines: list[Line] = []
    for label in shown:
        count = counts.get(label, 0)
        lines.append(
            (
                Piece(set_cell_size(shortened(names[label], name_width), name_width) + " ", "name"),
                Piece(set_cell_size(_bar(count / most, bar_width), bar_width), "bar"),
                Piece(f" {count:>{number_width},} {count / total:6.1%}"),
            )
        )
    if more:
        rest = total - sum(counts.get(label, 0) for label in shown)
        lines.append(line(f"… and {more:,} more labels with {max(0, rest):,} examples", "muted"))
    return lines


def _name(counted: LabelCounts, label: int) -> str:
    return counted.names[label] if 0 <= label < len(counted.names) else str(label)


def _bar(share: float, width: int) -> str:
    """A bar in eighths of a cell; what occurs at all shows at least one."""
    eighths = max(1, round(share * width * 8)) if share else 0
    full, part = divmod(eighths, 8)
    return _EIGHTHS[-1] * full + (_EIGHTHS[part] if part else "")
