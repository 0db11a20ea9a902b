"""What stands in a cell, as plain text cut and aligned by the width that it has on a terminal.

Pure: no Textual. The layout says which columns there are at which width; below
:data:`FOLD_BELOW` cells the three panes fold into columns of markers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells, set_cell_size

from dsmanager.screens.rows import Row

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = [
    "FOLD_BELOW",
    "Cell",
    "Layout",
    "age_text",
    "cut_middle",
    "duration_text",
    "fit",
    "layout_for",
    "row_cells",
    "size_text",
]

FOLD_BELOW = 100
_PANE_CELLS = 16
_ROOMY = 110
_WIDE_STATE = 118
_PLACE_OF_VERB = {"build": "built", "extract": "built", "upload": "remote"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of exactly its column's width, and the role that it plays (a style's name)."""

    text: str
    role: str = "text"


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns from left to right: (column, cells). ``is_folded``: markers instead of panes."""

    columns: tuple[tuple[str, int], ...]
    is_folded: bool

    def at(self, x: int) -> str | None:
        """The column at cell ``x``."""
        for column, width in self.columns:
            if x < width:
                return column
            x -= width
        return None


@lru_cache(maxsize=16)
def layout_for(width: int) -> Layout:
    """The columns for so many cells; the name gets what the others leave."""
    if width >= FOLD_BELOW - 2:
        pane = 2 + _PANE_CELLS + (1 if width >= _ROOMY else 0)
        panes = [("built", pane), ("cached", pane), ("remote", pane)]
        others = [("version", 10), *panes, ("recorded", 12)]
        if width >= _WIDE_STATE:
            others.insert(1, ("state", 13))
    else:
        others = [("version", 10), ("built", 8), ("cached", 9), ("remote", 9), ("recorded", 11)]
        if width >= 72:
            others.append(("size", 9))
        while sum(cells for _, cells in others) + 14 > width and len(others) > 4:
            others.pop()
    name = max(width - 2 - sum(cells for _, cells in others), 8)
    columns = (("mark", 2), ("name", name), *others)
    return Layout(columns, is_folded=width < FOLD_BELOW - 2)


def row_cells(
    row: Row, layout: Layout, *, now_s: float, is_marked: bool, job: Job | None
) -> list[Cell]:
    """The cells of one row."""
    cells = []
    for column, width in layout.columns:
        if column == "mark":
            cells.append(Cell("● " if is_marked else "  ", "mark"))
        elif column == "name":
            cells.append(Cell(fit(cut_middle(row.name, width - 1), width), "name"))
        elif column == "version":
            cells.append(Cell(fit(row.version, width), "version"))
        elif column == "state":
            cells.append(Cell(fit(row.state, width), f"state-{row.state}"))
        elif column == "size":
            cells.append(Cell(fit(size_text(row.largest_bytes), width - 1, right=True) + " "))
        elif job is not None and _PLACE_OF_VERB.get(job.kind, "cached") == column:
            words = job_text(job) if not layout.is_folded else _share_text(job) or job.kind
            cells.append(Cell(_in_pane(f"▸ {words}", width, layout), "job"))
        else:
            cells.append(_place_cell(row, column, width, layout, now_s))
    return cells


def _place_cell(row: Row, place: str, width: int, layout: Layout, now_s: float) -> Cell:
    marker = row.marker(place)
    size = row.size_bytes(place)
    words = marker
    if not layout.is_folded and place == "recorded":
        words = f"{marker} {'yes' if size is not None else 'no'}"
    elif not layout.is_folded:
        if size is not None:
            made_s = row.time_s(place)
            age = age_text(now_s - made_s) if made_s else ""
            words = f"{marker} {size_text(size):>8}  {age:>4}"
        elif marker == "*":
            words = f"{marker} partly"
    return Cell(_in_pane(words, width, layout), f"marker-{_MARKER_ROLES[marker]}")


_MARKER_ROLES: Mapping[str, str] = {
    "=": "same",
    "+": "here",
    "-": "absent",
    "*": "differs",
    "!": "damaged",
    "?": "unknown",
}


def _in_pane(words: str, width: int, layout: Layout) -> str:
    """A pane begins with the line that parts it from the one before."""
    return fit(words, width) if layout.is_folded else "│ " + fit(words, width - 2)


def job_text(job: Job) -> str:
    """``upload 45%``; what waits or stops says so."""
    if job.state == "running":
        return f"{job.kind} {_share_text(job)}".rstrip()
    return f"{job.kind} {job.state}"


def _share_text(job: Job) -> str:
    share = share_done(job)
    return "" if share is None or job.state != "running" else f"{share:.0%}"


def share_done(job: Job) -> float | None:
    """How much of the phase is done, from 0 to 1; None where nobody knows."""
    if job.bytes_total:
        return min(job.bytes_done / job.bytes_total, 1.0)
    if job.items_total:
        return min(job.items_done / job.items_total, 1.0)
    return None


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells: padded, or cut at its end."""
    missing = width - (len(text) if text.isascii() else cell_len(text))
    if missing >= 0:
        return " " * missing + text if right else text + " " * missing
    return set_cell_size(text, width)


def cut_middle(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells; what is too long loses its middle."""
    if (len(text) if text.isascii() else cell_len(text)) <= width:
        return text
    if width < 3:
        return set_cell_size(text, max(width, 0))
    tail = (width - 1) // 2
    head = width - 1 - tail
    return f"{_start(text, head)}…{_end(text, tail)}"


def _start(text: str, width: int) -> str:
    return chop_cells(text, width)[0] if width > 0 else ""


def _end(text: str, width: int) -> str:
    taken = len(text)
    cells = 0
    while taken > 0 and cells + cell_len(text[taken - 1]) <= width:
        cells += cell_len(text[taken - 1])
        taken -= 1
    while taken < len(text) and cell_len(text[taken]) == 0:
        taken += 1  # a combining mark without its letter
    return text[taken:]


def size_text(size_bytes: float | None) -> str:
    """``8.3 MB``, at most eight cells."""
    if size_bytes is None:
        return ""
    if size_bytes < 1000:
        return f"{int(size_bytes)} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size_bytes /= 1000
        if size_bytes < 999.95:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes:.0f} PB"


_AGES = ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h"), (14 * 86400, 86400, "d"))


def age_text(age_s: float) -> str:
    """``40s``, ``12m``, ``5h``, ``3d``, ``6w``, ``14mo``, ``3y``: at most four cells."""
    age_s = max(age_s, 0)
    for below, unit_s, letter in _AGES:
        if age_s < below:
            return f"{int(age_s // unit_s)}{letter}"
    days = age_s / 86400
    if days < 70:
        return f"{int(days // 7)}w"
    return f"{int(days // 30.44)}mo" if days < 730 else f"{min(int(days // 365.25), 999)}y"


def duration_text(duration_s: float) -> str:
    """``0:05``, ``12:30``, ``1:02:03``."""
    minutes, seconds = divmod(max(int(duration_s), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
