"""The command line's own contracts: envelope, exit codes, options, aliases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsmanager.cli.arguments import normalised

ROOT = Path(__file__).parents[2]


def test_without_arguments_and_terminal_it_prints_help_and_exits_2(machine):
    done = machine.run(code=2)
    assert "Usage: dsmanager" in done.stderr
    assert done.stdout == ""


def test_the_envelope_has_these_keys(built_machine):
    envelope = built_machine.json("list")
    assert list(envelope) == ["schema", "command", "status", "data", "errors"]
    assert envelope["schema"] == 1
    row = next(row for row in envelope["data"] if row["ref"] == "tiny:1.0.0")
    assert list(row) == [
        "ref", "name", "config", "version", "state", "built", "cached", "remote", "recorded",
    ]  # fmt: skip
    assert list(row["built"]) == ["path", "bytes", "files", "format", "splits"]
    assert row["built"]["splits"] == {
        "train": {"examples": 300, "shards": 1},
        "test": {"examples": 20, "shards": 1},
    }
    built_machine.run("package", "tiny")
    row = built_machine.row("tiny:1.0.0")
    assert list(row["cached"]) == ["path", "bytes", "sha256", "verified_at"]
    assert list(row["recorded"]) == ["size", "sha256"]


def test_an_error_envelope_tells_code_message_hint_and_ref(machine):
    envelope = machine.json("verify", "nothing", code=6)
    assert envelope["status"] == "error"
    assert envelope["command"] == "verify"
    (error,) = envelope["errors"]
    assert list(error) == ["code", "message", "hint", "ref"]
    assert error["code"] == "not-found"
    assert error["ref"] == "nothing"


def test_usage_errors_are_in_the_envelope_too(machine):
    assert machine.json("verify", "--bogus", "x", code=2)["errors"][0]["code"] == "usage"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["list", "--json"], ["--json", "list"]),
        (["build", "x", "-o", "d", "-q"], ["-o", "d", "-q", "build", "x"]),
        (["list", "--data-dir=d"], ["--data-dir=d", "list"]),
        (["build", "-ds", "a", "b"], ["build", "a", "b"]),
        (["build", "-lcs", "p"], ["build", "--path", "p"]),
        (["build", "--list"], ["list", "--available"]),
        (["rm", "--", "--json"], ["rm", "--", "--json"]),
        (["list", "x", "--remote"], ["--remote"]),
    ],
)
def test_global_options_stand_anywhere_and_armorys_spellings_are_ours(given, meant):
    assert normalised(given) == meant


def test_a_global_option_without_its_value_is_what_is_told(machine):
    done = machine.run("verify", "digit", "--remote", code=2)
    assert done.stderr.startswith("error: Option '--remote' requires an argument.\n")


def test_read_only_refuses_every_change(built_machine):
    for verb in (
        ["build", "tiny"],
        ["package", "tiny"],
        ["extract", "tiny"],
        ["upload", "tiny"],
        ["download", "tiny"],
        ["rm", "tiny", "--from", "built", "--yes"],
        ["manifest", "record", "tiny"],
        ["remote", "add", "x", "s3://b"],
        ["remote", "serve"],
    ):
        assert "--read-only" in built_machine.run(*verb, "--read-only", code=2).stderr
    built_machine.run("list", "--read-only")


def test_removal_shows_what_goes_and_needs_a_yes(built_machine):
    refused = built_machine.run("rm", "tiny", "--from", "built", code=2)
    assert str(built_machine.data_dir / "tiny/1.0.0") in refused.stderr
    assert (built_machine.data_dir / "tiny/1.0.0").exists()
    removed = built_machine.json("rm", "tiny", "--from", "built", "--yes")["data"][0]
    assert removed["bytes"] > 0
    assert not (built_machine.data_dir / "tiny").exists()


def test_removal_reaches_remote_cache_and_manifest(built_machine, remote_config):
    built_machine.use(remote_config)
    built_machine.library.publish("tiny")
    places = ["remote", "cached", "recorded"]
    asked = [part for place in places for part in ("--from", place)]
    removed = built_machine.json("rm", "tiny", *asked, "--yes")["data"]
    assert {row["from"] for row in removed} == set(places)
    row = built_machine.row("tiny:1.0.0")
    assert (row["cached"], row["remote"], row["recorded"]) == (None, None, None)
    assert list(built_machine.cache.iterdir()) == []


def test_list_filters_by_words_and_predicates(built_machine):
    built_machine.run("package", "tiny")

    def refs(*query: str) -> list[str]:
        return [row["ref"] for row in built_machine.json("list", *query)["data"]]

    assert refs("tiny") == refs("state:ok") == refs("in:cached") == ["tiny:1.0.0"]
    assert refs("several*", "config:rgb") == ["several/rgb:2.1.0"]
    assert refs("size>100k", "not:tiny") == []
    assert refs("size>100k") == ["tiny:1.0.0"]
    built_machine.run("list", "state:bogus", code=2)


def test_what_can_be_built_is_listed_without_building(machine):
    rows = machine.json("list", "--available", "digit")["data"]
    origins = {row["name"]: row["builder"]["origin"] for row in rows}
    assert origins["digit"] == "catalogue"
    assert origins["spoken_digit"] == "tfds"
    assert "spoken_digit" in machine.run("list", "--available").stdout


def test_info_tells_splits_features_files_and_previews(built_machine):
    facts = built_machine.json("info", "tiny", "--preview")["data"][0]
    assert facts["features"] == {"number": "Scalar", "word": "Text"}
    assert facts["splits"]["train"]["examples"] == 300
    assert "dataset_info.json" in facts["files"]
    assert facts["preview"][0]["word"].startswith("word ")
    built_machine.run("info", "tiny", "--preview")


def test_a_server_that_was_not_started_does_not_run_and_is_stopped(machine):
    serve = ("remote", "serve", "quiet")
    assert "quiet does not run; its data" in machine.run(*serve, "--status").stdout
    assert "quiet is stopped; its data" in machine.run(*serve, "--stop").stdout


def test_control_characters_of_a_name_never_reach_the_terminal(machine):
    machine.data_dir.mkdir()
    machine.manifest.write_text('{"schema": 2, "datasets": {"a\\u001b[31mred": 1}}')
    for verb in (["list"], ["package", "b\x1b[31mblue"], ["--remote", "c\x1b[0m", "list"]):
        done = machine.run(*verb, code=None)
        assert done.returncode in (2, 6)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_verb_refuses_to_work_twice_at_once_and_says_for_whom(built_machine, wait_until):
    """The second process waits for the first, whose lock names it."""
    import fcntl
    import subprocess
    import sys

    lock = built_machine.data_dir / "tiny__1.0.0.lock"
    with open(lock, "w") as held:
        held.write("4711 build tiny:1.0.0\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [sys.executable, "-m", "dsmanager", "package", "tiny"],
            env=built_machine.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "waiting for process 4711 (build tiny:1.0.0)" in waiting.stderr.readline()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0


@pytest.mark.parametrize(
    ("maker", "page"), [("make_commands.py", "commands.md"), ("make_keys.py", "tui.md")]
)
def test_what_is_documented_is_what_there_is(maker, page):
    """These pages are generated; this says how when one is out of date."""
    import subprocess
    import sys

    script = ROOT / "docs" / maker
    made = subprocess.run(
        [sys.executable, str(script), "--print"], capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "docs" / page).read_text(), f"run: python docs/{maker}"


def test_every_command_that_the_readme_shows_exists():
    from dsmanager.cli.main import VERBS

    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "armory.md").read_text()
    shown = set(re.findall(r"(?:\$ |`)dsmanager ([a-z]+)", text))
    assert shown
    assert shown <= set(VERBS)


def test_the_program_lists_every_verb_that_there_is():
    from dsmanager.cli import verbs
    from dsmanager.cli.main import VERBS

    files = Path(next(iter(verbs.__path__))).glob("*.py")
    assert {file.stem for file in files if file.stem != "__init__"} == set(VERBS)
    assert all(len(summary) <= 66 for summary in VERBS.values())  # a line of 80 columns
