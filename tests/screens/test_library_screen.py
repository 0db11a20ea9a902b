"""The library screen, driven by keys without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmanager.jobs.registry import Jobs
from dsmanager.library.library import Library
from dsmanager.screens.job_screen import LogFollower
from dsmanager.screens.rows import Row
from dsmanager.screens.snapshot import Snapshot, snapshot_path, write_snapshot
from dsmanager.settings import RemoteConfig, Settings

Drive = Callable[..., None]


def remembered(settings: Settings, rows: list[Row]) -> None:
    """What a look would have left: the first paint comes from it."""
    write_snapshot(snapshot_path(settings), Snapshot([row.raw for row in rows], 1.0, 1.0))


@pytest.mark.parametrize("size", [(80, 24), (99, 30), (120, 40), (200, 60), (60, 20)])
def test_at_every_size_the_places_are_headings_and_names_are_readable(
    drive: Drive, settings: Settings, size: tuple[int, int]
) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("apple", "banana", "cherry", "1.0.0", "Built", "Cached", "Remote")
        await driver.sees("3 datasets", "apple:1.0.0: not-cached", "? Help", "q Quit")

    drive(settings, steps, size=size)


def test_the_first_paint_comes_from_what_is_known(
    drive: Drive, settings: Settings, row: Callable[..., Row]
) -> None:
    remembered(settings, [row("known", built=8_300_000, cached=1, has_remote=False)])

    async def steps(driver: Any) -> None:
        assert "known" in driver.text
        assert "8.3 MB" in driver.text
        await driver.sees("apple")
        assert "known" not in driver.text

    drive(settings, steps, size=(120, 40))


SHOWN = ("a[/b]", "[red]x", "[bold]", "wide名前宽", "e\u0301combined")
ODD = [*SHOWN, "\x1b[31mred", "x" * 200, "l\u202er"]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_odd_names_are_shown_as_they_are(
    drive: Drive, settings: Settings, row: Callable[..., Row], size: tuple[int, int]
) -> None:
    settings = replace(settings, data_dir=settings.data_dir / "nothing")
    remembered(settings, [row(name, built=1, has_remote=False) for name in sorted(ODD)])

    async def steps(driver: Any) -> None:
        app = driver.app
        for words in (*SHOWN, "\ufffd[31mred", "l\ufffdr"):
            assert words in driver.text
        assert "xxxx…xxxx" in driver.text
        assert "\x1b" not in driver.text
        for _ in ODD:
            await driver.press("down")
        await driver.press("slash")
        await driver.press("left_square_bracket")
        assert app.library.view.filter_text == "["

    drive(settings, steps, size=size)


def test_the_filter_tells_bad_predicates_and_esc_clears_it(
    drive: Drive, settings: Settings
) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("slash")
        await driver.type("size>1k")
        await driver.sees("1 of 3 datasets", "Filter")
        assert "apple " not in driver.text
        await driver.type(" state:x")
        await driver.sees("there is no state 'x'")
        await driver.press("enter")
        await driver.sees("Filter size>1k state:x")
        await driver.press("escape")
        await driver.sees("3 datasets", "apple")
        assert "Filter" not in driver.text

    drive(settings, steps)


def test_marks_sort_and_group_are_told(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("space", "space")
        await driver.sees("3 datasets, 2 marked", "● apple", "● banana")
        await driver.press("i")
        await driver.sees("1 marked", "● cherry")
        await driver.press("escape")
        assert "marked" not in driver.text
        driver.app.library.sort_by("size")
        await driver.sees("Size ▼")
        assert [row.ref.partition(":")[0] for row in driver.app.library.view.shown] == [
            "banana",
            "apple",
            "cherry",
        ]
        await driver.press("S")
        await driver.sees("Size ▲")
        await driver.press("g")
        await driver.sees("not-cached (3)", "by State")

    drive(settings, steps)


def test_a_cursor_on_a_row_stays_there_when_others_come(
    drive: Drive, settings: Settings, dataset: Callable[..., None]
) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("down")
        dataset(settings.data_dir, "aardvark")
        await driver.sees("aardvark", "4 datasets", "banana:1.0.0: not-cached")

    drive(settings, steps)


def test_package_is_a_job_with_its_outcome_on_disk_and_in_the_row(
    drive: Drive, settings: Settings
) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("space", "space", "p")
        await driver.sees("Package of 2 datasets: job 1", "Jobs:")
        await driver.sees("package", "done in", timeout_s=60)
        view = driver.app.library.view
        await driver.holds(lambda: [r.marker("cached") for r in view.rows] == ["=", "=", "-"], "=")
        await driver.press("p")
        await driver.sees("1 done")

    drive(settings, steps)
    archives = sorted(path.name for path in settings.cache_dir.glob("*.tar.gz"))
    assert archives == ["apple__1.0.0__cache.tar.gz", "banana__1.0.0__cache.tar.gz"]


def test_what_cannot_be_done_says_why(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("x")
        await driver.sees("Extract: apple:1.0.0 is built already; X extracts it again")
        await driver.press("u")
        await driver.sees("no remote is configured")
        assert not driver.app.model.jobs

    drive(settings, steps)


def test_read_only_starts_nothing(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry", "read-only")
        for key in "pxudbyDNRE":
            await driver.press(key)
        await driver.sees("this was started with --read-only")
        assert driver.app.screen is driver.app.library

    drive(settings, steps, is_read_only=True)
    assert Jobs(settings.state_dir).all() == []


def test_keys_can_be_rebound(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry", "F4 Package")
        await driver.press("p")
        assert not driver.app.model.jobs
        await driver.press("f4")
        await driver.sees("Package of apple:1.0.0: job 1")

    drive(replace(settings, keys={"package": "f4"}), steps)


def test_help_lists_keys_and_markers(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("question_mark")
        await driver.sees("Help", "only here", "differs", "damaged or unreadable", "not checked")
        await driver.press("escape")
        await driver.sees("q Quit")
        assert driver.app.screen is driver.app.library

    drive(settings, steps, size=(120, 40))


def test_the_palette_finds_actions_and_datasets(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("ctrl+p")
        await driver.sees("Datasets: Build")
        await driver.type("cherr")
        await driver.sees("Go to: cherry:1.0.0")
        await driver.press("down", "enter")
        await driver.sees("cherry:1.0.0: not-cached")

    drive(settings, steps, size=(120, 40))


def test_copies_go_to_the_clipboard(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.press("c")
        await driver.sees("Copied path")
        assert driver.app.clipboard == str(settings.data_dir / "apple/1.0.0")
        await driver.press("h")
        await driver.sees("no sha256 is known of apple:1.0.0")

    drive(settings, steps, size=(120, 40))


def test_a_theme_is_taken_from_the_config_and_else_remembered(
    drive: Drive, settings: Settings
) -> None:
    async def choose(driver: Any) -> None:
        driver.app.theme = "nord"
        chosen = settings.state_dir / "screens" / "theme"
        await driver.holds(chosen.exists, "the theme is not remembered")

    async def remembers(driver: Any) -> None:
        assert driver.app.theme == "nord"

    async def configured(driver: Any) -> None:
        assert driver.app.theme == "dracula"

    drive(settings, choose)
    drive(settings, remembers)
    drive(replace(settings, theme="dracula"), configured)
    drive(replace(settings, theme="no such"), lambda driver: driver.pilot.pause())


def test_a_dead_remote_is_told_and_blocks_no_key(drive: Drive, settings: Settings) -> None:
    dead = RemoteConfig("dead", "s3://bucket/x", endpoint_url="http://127.0.0.1:9", anonymous=True)

    async def steps(driver: Any) -> None:
        await driver.sees("cherry", "Remote dead")
        await driver.press("down")
        await driver.sees("banana:1.0.0: not-cached")
        await driver.sees("Remote dead !", "127.0.0.1:9")
        await driver.press("q")

    drive(replace(settings, remotes={"dead": dead}), steps, size=(120, 40))


def test_an_empty_library_says_what_to_do(drive: Drive, settings: Settings, tmp_path: Path) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("Nothing here yet", "0 datasets")
        for key in ("space", "a", "i", "m", "down", "pagedown", "end", "g", "s", "enter", "p"):
            await driver.press(key)
        await driver.sees("there is no dataset here")

    drive(replace(settings, data_dir=tmp_path / "none", manifest=None), steps)


def test_quitting_names_running_jobs_and_leaves_them_by_default(
    drive: Drive, with_remote: Settings
) -> None:
    settings = with_remote
    with (settings.data_dir / "cherry/1.0.0/cherry-train.tfrecord-00000-of-00001").open("wb") as f:
        f.truncate(6 << 20)
    library = Library(settings=settings)
    library.package("cherry", compression="none")
    jobs = Jobs(settings.state_dir)
    job = jobs.start(settings, "upload", ["cherry", "--limit-rate", "200k"])

    async def steps(driver: Any) -> None:
        await driver.sees("1 running", "▸ upload", "cherry")
        await driver.press("q")
        await driver.sees("Quit? A job runs", f"{job.id}  upload cherry", "Leave running", "Stay")
        await driver.press("escape")
        await driver.press("tab", "c")
        await driver.holds(lambda: not jobs.get(job.id).is_active, "the job has not ended")
        await driver.sees("1 cancelled")
        await driver.press("enter")
        await driver.sees(f"Job {job.id}: dsmanager upload cherry", "Esc Back")

    drive(settings, steps, size=(120, 40))
    assert jobs.get(job.id).state == "cancelled"


def test_a_sample_that_is_due_while_the_app_ends_finds_no_screen_and_is_nothing(
    drive: Drive, settings: Settings
) -> None:
    """Screens are closed first and timers stopped last."""
    apps = []

    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        apps.append(driver.app)

    drive(settings, steps)
    (app,) = apps
    assert not app.screen_stack
    app._sample()


def test_the_mouse_moves_sorts_and_presses(drive: Drive, settings: Settings) -> None:
    async def steps(driver: Any) -> None:
        await driver.sees("cherry")
        await driver.pilot.click("#table", offset=(5, 1))
        await driver.sees("banana:1.0.0: not-cached")
        await driver.pilot.click("#headings", offset=(26, 0))
        await driver.sees("Version ▲")
        await driver.pilot.click("#footer", offset=(driver.text.splitlines()[-1].find("Help"), 0))
        await driver.sees("Esc closes")

    drive(settings, steps)


def test_a_log_is_followed_and_shown_as_plain_text(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    follower = LogFollower(log)
    assert not follower.read()
    log.write_bytes(b"one\n\x1b[31mtwo\r\nprogress 1%\rprogress 2%\nhal")
    assert follower.read()
    assert follower.lines == ["one", "\ufffd[31mtwo", "progress 2%"]
    assert not follower.read()
    with log.open("ab") as file:
        file.write(b"f [b]line\n")
    assert follower.read()
    assert follower.lines[-1] == "half [b]line"
