from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dsmanager.screens.cells import (
    age_text,
    cut_middle,
    duration_text,
    fit,
    layout_for,
    row_cells,
    size_text,
)
from dsmanager.screens.rows import Row
from dsmanager.text import plain

bounded = settings(deadline=None, max_examples=200)
names = st.text(max_size=60).map(plain)


@bounded
@given(names, st.integers(0, 80))
def test_a_text_fits_its_cells_exactly_whatever_its_letters(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width


@bounded
@given(names, st.integers(1, 40))
def test_a_long_name_loses_its_middle_and_keeps_both_ends(text: str, width: int) -> None:
    cut = cut_middle(text, width)
    assert cell_len(cut) <= width
    if cell_len(text) > width >= 3:
        head, _, tail = cut.partition("…")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert not tail or not unicodedata.combining(tail[0])


@bounded
@given(st.integers(0, 10**17))
def test_sizes_take_at_most_eight_cells(size: int) -> None:
    assert len(size_text(size)) <= 9 if size >= 10**16 else len(size_text(size)) <= 8


@bounded
@given(st.floats(-1e6, 1e11))
def test_ages_take_at_most_four_cells(age_s: float) -> None:
    assert 2 <= len(age_text(age_s)) <= 4


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86400 * 3, "3d"), (86400 * 21, "3w"),
     (86400 * 100, "3mo"), (86400 * 800, "2y")],
)  # fmt: skip
def test_ages_are_told_in_one_unit(age_s: float, words: str) -> None:
    assert age_text(age_s) == words


def test_durations_read_like_a_clock() -> None:
    assert [duration_text(each) for each in (5, 750, 3723)] == ["0:05", "12:30", "1:02:03"]


@pytest.mark.parametrize("width", [*range(50, 130), 200, 300])
def test_columns_fill_the_width_and_name_the_three_places(width: int) -> None:
    layout = layout_for(width)
    columns = dict(layout.columns)
    assert sum(columns.values()) == width
    assert {"name", "version", "built", "cached", "remote"} <= columns.keys()
    assert columns["name"] >= 8
    assert columns["built"] >= len("Built ▲")
    assert columns["cached"] >= len("Cached ▲")
    assert columns["remote"] >= len("Remote ▲")


@pytest.mark.parametrize("width", [60, 79, 99, 119, 199])
@pytest.mark.parametrize(
    "name", ["digit", "名前" * 20, "e\u0301" * 50, "x" * 200, "a[/b]", "[red]x", "\x1b[31mred"]
)
def test_a_row_is_exactly_as_wide_as_the_table(
    row: Callable[..., Row], width: int, name: str
) -> None:
    shown = row(name, built=1, cached=2, remote=2, recorded=2)
    cells = row_cells(shown, layout_for(width), now_s=2e9, is_marked=True, job=None)
    text = "".join(cell.text for cell in cells)
    assert cell_len(text) == width
    assert "\x1b" not in text


def test_every_cell_carries_its_marker_beside_the_colour(row: Callable[..., Row]) -> None:
    shown = row("digit", built=1, cached=5, remote=6, recorded=5)
    cells = row_cells(shown, layout_for(79), now_s=2e9, is_marked=False, job=None)
    assert [cell.text.strip() for cell in cells[3:7]] == ["=", "=", "*", "="]
