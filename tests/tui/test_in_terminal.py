"""The program as people use it: keys in, a screen out, and what came of it on disk and remote."""

from __future__ import annotations

import json
import re
import signal
import termios
from unicodedata import normalize

import pytest
from harness.machine import new_machine
from harness.terminal import Terminal

from dsmanager.remotes.remote import Remote

SIZES = [(80, 24), (120, 40), (200, 60)]
TINY = "tiny__1.0.0__cache.tar.gz"


def select(terminal: Terminal, name: str) -> None:
    """Filters, so that the row of ``name`` is the only one and has the cursor."""
    wait_listed(terminal)
    select_local(terminal, name)


def select_local(terminal: Terminal, name: str) -> None:
    terminal.press("/")
    terminal.wait_for("state:not-built")  # the hint in the empty field
    terminal.type(name)
    terminal.press("enter")
    terminal.wait_for("1 of ")


def wait_listed(terminal: Terminal) -> str:
    """Waits until the remote was listed: its age stands there."""
    return terminal.wait_for(lambda text: re.search(r"listed \d+s ago", text) is not None)


def job_done(terminal: Terminal, verb: str, *, state: str = "done") -> str:
    """Waits until the newest job of ``verb`` is shown as ended."""
    return terminal.wait_for(lambda text: re.search(rf"\d+ +{verb} .*{state}", text) is not None)


def jobs_of(machine, verb: str) -> list[dict]:
    return [row for row in machine.json("jobs", "--all")["data"] if row["kind"] == verb]


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_headings_names_and_versions_stand_at_every_size(
    machine, open_terminal, columns, lines
) -> None:
    terminal = open_terminal(machine, columns=columns, lines=lines)
    text = terminal.wait_for(lambda text: "several/rgb" in text and "s ago" in text)
    for word in ("Built", "Cached", "Remote", "Manifest", "several/all", "tiny", "2.1.0", "1.0.0"):
        assert word in text
    terminal.press("?")
    terminal.wait_for("damaged or unreadable")
    terminal.press("escape")
    terminal.wait_gone("damaged or unreadable")
    terminal.press("q")
    assert terminal.wait_end() == 0


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_whole_life_by_keys(machine, open_terminal, columns, lines) -> None:
    terminal = open_terminal(machine, columns=columns, lines=lines)
    wait_listed(terminal)
    select(terminal, "tiny")
    terminal.press("p")
    job_done(terminal, "package")
    assert machine.row("tiny:1.0.0")["recorded"]["sha256"]
    terminal.wait_for("not-uploaded")
    terminal.press("v")
    job_done(terminal, "verify")
    assert machine.row("tiny:1.0.0")["cached"]["verified_at"]
    terminal.press("u")
    job_done(terminal, "upload")
    remote = Remote(machine.library.remote.config)
    assert {each.name for each in remote.list()} == {TINY, f"{TINY}.json"}
    terminal.wait_for(": ok")

    terminal.press("D")
    terminal.wait_for("Remove tiny:1.0.0")
    terminal.press("enter")  # Cancel has the focus: a bare Enter removes nothing
    terminal.wait_gone("Remove tiny:1.0.0")
    assert (machine.data_dir / "tiny" / "1.0.0").is_dir()
    machine.run("rm", "tiny", "--from", "built", "--from", "cached", "--yes")
    terminal.wait_for("not-built")

    terminal.press("d")
    job_done(terminal, "download")
    assert (machine.cache / TINY).is_file()
    terminal.wait_for(  # cached, remote and recorded are alike
        lambda text: any(re.match(r" *tiny +1\.0\.0( .*=){3}", row) for row in text.splitlines())
    )
    terminal.press("x")
    job_done(terminal, "extract")
    terminal.wait_for(": ok")
    assert machine.json("verify", "tiny", "--in", "built")["status"] == "success"
    terminal.press("ctrl+q")
    assert terminal.wait_end() == 0
    assert not machine.leftovers()


