from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from dsmanager.errors import UsageError
from dsmanager.screens.actions import ACTIONS, AREAS, Facts, by_id, footer_words, key_words, keys_of
from dsmanager.screens.help_screen import help_lines
from dsmanager.screens.rows import Row
from dsmanager.settings import Settings

EVERYTHING = Facts(has_remote=True, has_rows=True)


def test_every_action_has_an_area_help_and_a_place_in_the_help() -> None:
    shown = "\n".join(words for _, _, words in help_lines(keys_of({})))
    for action in ACTIONS:
        assert action.area in AREAS
        assert f"{action.verb}: {action.help}" in shown
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)


def test_no_key_is_one_that_terminals_swallow() -> None:
    for action in ACTIONS:
        for key in action.key.split(","):
            assert not key.startswith(("alt+", "ctrl+shift+"))
            assert key not in ("ctrl+m", "ctrl+h", "ctrl+i", "ctrl+j", "ctrl+b")


def test_keys_can_be_chosen_and_mistakes_are_told() -> None:
    assert keys_of({"upload": "f4"})["upload"] == "f4"
    with pytest.raises(UsageError, match="did you mean upload"):
        keys_of({"uplaod": "f4"})
    with pytest.raises(UsageError, match="to build and upload"):
        keys_of({"upload": "b"})


def test_keys_read_as_on_a_keyboard() -> None:
    assert key_words("ctrl+r,f5") == "Ctrl+R F5"
    assert key_words("question_mark") == "?"
    assert key_words("D") == "D"


@pytest.mark.parametrize("width", range(30, 200, 7))
def test_the_footer_fits_and_help_and_quit_come_first(width: int) -> None:
    listed = footer_words(keys_of({}), width)
    text = " ".join(f"{key} {verb}" for _, key, verb in listed)
    assert len(text) <= width
    assert text.endswith("? Help q Quit")
    assert all(a is not b for a, b in pairwise(listed))


def test_read_only_allows_nothing_that_changes(row: Callable[..., Row]) -> None:
    facts = Facts(is_read_only=True, has_remote=True, has_rows=True)
    for action in ACTIONS:
        if action.changes:
            assert "--read-only" in str(action.why_not([row("a", built=1)], facts))
    for verb in ("build", "package", "extract", "upload", "download", "sync", "remove"):
        assert by_id(verb).changes
    assert by_id("verify").why_not([row("a", built=1)], facts) is None


@pytest.mark.parametrize(
    ("action", "places", "reason"),
    [
        ("package", {"cached": 1}, "cached already"),
        ("package", {"remote": 1}, "not built"),
        ("package", {"built": 1}, None),
        ("extract", {"built": 1}, "built already"),
        ("extract", {"remote": 1}, "not cached"),
        ("extract", {"cached": 1}, None),
        ("extract", {"cached": 1, "built": 1, "problem": "broken"}, None),
        ("upload", {"built": 1}, "not cached"),
        ("upload", {"cached": 1}, None),
        ("download", {"built": 1}, "not on the remote"),
        ("download", {"remote": 1}, None),
        ("download", {"remote": 1, "cached": 1}, "cached already"),
        ("verify", {"remote": 1}, "neither built nor cached"),
        ("copy-url", {"built": 1}, "not on the remote"),
        ("copy-sha256", {"built": 1}, "no sha256"),
        ("remove", {"recorded": 1}, None),
    ],
)
def test_what_cannot_be_done_says_why(
    row: Callable[..., Row], action: str, places: dict[str, object], reason: str | None
) -> None:
    why = by_id(action).why_not([row("digit", **places)], EVERYTHING)
    if reason is None:
        assert why is None
    else:
        assert reason in str(why)
        assert "digit" in str(why)


def test_without_a_remote_nothing_is_sent(row: Callable[..., Row]) -> None:
    assert "no remote" in str(by_id("upload").why_not([row("a", cached=1)], Facts()))


def test_of_several_rows_those_that_fit_are_taken(row: Callable[..., Row]) -> None:
    rows = [row("a", built=1), row("b", remote=1)]
    package = by_id("package")
    assert package.why_not(rows, EVERYTHING) is None
    assert [each.ref for each in package.able(rows, EVERYTHING)] == ["a:1.0.0"]
    assert "b:1.0.0 is not built" in str(package.skipped(rows, EVERYTHING))


def test_only_what_makes_something_new_needs_no_row() -> None:
    free = {
        a.id for a in ACTIONS if a.scope in ("rows", "row") and a.why_not([], EVERYTHING) is None
    }
    assert free == {"build", "sync"}


def test_the_config_names_keys_and_theme_and_mistakes_are_told(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"

    def load(text: str) -> Settings:
        config.write_text(text)
        return Settings.load(environ={"DSMANAGER_CONFIG": str(config)}, working_dir=tmp_path)

    settings = load('theme = "nord"\n[keys]\nupload = "f4"\n')
    assert (settings.theme, settings.keys) == ("nord", {"upload": "f4"})
    for bad in ("keys = 1", "[keys]\nupload = 4", "theme = 4"):
        with pytest.raises(UsageError, match=r"keys|theme"):
            load(bad)
