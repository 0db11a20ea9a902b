"""Moments and places that scripts meet: interrupts, closed outputs, races, shared names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

ARCHIVE = "tiny__1.0.0__cache.tar.gz"

INTERRUPTED = """
import os, signal, sys
import dsmanager.library.survey as looking
whole = looking.survey
def interrupted(*given):
    os.kill(os.getpid(), signal.SIGINT)
    return whole(*given)
import dsmanager.library.places as places
places.survey = interrupted
from dsmanager.cli.start import main
sys.argv = ["dsmanager", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize("verb", [["list"], ["info", "tiny"], ["verify", "tiny"]])
def test_an_interrupt_while_it_looks_around_ends_with_130(built_machine, verb):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *verb],
        env=built_machine.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


def test_read_only_load_opens_what_is_built_and_fetches_nothing(
    built_machine, other_machine, remote_config
):
    built_machine.use(remote_config)
    other_machine.use(remote_config)
    built_machine.library.publish("tiny")
    built_machine.run("--read-only", "load", "tiny")
    refused = other_machine.run("--read-only", "load", "tiny", code=6)
    assert "--read-only" in refused.stderr
    assert not other_machine.data_dir.exists()


def test_processes_that_load_at_once_all_succeed(built_machine, other_machine, remote_config):
    """As the workers of one training job do."""
    built_machine.use(remote_config)
    other_machine.use(remote_config)
    built_machine.library.publish("tiny")
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "dsmanager", "load", "tiny"],
            env=other_machine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        said, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0, said


def test_serve_does_not_take_the_name_of_another_remote(machine):
    machine.run("remote", "add", "team", "s3://bucket/x", "--anonymous")
    before = (machine.root / "config.toml").read_text()
    assert "team-local" in machine.run("remote", "serve", "team", code=7).stderr
    assert (machine.root / "config.toml").read_text() == before


def test_good_refs_go_on_beside_one_that_means_nothing(built_machine):
    mixed = built_machine.json("package", "tiny", "nosuch", code=3)
    assert [row["ref"] for row in mixed["data"]] == ["tiny:1.0.0"]
    assert [(each["code"], each["ref"]) for each in mixed["errors"]] == [("not-found", "nosuch")]
    both = built_machine.json("verify", "nosuch", "neither", code=6)
    assert [each["ref"] for each in both["errors"]] == ["nosuch", "neither"]


def test_output_that_cannot_be_written_is_an_error(built_machine):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    for verb in (["list"], ["list", "--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "dsmanager", *verb],
                env=built_machine.environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 9, done.stderr
        assert "No space left" in done.stderr


def test_closed_output_is_no_error(built_machine):
    for verb in ("list", "list --json", "--version"):
        done = subprocess.run(
            f"'{sys.executable}' -m dsmanager {verb} >&-",
            shell=True,
            env=built_machine.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_two_configs_with_one_archive_name_do_not_destroy_each_other(machine, tmp_path, builders):
    folder = tmp_path / "slashed" / "several"
    folder.mkdir(parents=True)
    text = (builders / "several/several.py").read_text()
    text = text.replace('name="rgb"', 'name="a/b"').replace('name="all"', 'name="a-b"')
    (folder / "several.py").write_text(text)
    machine.run("build", "several/*", "--path", str(folder))
    machine.run("package", "several/a-b")
    before = (machine.cache / "several__a-b__2.1.0__cache.tar.gz").read_bytes()
    refused = machine.run("package", "several/a/b", "--overwrite", code=7)
    assert "several/a-b:2.1.0" in refused.stderr
    assert (machine.cache / "several__a-b__2.1.0__cache.tar.gz").read_bytes() == before


def test_a_slash_and_a_star_mean_configs_only(built_machine):
    built_machine.run("package", "several", "--together")
    built_machine.run("package", "several/*")
    removed = built_machine.json("rm", "several/*", "--from", "cached", "--yes")["data"]
    assert {row["ref"] for row in removed} == {"several/all:2.1.0", "several/rgb:2.1.0"}
    assert (built_machine.cache / "several__2.1.0__cache.tar.gz").exists()


def test_the_envelope_of_a_usage_error_names_the_verb(machine):
    assert machine.json("info", code=2)["command"] == "info"
    assert machine.json("remote", "add", "x", code=2)["command"] == "remote add"


def test_an_unknown_predicate_is_refused(machine):
    for query in ("sizee>1g", "foo:bar", "state=ok"):
        machine.run("list", query, code=2)


def test_split_strings_that_select_nothing_are_usage_errors(built_machine):
    for split in ("train[100:50]", "train[0:0]"):
        built_machine.run("load", "tiny", "--split", split, code=2)
    built_machine.run("load", "tiny", "--split", "nosuch", code=6)


def test_a_killed_description_leaves_nothing_for_long(built_machine, builders, wait_until):
    logs = built_machine.root / "state" / "logs"
    command = [sys.executable, "-m", "dsmanager", "build", "tiny", "--path"]
    command += [str(builders / "tiny"), "--clean"]
    process = subprocess.Popen(command, env=built_machine.environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(logs.glob(".scratch.*")), "it asks the builder")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(logs.glob(".scratch.*"))
    built_machine.run(*command[3:])
    assert not any(logs.glob(".scratch.*"))


def test_ignored_signals_stay_ignored(built_machine, wait_until):
    """As under ``nohup``: the terminal goes, the work does not."""
    noise = built_machine.data_dir / "tiny/1.0.0/noise.bin"
    noise.write_bytes(os.urandom(1 << 20) * 400)
    process = subprocess.Popen(
        [sys.executable, "-m", "dsmanager", "package", "tiny"],
        env=built_machine.environment,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: any(".tmp" in each for each in built_machine.leftovers()), "it packs")
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0
    assert (built_machine.cache / ARCHIVE).exists()


def test_a_download_that_cannot_be_unpacked_is_told_as_a_download(
    built_machine, other_machine, remote_config
):
    built_machine.use(remote_config)
    other_machine.use(remote_config)
    built_machine.library.publish("tiny")
    other_machine.run("download", "tiny", "nosuch", "--extract", code=3)
    again = other_machine.json("download", "tiny", "--extract", code=7)
    assert [row["outcome"] for row in again["data"]] == ["unchanged"]
    assert again["status"] == "partial"
