"""The registry reads whatever lies there; and commands that are no jobs are refused in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager.cli.main import app
from dsmanager.errors import NotFoundError, UsageError
from dsmanager.jobs.job import STATES
from dsmanager.jobs.registry import Jobs
from dsmanager.jobs.request import SLOT_OF_VERB, VALUED_OPTIONS, JobRequest, freeze

TEXTS = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [
        "running",
        "done",
        "2026-01-01T00:00:00Z",
        "9999-99-99T99:99:99Z",
        "\x1b[2J",
        "[red]x",
        "build",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
_FIELDS = (
    "state started finished phase label bytes_done bytes_total items_done items_total item_unit "
    "bytes_per_s eta_s exit_code error schema verb arguments places working_dir environment "
    "created envelope code message hint"
)
FIELDS = st.sampled_from(_FIELDS.split())
TABLES = st.dictionaries(FIELDS, VALUES, max_size=8)
FILES = st.sampled_from(["job.json", "progress.json", "result.json", "pid", "cancel"])
CONTENTS = st.binary(max_size=80) | TABLES.map(lambda value: json.dumps(value).encode())


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(contents=st.dictionaries(FILES, CONTENTS, max_size=5))
def test_whatever_stands_in_the_files_a_job_comes_out(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("state") / "jobs" / "7"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    jobs = Jobs(folder.parents[1])
    (job,) = jobs.all()
    assert job == jobs.get(7)
    assert job.id == 7
    assert job.state in STATES
    assert not job.is_active, "nobody holds its lock"
    row = json.loads(json.dumps(job.to_json(), allow_nan=False))
    for key in ("kind", "ref", "phase", "label", "item_unit"):
        assert row[key] == "" or row[key].isprintable()
    assert job.bytes_done >= 0
    assert job.items_done >= 0


@settings(deadline=None, max_examples=80)
@given(value=TABLES | VALUES)
def test_a_request_is_read_back_or_refused(value):
    request = JobRequest.from_json(value)
    if request is not None:
        assert JobRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_a_broken_job_is_shown_as_lost(place):
    for number, content in enumerate((b"", b"{", b"[" * 100_000, b'{"schema": 99}'), start=1):
        (place.jobs.folder / str(number)).mkdir(parents=True)
        (place.jobs.folder / str(number) / "job.json").write_bytes(content)
    (place.jobs.folder / "5").write_text("no folder")
    rows = place.machine.json("jobs")["data"]
    assert [(row["id"], row["state"]) for row in rows] == [(n, "lost") for n in (4, 3, 2, 1)]
    assert "lost" in place.machine.run("jobs").stdout
    assert "nobody can read what job 1" in place.machine.run("retry", "1", code=2).stderr


def test_unknown_jobs_are_not_found(place):
    for verb in ("attach", "cancel", "retry"):
        told = place.machine.run(verb, "3", code=6)
        assert told.stderr == "error: there is no job 3\n  hint: see them: dsmanager jobs\n"
    assert place.machine.json("jobs")["data"] == []
    with pytest.raises(NotFoundError):
        place.jobs.get(-1)


def test_jobs_started_at_once_get_numbers_of_their_own(place):
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: place.start("verify", "nothing"), range(4)))
    assert sorted(job.id for job in started) == [1, 2, 3, 4]
    for job in started:
        assert place.until_state(job, "done", "failed").exit_code == 6


def make_ended(place, count):
    for number in range(1, count + 1):
        folder = place.jobs.folder / str(number)
        folder.mkdir(parents=True)
        request = freeze(place.settings, "verify", [f"d{number}"], {})
        (folder / "job.json").write_text(json.dumps(request.to_json()))
        result = {"state": "done", "exit_code": 0, "finished": request.created, "error": None}
        (folder / "result.json").write_text(json.dumps(result))


def test_ended_jobs_go_in_the_end_and_numbers_do_not_come_again(place):
    make_ended(place, 30)
    jobs = place.jobs
    assert len(jobs.all()) == 30
    jobs.prune(keep=10)
    assert [job.id for job in jobs.all()] == list(range(30, 20, -1))
    told = place.machine.run("jobs")
    assert len(told.stdout.splitlines()) == 11
    month_ago = os.stat(jobs.folder).st_mtime - 31 * 86_400
    for job in jobs.all():
        for path in (*job.folder.iterdir(), job.folder):
            os.utime(path, (month_ago, month_ago))
    planned = place.machine.json("gc", "--dry-run")["data"]
    assert [row["kind"] for row in planned] == ["job"] * 10
    place.machine.run("gc")
    assert jobs.all() == []
    assert place.start("verify", "nothing").id == 31


def test_an_active_job_can_neither_be_removed_nor_tried_again(place):
    job = place.start("build", "--path", place.slow_builder())
    with pytest.raises(UsageError, match="has not ended"):
        place.jobs.remove(job.id)
    with pytest.raises(UsageError, match="has not ended"):
        place.jobs.retry(job.id)
    place.jobs.cancel(job.id)
    place.until_state(job, "cancelled")
    place.jobs.remove(job.id)
    assert place.jobs.all() == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["verify", "nothing"], 6, "nothing"),
        (["upload", "digit"], 2, "no remote is configured"),
        (["package", "digit", "--compression", "rar"], 2, "no compression"),
        (["package", "digit", "nothing"], 3, "nothing was started"),
        (["extract", "--nonsense"], 2, "nonsense"),
        (["rm", "digit", "--from", "built"], 2, "add --yes"),
        (["gc", "--dry-run"], 2, "no job"),
        (["sync", "--dry-run"], 2, "no job"),
        (["list"], 2, "'list' cannot be a job"),
        (["load", "digit"], 2, "'load' cannot be a job"),
        ([], 2, "--detach needs a verb"),
    ],
)
def test_what_cannot_be_a_job_is_told_at_once(place, arguments, code, told):
    place.make_built("digit", records=1, content=b"x")
    done = place.machine.run(*arguments, "--detach", code=code)
    assert told in done.stderr
    assert place.jobs.all() == []


def test_a_detached_verb_prints_its_job_and_does_what_the_command_does(place):
    place.make_built("digit", records=1, content=b"x")
    told = place.machine.run("package", "digit", "--compression", "none", "-v", "--detach")
    assert told.stdout == "job 1 started: package digit\n"
    assert told.stderr == "follow it: dsmanager attach 1\n"
    done = place.until_state(place.jobs.get(1), "done", "failed")
    assert (done.exit_code, done.state) == (0, "done")
    assert (place.machine.cache / "digit__1.0.0__cache.tar").exists()
    result = json.loads((done.folder / "result.json").read_bytes())
    assert result["envelope"]["data"][0]["outcome"] == "packaged"
    row = place.machine.json("--detach", "package", "digit", "--compression", "none")["data"][0]
    failed = place.until_state(place.jobs.get(row["id"]), "done", "failed")
    assert failed.exit_code == 7
    told = place.machine.json("attach", "2", code=7)
    assert told["errors"][0]["code"] == "already-exists"
    assert told["data"][0]["error"]["hint"].startswith("replace it")


def test_a_detached_sync_names_what_it_works_on(place, remote_config):
    place.machine.use(remote_config)
    place.make_built("digit", records=1, content=b"x")
    place.machine.run("package", "digit")
    row = place.machine.json("sync", "--push", "--detach")["data"][0]
    assert (row["kind"], row["ref"], row["arguments"]) == ("sync", "all", ["--push"])
    done = place.until_state(place.jobs.get(row["id"]), "done", "failed")
    assert done.state == "done", done.log.read_text()
    plan = place.machine.root / "plan.json"
    place.machine.run("rm", "digit", "--from", "cached", "--from", "built", "--yes")
    place.machine.run("sync", "--plan", str(plan))
    row = place.machine.json("sync", "--apply", "plan.json", "--detach")["data"][0]
    assert place.until_state(place.jobs.get(row["id"]), "done", "failed").state == "done"
    assert (place.machine.data_dir / "digit" / "1.0.0").is_dir()


def test_the_options_with_values_are_those_of_the_program():
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group)
    context = click.Context(root)
    commands = [root, *(root.get_command(context, verb) for verb in SLOT_OF_VERB)]
    found = {
        name
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
        for name in option.opts
        if "completion" not in name
    }
    assert found == VALUED_OPTIONS


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("jobs = 3", "jobs must be a table"),
        ("[jobs]\nbuild = 0", "jobs.build must be a number from 1 to 64"),
        ("[jobs]\ndisk = true", "jobs.disk must be a number from 1 to 64"),
        ('[jobs]\ndisk = "2"', "jobs.disk must be a number"),
        ("[jobs]\nbuilds = 2", "jobs.builds; did you mean build?"),
    ],
)
def test_a_table_of_slots_that_makes_no_sense_is_told(place, table, told):
    place.machine.root.joinpath("config.toml").write_text(table)
    assert told in place.machine.run("jobs", code=2).stderr


PROBE = """
import sys
from dsmanager.cli.main import main
code = main(["jobs"])
heavy = {"boto3", "botocore", "textual", "numpy", "tensorflow_datasets", "tensorflow", "rich"}
sys.exit(code or sorted(heavy & {name.partition(".")[0] for name in sys.modules}) or 0)
"""


def test_looking_at_jobs_loads_nothing_heavy(place):
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=place.machine.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
