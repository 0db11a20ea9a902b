"""The looking process, and the model that listens to it: real processes on real folders."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmanager.library.library import Library
from dsmanager.screens.model import Model
from dsmanager.screens.snapshot import read_snapshot, snapshot_path
from dsmanager.settings import RemoteConfig, Settings

WaitUntil = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def model(settings: Settings) -> Iterator[Callable[..., Model]]:
    models: list[Model] = []

    def make(**changes: Any) -> Model:
        models.append(Model(replace(settings, **changes)))
        models[-1].start()
        return models[-1]

    yield make
    for each in models:
        each.stop()


def refs(model: Model) -> list[str]:
    return [row.ref for row in model.rows]


def start(settings: Settings) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dsmanager.screens.surveyor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(settings))
    process.stdin.flush()
    return process


def look(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """What is told until a look at the disk has ended."""
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(json.loads(line))
        if "local" in told[-1]:
            return told
    raise AssertionError("it ended")


def test_it_tells_what_list_tells_and_ends_with_its_stdin(settings: Settings) -> None:
    process = start(settings)
    told = look(process)
    rows = [raw for message in told for raw in message.get("rows", ())]
    assert [raw[0] for raw in rows] == ["apple", "banana", "cherry"]
    assert told[-1]["local"] == {"is_whole": True, "errors": []}
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_only_what_has_changed_is_told_again(
    settings: Settings, dataset: Callable[..., None]
) -> None:
    process = start(settings)
    look(process)
    dataset(settings.data_dir, "date")
    assert process.stdin is not None
    process.stdin.write(b"look\n")
    process.stdin.flush()
    told = look(process)
    assert [raw[0] for message in told for raw in message.get("rows", ())] == ["date"]
    process.communicate(timeout=10)


def test_the_model_agrees_with_list(
    model: Callable[..., Model], settings: Settings, wait_until: WaitUntil
) -> None:
    library = Library(settings=settings)
    library.package("apple")
    shown = model()
    wait_until(lambda: not shown.is_looking, "the first look")
    expected = library.survey(local_only=True).rows
    assert [row.presence for row in shown.rows] == list(expected)


def test_what_others_do_appears_by_itself(
    model: Callable[..., Model],
    settings: Settings,
    dataset: Callable[..., None],
    wait_until: WaitUntil,
) -> None:
    shown = model()
    wait_until(lambda: len(shown.rows) == 3, "three datasets")
    kept = {row.ref: row for row in shown.rows}
    dataset(settings.data_dir, "date")
    shutil.rmtree(settings.data_dir / "banana")
    wait_until(
        lambda: refs(shown) == ["apple:1.0.0", "cherry:1.0.0", "date:1.0.0"], "what was changed"
    )
    assert shown.rows[0] is kept["apple:1.0.0"]  # what is as it was stays the same object
    Library(settings=settings).package("apple")
    wait_until(lambda: shown.rows[0].marker("cached") == "=", "the archive")
    (settings.data_dir / "cherry/1.0.0/features.json").unlink()
    wait_until(lambda: shown.rows[1].state == "damaged", "the damage")


def test_the_next_start_shows_at_once_what_the_last_one_saw(
    model: Callable[..., Model], settings: Settings, wait_until: WaitUntil
) -> None:
    first = model()
    wait_until(lambda: not first.is_looking, "the first look")
    wait_until(lambda: bool(read_snapshot(snapshot_path(settings)).rows), "the snapshot")
    first.stop()
    assert refs(Model(settings)) == ["apple:1.0.0", "banana:1.0.0", "cherry:1.0.0"]
    other = replace(settings, data_dir=settings.data_dir / "elsewhere")
    assert refs(Model(other)) == []


def test_what_has_gone_since_the_last_start_goes(
    model: Callable[..., Model], settings: Settings, wait_until: WaitUntil
) -> None:
    first = model()
    wait_until(lambda: bool(read_snapshot(snapshot_path(settings)).rows), "the snapshot")
    first.stop()
    shutil.rmtree(settings.data_dir / "banana")
    second = model()
    assert len(second.rows) == 3
    wait_until(lambda: refs(second) == ["apple:1.0.0", "cherry:1.0.0"], "that banana is gone")


def test_a_broken_manifest_is_told_and_mending_it_helps(
    model: Callable[..., Model], settings: Settings, wait_until: WaitUntil
) -> None:
    settings.manifest_path.write_text("{")
    shown = model()
    wait_until(lambda: bool(shown.local_errors), "an error")
    settings.manifest_path.unlink()
    wait_until(lambda: not shown.local_errors and len(shown.rows) == 3, "the rows")


def test_a_dead_remote_is_told_with_its_reason_and_hides_nothing(
    model: Callable[..., Model], wait_until: WaitUntil
) -> None:
    dead = RemoteConfig("dead", "s3://bucket/x", endpoint_url="http://127.0.0.1:9", anonymous=True)
    shown = model(remotes={"dead": dead})
    wait_until(lambda: not shown.is_looking, "the first look")
    assert len(shown.rows) == 3
    assert {row.marker("remote") for row in shown.rows} == {"?"}
    wait_until(lambda: shown.remote is not None and shown.remote.error is not None, "the error")
    assert shown.remote is not None
    assert "127.0.0.1:9" in str(shown.remote.error)


def test_a_remote_fills_in_and_what_was_uploaded_is_seen_after_the_job(
    model: Callable[..., Model],
    with_remote: Settings,
    wait_until: WaitUntil,
) -> None:
    library = Library(settings=with_remote)
    for name in ("apple", "banana"):
        library.package(name)
    library.upload("apple")
    shown = model(remotes=with_remote.remotes)
    wait_until(lambda: shown.remote is not None and bool(shown.remote.looked_at_s), "the listing")
    wait_until(lambda: not shown.is_looking, "the first look")
    wait_until(lambda: [row.marker("remote") for row in shown.rows] == ["=", "-", "-"], "markers")
    from dsmanager.screens.requests import JobRequest

    shown.start_job(JobRequest("upload", ("banana:1.0.0",)), "Upload of banana:1.0.0")
    wait_until(lambda: bool(shown.notices), "the notice")
    assert shown.notices[0].message == "Upload of banana:1.0.0: job 1"
    wait_until(lambda: [job.state for job in shown.jobs] == ["done"], "the end of the job")
    wait_until(lambda: shown.rows[1].marker("remote") == "=", "the archive on the remote")


def test_stopping_leaves_no_process(model: Callable[..., Model], wait_until: WaitUntil) -> None:
    shown = model()
    process = shown._surveyor
    assert process is not None
    shown.stop()
    wait_until(lambda: process.poll() is not None, "its end")


def test_the_looking_process_loads_neither_textual_nor_tfds_nor_boto3(tmp_path: Path) -> None:
    code = (
        "import sys, dsmanager.screens.surveyor\n"
        "heavy = {'textual', 'boto3', 'tensorflow_datasets', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_the_screens_load_neither_tfds_nor_boto3() -> None:
    code = (
        "import sys, dsmanager.screens.app\n"
        "heavy = {'boto3', 'tensorflow_datasets', 'numpy', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