def test_build_opens_a_dialog_and_builds(machine, open_terminal) -> None:
    machine.run("rm", "tiny", "--from", "built", "--yes")
    terminal = open_terminal(machine)
    terminal.wait_for("several/rgb")
    terminal.press("/")
    terminal.wait_for("state:not-built")
    terminal.type("nothing-of-this-name\rb")  # the last two ahead of what is drawn
    terminal.wait_for("Name or path")
    terminal.type("tiny")
    terminal.wait_for("tiny:1.0.0")
    terminal.press("enter")
    job_done(terminal, "build")
    assert machine.row("tiny:1.0.0")["built"]["splits"]["train"]["examples"] == 300


def test_sync_shows_its_plan_first_and_then_does_exactly_that(machine, open_terminal) -> None:
    machine.run("package", "tiny")
    machine.run("upload", "tiny")
    machine.run("rm", "tiny", "--from", "built", "--from", "cached", "--yes")
    terminal = open_terminal(machine)
    wait_listed(terminal)
    terminal.press("Y")
    terminal.wait_for(lambda text: "plan:" in text and "download" in text and "extract" in text)
    assert not machine.cache.joinpath(TINY).exists()
    terminal.press("enter")  # Start has the focus once there is a plan
    job_done(terminal, "sync")
    assert machine.row("tiny:1.0.0")["state"] == "ok"


def test_removal_from_the_remote_asks_for_the_name(machine, open_terminal) -> None:
    machine.run("package", "tiny")
    machine.run("upload", "tiny")
    terminal = open_terminal(machine)
    select(terminal, "tiny")
    terminal.wait_for(": ok")
    terminal.press("D")
    terminal.wait_for("Remove tiny:1.0.0")
    terminal.move_to("] recorded", "shift+tab")  # from Cancel; Remove cannot be reached yet
    terminal.move_to("] remote", "up")
    terminal.press("space")
    terminal.wait_for("type tiny to go on")
    terminal.move_to("] recorded", "tab")
    terminal.move_to("Type its name", "tab")
    terminal.type("tin")
    terminal.wait_for(lambda text: re.search(r"its name +tin\b", text) is not None)
    assert "type tiny to go on" in terminal.text
    terminal.type("y")
    terminal.wait_gone("type tiny to go on")
    terminal.move_to("Remove      Cancel", "tab")
    terminal.press("enter")
    job_done(terminal, "rm")
    assert not Remote(machine.library.remote.config).list()
    assert (machine.cache / TINY).is_file()


def test_read_only_disables_changes_and_says_why(machine, open_terminal) -> None:
    terminal = open_terminal(machine, "--read-only")
    select(terminal, "tiny")
    terminal.press("p")
    terminal.wait_for("Package: this was started with --read-only")
    terminal.press("D")
    terminal.wait_for("Remove: this was started with --read-only")
    assert not machine.json("jobs", "--all")["data"]


def test_closing_the_terminal_leaves_upload_and_build_running(machine, open_terminal) -> None:
    machine.run("package", "tiny")
    go = machine.root / "go"
    slow = machine.root / "builders" / "slow"
    slow.mkdir(parents=True)
    (slow / "slow.py").write_text(SLOW_BUILDER.replace("GO", str(go)))

    def both_run() -> bool:
        states = {row["kind"]: row["state"] for row in machine.json("jobs")["data"]}
        return states == {"build": "running", "upload": "running"}

    machine.run("--detach", "build", "--path", str(slow))
    try:
        terminal = open_terminal(machine)
        terminal.wait_for(lambda text: re.search(r"build +slow", text) is not None)
        machine.run("--detach", "upload", "tiny", "--limit-rate", "500")  # for some 15 s
        terminal.wait_for(lambda text: re.search(r"upload +tiny", text) is not None)
        terminal.wait_for(lambda _: both_run())
        terminal.close()  # as a lost connection does
        terminal.wait_end()
        assert both_run()
    finally:
        go.touch()
    for kind in ("upload", "build"):
        machine.run("attach", str(jobs_of(machine, kind)[0]["id"]))
    assert machine.row("slow:1.0.0")["built"]["splits"]["train"]["examples"] == 40
    assert machine.row("tiny:1.0.0")["remote"]


SLOW_BUILDER = '''
import os
import time

import numpy as np
import tensorflow_datasets as tfds


class Slow(tfds.core.GeneratorBasedBuilder):
    """Waits for somebody to let it go on."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        features = {"number": tfds.features.Scalar(np.int64)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(40)}

    def _generate_examples(self, count):
        for number in range(count):
            while number and not os.path.exists("GO"):
                time.sleep(0.05)
            yield number, {"number": number}
'''


