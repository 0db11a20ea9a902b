from __future__ import annotations

from collections.abc import Callable

import pytest

from dsmanager.screens.rows import Row
from dsmanager.screens.view import COLUMNS, Heading, View


@pytest.fixture
def rows(row: Callable[..., Row]) -> list[Row]:
    return [
        row("apple", built=100),
        row("banana", built=3, cached=50, remote=50, recorded=50),
        row("cherry", cached=7, recorded=8),
        row("cherry", version="1.10.0", remote=70),
    ]


@pytest.fixture
def view(rows: list[Row]) -> View:
    view = View()
    view.set_rows(rows)
    return view


def refs(view: View) -> list[str]:
    return [row.ref for row in view.shown]


def test_the_filter_understands_the_predicates_of_list(view: View) -> None:
    for text, count in (
        ("cherry", 2), ("in:built", 2), ("size>60", 2), ("state:differs", 1), ("not:in:remote", 2),
        ("an in:built", 1), ("", 4),
    ):  # fmt: skip
        view.set_filter(text)
        assert len(view.shown) == count, text
        assert view.filter_error is None


def test_a_bad_term_is_told_and_hides_nothing(view: View) -> None:
    view.set_filter("state:nonsense")
    assert "nonsense" in str(view.filter_error)
    assert len(view.shown) == 4
    view.set_filter("cherry size>")
    assert view.filter_error
    assert len(view.shown) == 2


def test_cursor_and_marks_stay_on_their_refs_when_rows_come_and_go(
    view: View, rows: list[Row], row: Callable[..., Row]
) -> None:
    view.move_to(2)
    view.toggle()
    view.move_to(2)
    view.set_rows([row("aardvark", built=1), *rows[1:]])
    assert view.row is not None
    assert view.row.ref == "cherry:1.0.0"
    assert view.marks == {"cherry:1.0.0"}
    view.set_rows(rows[:2])
    assert view.marks == set()
    assert view.row is not None
    assert view.row.ref == "banana:1.0.0"


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_sorts_both_ways_and_groups(view: View, column: str) -> None:
    view.sort = "none of them"
    view.sort_by(column)
    one_way = refs(view)
    keys = [COLUMNS[column].key(row) for row in view.shown]
    assert keys == sorted(keys, reverse=COLUMNS[column].is_largest_first)
    view.sort_by(column)
    keys = [COLUMNS[column].key(row) for row in view.shown]
    assert keys == sorted(keys, reverse=not COLUMNS[column].is_largest_first)
    view.group_by(column)
    headings = [line for line in view.lines if isinstance(line, Heading)]
    assert sum(heading.count for heading in headings) == len(one_way) == 4


def test_versions_sort_as_numbers(row: Callable[..., Row]) -> None:
    view = View()
    view.set_rows([row("a", version=version, built=1) for version in ("1.10.0", "1.9.0")])
    view.sort_by("version")
    assert refs(view) == ["a:1.9.0", "a:1.10.0"]


def test_the_cursor_never_stands_on_a_heading(view: View) -> None:
    view.group_by("state")
    for line in range(-2, len(view.lines) + 2):
        view.move_to(line)
        assert view.row is not None
    seen = set()
    view.move_to(0)
    for _ in range(10):
        assert view.row is not None
        seen.add(view.row.ref)
        view.move_to(view.cursor + 1)
    assert len(seen) == 4
    for _ in range(10):
        view.move_to(view.cursor - 1)
    assert view.cursor == 1


def test_marks_all_invert_range_and_none(view: View) -> None:
    view.toggle()
    assert view.marks == {"apple:1.0.0"}
    assert view.row is not None
    assert view.row.ref == "banana:1.0.0"
    view.move_to(2)
    view.mark_range()
    assert view.marks == {"apple:1.0.0", "banana:1.0.0", "cherry:1.0.0"}
    view.invert()
    assert view.marks == {"cherry:1.10.0"}
    view.mark_all()
    assert len(view.marks) == 4
    view.unmark()
    assert view.marks == set()


def test_actions_apply_to_the_marks_else_to_the_row(view: View) -> None:
    assert [row.ref for row in view.chosen] == ["apple:1.0.0"]
    view.move_to(1)
    view.toggle()
    view.set_filter("apple")
    assert [row.ref for row in view.chosen] == ["banana:1.0.0"]


def test_nothing_at_all_can_be_looked_at(view: View) -> None:
    view.set_rows([])
    view.toggle()
    view.mark_range()
    view.move_to(5)
    assert view.row is None
    assert view.chosen == ()


def test_going_to_a_dataset_clears_the_filter_that_hides_it(view: View) -> None:
    view.set_filter("apple")
    assert view.go_to("cherry:1.0.0")
    assert view.filter_text == ""
    assert not view.go_to("nobody:1.0.0")
