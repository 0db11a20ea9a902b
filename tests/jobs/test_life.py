"""What a job outlives, and what it does not."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from dsmanager.jobs import liveness

STARTER = """
import os, signal, sys
from pathlib import Path
from dsmanager.jobs.registry import Jobs
from dsmanager.settings import Settings
settings = Settings.load()
job = Jobs(settings.state_dir).start(settings, "build", sys.argv[1:])
os.write(1, b"started %d\\n" % job.id)
if sys.stdin.isatty():
    signal.pause()
"""


def test_a_job_survives_its_terminal_and_its_starter(place):
    builder = place.slow_builder()
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-c", STARTER, "--path", builder]
    starter = subprocess.Popen(
        ["setsid", "--ctty", *command],
        env=place.machine.environment,
        cwd=place.machine.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while b"\n" not in said:
        said += os.read(terminal, 1000)
    assert said.strip() == b"started 1"
    job = place.jobs.get(1)
    os.close(terminal)  # the window is closed: SIGHUP to all of its session
    assert starter.wait(30) == -signal.SIGHUP
    place.until_building(job)
    liveness.send(job.folder, signal.SIGHUP)
    place.go.touch()
    assert place.until_state(job, "done", "failed").state == "done"


def test_starting_a_job_leaves_no_warning_and_no_zombie(place, wait_until, children):
    place.go.touch()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", STARTER, "--path", place.slow_builder()],
        env=place.machine.environment,
        cwd=place.machine.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "started 1\n", "")
    assert place.until_state(place.jobs.get(1), "done", "failed").state == "done"
    again = place.jobs.retry(1)
    pid = again.pid
    place.until_state(again, "done")
    wait_until(lambda: pid not in children(os.getpid()), "the process was waited for")


def test_two_terminals_follow_one_job(place):
    job = place.start("build", "--path", place.slow_builder())
    follower = subprocess.Popen(
        [sys.executable, "-m", "dsmanager", "attach", str(job.id)],
        env=place.machine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    place.until_building(job)
    row = place.machine.json("jobs")["data"][0]
    assert (row["id"], row["kind"], row["ref"], row["state"]) == (1, "build", "slow", "running")
    assert (row["phase"], row["item_unit"]) == ("generate", "examples")
    place.go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert "slow:1.0.0 built: train" in out
    assert said.endswith("job 1 done: build slow\n")
    late = place.machine.run("attach", "1")
    assert late.stdout == out


def test_interrupting_attach_leaves_the_job_running(place):
    job = place.start("build", "--path", place.slow_builder())
    place.until_building(job)
    follower = subprocess.Popen(
        [sys.executable, "-c", ATTACH, str(job.id)],
        env=place.machine.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout.readline() == "follows\n"
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert said.endswith("job 1 goes on; follow it again: dsmanager attach 1\n")
    place.go.touch()
    assert place.until_state(job, "done", "failed").state == "done"


ATTACH = """
import sys
from dsmanager.cli.main import main
from dsmanager.cli.verbs import attach
followed = attach._follow
def tell(*arguments):
    print("follows", flush=True)
    return followed(*arguments)