def test_quitting_names_running_jobs_and_leaves_them(machine, open_terminal) -> None:
    machine.run("package", "tiny")
    machine.run("--detach", "upload", "tiny", "--limit-rate", "2k")
    terminal = open_terminal(machine)
    terminal.wait_for(lambda text: re.search(r"upload +tiny", text) is not None)
    terminal.press("q")
    text = terminal.wait_for("Leave running")
    assert "upload tiny" in text
    terminal.press("escape")  # stay
    terminal.wait_gone("Leave running")
    terminal.press("q")
    terminal.wait_for("Leave running")
    terminal.press("enter")
    assert terminal.wait_end() == 0
    number = jobs_of(machine, "upload")[0]["id"]
    machine.run("cancel", str(number))


def test_a_job_is_cancelled_and_tried_again_from_its_pane(machine, open_terminal) -> None:
    machine.run("package", "tiny")
    machine.run("--detach", "upload", "tiny", "--limit-rate", "1k")
    terminal = open_terminal(machine)
    terminal.wait_for(lambda text: re.search(r"upload +tiny", text) is not None)
    terminal.press("tab")
    terminal.wait_for("Cancel job")
    terminal.press("c")
    job_done(terminal, "upload", state="cancelled")
    remote = Remote(machine.library.remote.config)
    assert not remote.list()
    assert not remote.unfinished_uploads()
    terminal.press("enter")
    terminal.wait_for("cancelled")
    terminal.press("escape")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_and_restores_the_terminal(machine, open_terminal, number) -> None:
    terminal = open_terminal(machine)
    wait_listed(terminal)
    assert not _echoes(terminal.modes)
    terminal.process.send_signal(number)
    terminal.wait_end()
    assert terminal.modes == terminal.modes_before
    tail = bytes(terminal.received[-4000:])
    assert b"\x1b[?1049l" in tail, "the alternate screen is left"
    assert b"\x1b[?25h" in tail, "the cursor is shown"


def _echoes(modes) -> bool:
    return bool(modes[3] & termios.ECHO)


def test_a_dead_remote_blocks_no_key(machine, open_terminal) -> None:
    config = machine.root / "config.toml"
    text = config.read_text()
    config.write_text(
        re.sub(r'endpoint_url = "[^"]*"', 'endpoint_url = "http://127.0.0.1:1"', text)
    )
    terminal = open_terminal(machine)
    terminal.wait_for("several/rgb")
    terminal.press("down", "space")
    terminal.wait_for("1 marked")
    terminal.wait_for(lambda text: "cannot" in text.lower() or "refused" in text.lower())
    terminal.press("q")
    assert terminal.wait_end(timeout_s=5) == 0


def test_an_expired_credential_shows_with_its_reason(machine, open_terminal, remote_config) -> None:
    wrong = machine.root / "wrong.json"
    wrong.write_text(json.dumps({"access_key": "nobody", "secret_key": "nothing"}))
    config = machine.root / "config.toml"
    text = config.read_text()
    config.write_text(re.sub(r'credentials_file = "[^"]*"', f'credentials_file = "{wrong}"', text))
    terminal = open_terminal(machine, columns=160)
    terminal.wait_for("does not know this access key")
    assert "nothing" not in terminal.text  # never the secret


def test_names_and_texts_are_shown_as_they_are(machine, open_terminal) -> None:
    """Markup, escape sequences, wide and combining characters, and a name of 200 letters."""
    builder = machine.root / "odd" / "odd.py"
    builder.parent.mkdir()
    builder.write_text(ODD_BUILDER)
    odd = new_machine(machine.root / "a[/b] [red]x 漢字")
    odd.run("build", "--path", str(builder))
    long = "long_" + "n" * 195
    version = odd.data_dir / "odd" / "1.0.0"
    copy = odd.data_dir / long / "1.0.0"
    copy.mkdir(parents=True)
    for path in version.iterdir():
        content = path.read_bytes()
        if path.suffix == ".json":
            content = content.replace(b'"odd"', f'"{long}"'.encode())
        (copy / path.name).write_bytes(content)
    for columns, lines in SIZES:
        terminal = open_terminal(odd, columns=columns, lines=lines)
        text = terminal.wait_for(lambda text: "odd " in text and "long_nn" in text)
        assert "1.0.0" in next(line for line in text.splitlines() if "long_nn" in line)
        select_local(terminal, "odd")
        terminal.press("enter")
        text = terminal.wait_for("Examples")
        terminal.press("2")
        text = terminal.wait_for(lambda text: "\u00e9" in normalize("NFC", text))
        assert "a[/b] [red]x" in text
        assert "漢" in text.replace(" ", "")
        assert b"\x1b[31;5m" not in terminal.received
        assert b"\x1b]0;" not in terminal.received
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0


