"""Cancelling a job: it stops, leaves nothing half done, and the next try succeeds."""

from __future__ import annotations

import os
import signal

import pytest

from dsmanager.jobs import liveness
from dsmanager.locks import locked
from dsmanager.remotes.remote import Remote

ZEROS = bytes(1 << 20)


@pytest.fixture
def cancelled(place, leftovers):
    """Cancels a job and checks that nothing of it is left."""

    def cancel(job):
        assert place.jobs.cancel(job.id).state in ("cancelling", "cancelled")
        ended = place.until_state(job, "cancelled", "done", "failed")
        assert ended.state == "cancelled", ended.log.read_text()
        assert ended.exit_code == 130
        assert leftovers(place.machine.data_dir) == []
        place.until_dead(job)
        return ended

    return cancel


def succeeds(place, job):
    again = place.jobs.retry(job.id)
    assert again.id > job.id
    ended = place.until_state(again, "done", "failed")
    assert ended.state == "done", ended.log.read_text()
    return ended


def test_a_cancelled_build_leaves_nothing_and_can_be_tried_again(place, cancelled):
    job = place.start("build", "--path", place.slow_builder())
    place.until_building(job)
    cancelled(job)
    assert not (place.machine.data_dir / "slow").exists()
    place.go.touch()
    succeeds(place, job)
    assert (place.machine.data_dir / "slow" / "1.0.0").is_dir()


def test_a_cancelled_package_leaves_nothing_and_can_be_tried_again(place, leftovers):
    place.make_built("digit", records=2)
    archive = place.machine.cache / "digit__1.0.0__cache.tar.gz"
    with locked(place.machine.manifest.with_name("datasets.json.lock"), purpose="keep it"):
        job = place.start("package", "digit")
        place.until(job, lambda _: bool(list(archive.parent.glob(f".{archive.name}*"))), "packs")
        place.until(job, lambda found: "waiting" in found.log.read_text(), "waits to record")
        place.jobs.cancel(job.id)
        place.until_state(job, "cancelled")
    assert leftovers(place.machine.data_dir) == []
    assert list(archive.parent.iterdir()) == []
    assert not place.machine.manifest.exists()
    succeeds(place, job)
    assert archive.exists()


def test_a_cancelled_extract_leaves_nothing_and_can_be_tried_again(place, cancelled):
    built = place.make_built("digit", records=200, content=ZEROS)
    place.machine.run("package", "digit", "--compression", "zst")
    place.machine.run("rm", "digit", "--from", "built", "--yes")
    job = place.start("extract", "digit")
    jobs = place.jobs
    while not list(place.machine.data_dir.glob("digit/.1.0.0*")):
        assert jobs.get(job.id).is_active  # it is caught while it unpacks
    liveness.send(job.folder, signal.SIGSTOP)
    assert not built.path.exists()
    place.jobs.cancel(job.id)
    liveness.send(job.folder, signal.SIGCONT)
    cancelled(job)
    assert not (place.machine.data_dir / "digit").exists()
    succeeds(place, job)
    assert built.path.is_dir()


def test_a_cancelled_download_drops_its_part_and_can_be_tried_again(
    place, cancelled, remote_config
):
    fetch_later(place, remote_config, "digit", records=12)
    job = place.start("download", "digit", "--limit-rate", "8M")
    place.until(job, lambda found: found.bytes_done > 1 << 20, "fetches")
    assert list(place.machine.cache.glob(".*.part"))
    cancelled(job)
    assert list(place.machine.cache.iterdir()) == []
    assert succeeds(place, job).bytes_total


def test_a_cancelled_upload_ends_what_it_sent_in_parts_and_can_be_tried_again(
    place, cancelled, remote_config
):
    place.machine.use(remote_config)
    place.make_built("digit", records=20)
    place.machine.run("package", "digit")
    with Remote(remote_config) as remote:
        job = place.start("upload", "digit", "--limit-rate", "8M")
        place.until(job, lambda _: bool(remote.unfinished_uploads()), "sends parts")
        place.until(job, lambda found: found.bytes_done > 1 << 20, "sends")
        cancelled(job)
        assert remote.unfinished_uploads() == ()
        assert remote.list() == []
        assert os.listdir(place.machine.root / "state" / "uploads") == []
        succeeds(place, job)
        assert remote.list()[0].name == "digit__1.0.0__cache.tar.gz"


def test_a_cancelled_sync_drops_the_parts_of_its_refs(place, cancelled, remote_config):
    fetch_later(place, remote_config, "digit", "other", records=40)
    job = place.start("sync")
    jobs = place.jobs
    while not list(place.machine.cache.glob(".*.part")):
        assert jobs.get(job.id).is_active  # it is caught while it fetches
    liveness.send(job.folder, signal.SIGSTOP)
    place.jobs.cancel(job.id)
    liveness.send(job.folder, signal.SIGCONT)
    cancelled(job)
    succeeds(place, job)
    assert (place.machine.data_dir / "other" / "1.0.0").is_dir()


def test_cancelling_leaves_alone_what_another_job_works_on(place, cancelled, remote_config):
    fetch_later(place, remote_config, "digit", records=12)
    fetching = place.start("download", "digit", "--limit-rate", "1M")
    place.until(fetching, lambda found: found.bytes_done > 1 << 20, "fetches")
    waiting = place.start("sync")
    place.until(waiting, lambda found: found.items_total == 1, "knows its refs")
    place.jobs.cancel(waiting.id)
    place.until_state(waiting, "cancelled")
    assert list(place.machine.cache.glob(".*.part"))
    cancelled(fetching)


def fetch_later(place, remote_config, *names, records):
    """Puts datasets on the remote and nowhere else."""
    place.machine.use(remote_config)
    for name in names:
        place.make_built(name, records=records)
    place.machine.run("package", "*")
    place.machine.run("upload", "*")
    place.machine.run("rm", "*", "--from", "cached", "--from", "built", "--yes")


def test_a_job_can_be_cancelled_the_moment_it_was_started(place):
    job = place.start("build", "--path", place.slow_builder())
    place.jobs.cancel(job.id)
    place.until_state(job, "cancelled")
    place.until_dead(job)
    assert not (place.machine.data_dir / "slow").exists()


def test_cancelling_tells_what_became_of_each(place):
    place.go.touch()
    done = place.start("build", "--path", place.slow_builder())
    place.until_state(done, "done")
    place.go.unlink()
    job = place.start("build", "slow", "--clean", "--path", str(place.machine.root / "builders"))
    told = place.machine.json("cancel", str(done.id), str(job.id))
    assert [row["state"] for row in told["data"]] == ["done", "cancelled"]
    assert place.machine.run("cancel", "77", code=6).stderr.endswith(
        "hint: see them: dsmanager jobs\n"
    )