attach._follow = tell
sys.exit(main(["attach", sys.argv[1]]))
"""


def test_a_killed_job_is_lost_and_can_be_tried_again(place):
    job = place.start("build", "--path", place.slow_builder())
    place.until_building(job)
    assert liveness.send(job.folder, signal.SIGKILL)
    lost = place.until(job, lambda found: found.state == "lost", "lost")
    assert lost.pid is None
    told = place.machine.run("attach", str(job.id), code=1)
    assert "hint: try again: dsmanager retry 1" in told.stderr
    place.go.touch()
    started = place.machine.json("retry", str(job.id))["data"][0]
    assert started["id"] == 2
    assert place.until_state(place.jobs.get(2), "done", "failed").state == "done"


def test_a_builder_does_not_keep_a_dead_job_alive(place, children):
    job = place.start("build", "--path", place.slow_builder())
    job = place.until_building(job)
    builders = children(job.pid)
    below = [pid for builder in builders for pid in children(builder)]
    assert below
    below += [helper for pid in below for helper in children(pid)]
    for pid in [*builders, *below]:
        opened = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
        assert str(job.folder / "pid") not in opened
    for pid in builders:
        os.kill(pid, signal.SIGSTOP)
    try:
        liveness.send(job.folder, signal.SIGKILL)
        place.until(job, lambda found: found.state == "lost", "lost")
        assert place.jobs.cancel(job.id).state == "lost"
    finally:
        for pid in builders:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    place.wait_until(lambda: all(map(_has_ended, below)), "the builder has ended, and its helpers")


def _has_ended(pid):
    try:
        os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return True
    return False


def test_a_shutdown_keeps_what_can_be_resumed(place, remote_config):
    place.machine.use(remote_config)
    place.make_built("digit", records=12)
    place.machine.run("package", "digit")
    place.machine.run("upload", "digit")
    place.machine.run("rm", "digit", "--from", "cached", "--yes")
    job = place.start("download", "digit", "--limit-rate", "8M")
    place.until(job, lambda found: found.bytes_done > 2 << 20, "fetches")
    liveness.send(job.folder, signal.SIGTERM)
    place.until(job, lambda found: found.state == "lost", "lost")
    assert list(place.machine.cache.glob(".*.part"))
    again = place.until_state(place.jobs.retry(job.id), "done", "failed")
    assert again.state == "done"
    assert "resuming" in again.log.read_text()


def test_a_retry_uses_the_places_of_then_and_the_credentials_of_now(place, seaweedfs):
    place.make_built("digit", records=1)
    place.machine.run("package", "digit")
    right = seaweedfs.environment()
    place.machine.extra |= right | {"AWS_SECRET_ACCESS_KEY": "wrong" * 8}
    remote = f"s3://{seaweedfs.bucket}/{place.machine.root.parent.name}"
    place.machine.run("upload", "digit", "--remote", remote, "--detach")
    failed = place.until_state(place.jobs.get(1), "done", "failed")
    assert (failed.state, failed.exit_code) == ("failed", 8)
    assert failed.error["code"] == "credentials"
    assert place.machine.run("attach", "1", code=8)
    place.machine.extra |= right | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "x"}
    place.machine.run("retry", "1")
    again = place.until_state(place.jobs.get(2), "done", "failed")
    assert again.state == "done", again.log.read_text()


def test_no_secret_reaches_a_jobs_folder(place, seaweedfs):
    place.make_built("digit", records=1)
    place.machine.run("package", "digit")
    where = seaweedfs.environment()
    secret = where["AWS_SECRET_ACCESS_KEY"]
    url = where["AWS_ENDPOINT_URL"].replace("//", "//somebody:userinfo@")
    place.machine.extra |= where | {"AWS_ENDPOINT_URL": url, "AWS_SESSION_TOKEN": "sessiontoken"}
    place.machine.extra |= {"DSMANAGER_DEBUG": "1"}
    place.machine.run("upload", "digit", "--remote", f"s3://{seaweedfs.bucket}/x", "--detach")
    job = place.until_state(place.jobs.get(1), "done", "failed")
    refused = place.machine.run(
        "build", "--path", "https://me:userinfo@host/b", "--detach", code=None
    )
    assert refused.returncode in (2, 6)
    files = [path for path in job.folder.parent.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"job.json", "log.txt", "pid", "result.json"}
    for path in files:
        content = path.read_bytes()
        for hidden in (secret, where["AWS_ACCESS_KEY_ID"], "userinfo", "sessiontoken"):
            assert hidden.encode() not in content, path
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".lock"
    assert job.folder.stat().st_mode & 0o777 == 0o700


def test_jobs_of_a_kind_wait_for_each_other_in_order(place):
    paths = [place.slow_builder(name) for name in ("first", "second", "third")]
    first = place.start("build", "--path", paths[0])
    place.until_building(first)
    second = place.start("build", "--path", paths[1])
    third = place.start("build", "--path", paths[2])
    for job in (second, third):
        waiting = place.until(job, lambda found: bool(found.phase), "waits")
        assert (waiting.state, waiting.phase) == ("queued", "waiting for a free slot")
        assert waiting.started is None
    told = place.machine.json("cancel", str(second.id))
    assert told["data"][0]["state"] == "cancelled"
    assert place.jobs.get(first.id).state == "running"
    other = place.start("verify", "--all", "--in", "built")
    place.until_state(other, "done", "failed")
    place.go.touch()
    place.until_state(third, "done")
    assert place.jobs.get(first.id).state == "done"
    assert place.jobs.get(first.id).finished <= place.jobs.get(third.id).started


def test_the_settings_say_how_many_run_at_once(place):
    place.machine.root.joinpath("config.toml").write_text("[jobs]\nbuild = 2\n")
    paths = [place.slow_builder(name) for name in ("first", "second", "third")]
    jobs = [place.start("build", "--path", path) for path in paths]
    for job in jobs[:2]:
        place.until_building(job)
    place.until(jobs[2], lambda found: bool(found.phase), "waits")
    assert place.jobs.get(jobs[2].id).state == "queued"
    liveness.send(jobs[0].folder, signal.SIGKILL)  # a dead one's turn is free
    place.until_building(jobs[2])


def test_a_job_does_not_see_descriptors_of_its_starter(place):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    job = place.start("build", "--path", place.slow_builder())
    os.close(write_end)
    assert os.read(read_end, 1) == b"", "nobody else holds the pipe open"
    os.close(read_end)
    assert place.jobs.cancel(job.id)


def test_progress_is_json_for_whoever_reads_it(place):
    job = place.until_building(place.start("build", "--path", place.slow_builder()))
    seen = json.loads((job.folder / "progress.json").read_bytes())
    assert (seen["state"], seen["label"]) == ("running", "slow:1.0.0")