ODD_BUILDER = """
import tensorflow_datasets as tfds


class Odd(tfds.core.GeneratorBasedBuilder):
    '''A [bold]description[/bold] with \\x1b[31;5mcolour.'''

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        features = {"[red]x": tfds.features.Text(), "text": tfds.features.Text()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        text = "a[/b] [red]x \\x1b[31;5m \\x1b]0;title\\x07 漢字 e\\u0301"
        yield 0, {"[red]x": text, "text": text}
"""


def test_copying_goes_through_the_terminal(machine, open_terminal) -> None:
    terminal = open_terminal(machine)
    select(terminal, "tiny")
    terminal.press("c")
    terminal.wait_for("Copied path")
    assert b"\x1b]52;c;" in terminal.received


def test_no_color_is_heeded(machine, open_terminal) -> None:
    machine.extra["NO_COLOR"] = "1"
    terminal = open_terminal(machine)
    terminal.wait_for("several/rgb")
    colours = re.findall(rb"\x1b\[[0-9;]*[34]8;2;(\d+);(\d+);(\d+)", bytes(terminal.received))
    assert all(red == green == blue for red, green, blue in colours)


def test_other_places_are_made_from_dialogs(machine, open_terminal) -> None:
    terminal = open_terminal(machine)
    wait_listed(terminal)
    terminal.press("R")
    terminal.wait_for("Add a remote")
    terminal.type("team")
    terminal.move_to("URL ", "tab")
    terminal.type("s3://bucket/prefix")
    terminal.press("enter")
    terminal.wait_gone("Add a remote")
    assert "team" in machine.library.settings.remotes

    terminal.press("N")
    terminal.wait_for("New dataset")
    terminal.type("pebbles")
    terminal.press("enter")
    terminal.wait_gone("Below folder")
    builders = machine.library.settings.builders[0]
    assert (builders / "pebbles" / "pebbles.py").is_file()


def test_what_is_typed_ahead_goes_where_it_would_if_it_were_typed_slowly(
    machine, open_terminal
) -> None:
    """Over a slow link all of it arrives at once: each dialog as a single write."""
    terminal = open_terminal(machine)
    wait_listed(terminal)
    terminal.type("Rteam\ts3://bucket/prefix\t\teu-west-1\r")
    terminal.wait_for("team added to")
    added = machine.library.settings.remotes["team"]
    assert (added.url, added.region) == ("s3://bucket/prefix", "eu-west-1")

    terminal.type("?\x1b[B\x1b[B?/several\rNmarbles\r")
    terminal.wait_for("marbles.py")
    builders = machine.library.settings.builders[0]
    assert (builders / "marbles" / "marbles.py").is_file()

    terminal.type("/\x15tiny\rD\r2q")  # Cancel has the focus: nothing is removed, then it quits
    assert terminal.wait_end() == 0
    assert (machine.data_dir / "tiny" / "1.0.0").is_dir()
    assert not machine.json("jobs", "--all")["data"]


def test_the_palette_finds_actions_and_datasets(machine, open_terminal) -> None:
    terminal = open_terminal(machine)
    wait_listed(terminal)
    terminal.press("ctrl+p")
    terminal.wait_for("An action or a dataset")
    terminal.type("Verify")
    terminal.wait_for("Datasets: Verify")
    terminal.press("escape")
    terminal.wait_gone("Datasets: Verify")
    terminal.press("ctrl+p")
    terminal.wait_for("An action or a dataset")
    terminal.type("several/rgb")
    terminal.wait_for(lambda text: text.count("several/rgb") > 1)
    terminal.press("down", "enter")
    terminal.wait_for("several/rgb:2.1.0: ")
