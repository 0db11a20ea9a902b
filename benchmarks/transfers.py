"""Upload and download against the embedded server, beside the tools that people use.

    python benchmarks/transfers.py [--mb 500] [--rounds 5]

Every tool is a process of its own, start-up included; rounds are interleaved, and medians are
compared. What arrives is verified: dsmanager does it on the way, after the others sha256sum reads
the file. Tools that are not installed are left out with a line.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from timing import run_benchmark

from dsmanager.remotes import server

OURS = """
import sys
from pathlib import Path
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig
verb, path, sha256, endpoint, credentials = sys.argv[1:]
path, counters = Path(path), {"progress": Progress(), "cancel": CancelToken()}
remote = Remote(RemoteConfig("bench", "s3://datasets/", endpoint_url=endpoint,
                             credentials_file=Path(credentials)))
if verb == "upload":
    size = path.stat().st_size
    remote.upload_file(path, "big", size=size, sha256=sha256, overwrite=True, **counters)
else:
    assert remote.download_file(remote.head("big"), path, **counters) == sha256
"""
BOTO3 = """
import sys, boto3
verb, path, endpoint = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint)
if verb == "upload":
    client.upload_file(path, "datasets", "big")
else:
    client.download_file("datasets", "big", path)
"""


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_seconds: float


Command = Callable[[str, Path], list[str]]


def program(name: str) -> str | None:
    beside = Path(sysconfig.get_path("scripts"), name)
    return str(beside) if beside.exists() else shutil.which(name)


def commands(running: server.ServerStatus, sha256: str) -> dict[str, Command]:
    """How each tool moves a file to or from ``s3://datasets/big``."""
    endpoint = str(running.endpoint_url)
    url = "s3://datasets/big"
    found: dict[str, Command] = {
        "dsmanager": lambda verb, path: [
            *(sys.executable, "-c", OURS, verb, str(path), sha256),
            *(endpoint, str(running.credentials_file)),
        ]
    }

    def both(verb: str, path: Path, remote: str = url) -> list[str]:
        return [str(path), remote] if verb == "upload" else [remote, str(path)]

    if s5cmd := program("s5cmd"):
        found["s5cmd"] = lambda verb, path: [
            s5cmd,
            "--endpoint-url",
            endpoint,
            "cp",
            *both(verb, path),
        ]
    if rclone := program("rclone"):
        flags = ["--s3-provider", "SeaweedFS", "--s3-env-auth", "--s3-endpoint", endpoint]
        flags += ["--config", os.devnull, "--s3-no-check-bucket", "--ignore-times"]
        found["rclone"] = lambda verb, path: [
            *(rclone, "copyto", *flags, *both(verb, path, ":s3:datasets/big"))
        ]
    if aws := program("aws"):
        found["aws-cli"] = lambda verb, path: [
            *(aws, "--endpoint-url", endpoint, "s3", "cp", "--quiet", *both(verb, path))
        ]
    if has_boto3():
        found["boto3"] = lambda verb, path: [sys.executable, "-c", BOTO3, verb, str(path), endpoint]
    for name in {"s5cmd", "rclone", "aws-cli", "boto3"} - set(found):
        print(f"{name}: not installed, left out")
    return found


def verified(name: str, verb: str, path: Path, command: Command) -> list[str]:
    """The command; a download of the others is followed by ``sha256sum``."""
    arguments = command(verb, path)
    if verb == "upload" or name == "dsmanager":
        return arguments
    return ["/bin/sh", "-c", '"$@" && sha256sum "$0"', str(path), *arguments]


def has_boto3() -> bool:
    import importlib.util

    return importlib.util.find_spec("boto3") is not None


def run(command: list[str], environment: dict[str, str]) -> Run:
    started_s = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed: {words.decode(errors='replace')[-500:]}")
    return Run(time.perf_counter() - started_s, usage.ru_utime + usage.ru_stime)


def measure(megabytes: int, rounds: int, folder: Path) -> None:
    import hashlib
    import json

    source = folder / "source"
    size = megabytes * 1_000_000
    digest = hashlib.sha256()
    with open(source, "wb") as file:
        for start in range(0, size, 1 << 20):
            block = os.urandom(min(1 << 20, size - start))
            digest.update(block)
            file.write(block)
    running = server.start("bench", state_dir=folder / "state")
    try:
        pair = json.loads(running.credentials_file.read_bytes())
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": pair["access_key"],
            "AWS_SECRET_ACCESS_KEY": pair["secret_key"],
            "AWS_REGION": "us-east-1",
        }
        tools = commands(running, digest.hexdigest())
        for verb in ("upload", "download"):
            runs: dict[str, list[Run]] = {name: [] for name in tools}
            for _ in range(rounds):
                for name, command in tools.items():
                    path = source if verb == "upload" else folder / "target"
                    runs[name].append(run(verified(name, verb, path, command), environment))
                    (folder / "target").unlink(missing_ok=True)
            report(verb, runs, size)
    finally:
        server.stop("bench", state_dir=folder / "state")


def report(verb: str, runs: dict[str, list[Run]], size: int) -> None:
    ours = statistics.median(each.seconds for each in runs["dsmanager"])
    title = verb if verb == "upload" else "download and verification"
    print(f"\n{title} of {size / 1e6:,.0f} MB, medians of {len(runs['dsmanager'])}")
    print(f"{'tool':12}{'MB/s':>8}{'CPU s/GB':>10}{'dsmanager is':>14}")
    for name, each in runs.items():
        seconds = statistics.median(one.seconds for one in each)
        cpu = statistics.median(one.cpu_seconds for one in each) / (size / 1e9)
        print(f"{name:12}{size / 1e6 / seconds:8.0f}{cpu:10.2f}{seconds / ours:13.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsmanager-bench-") as folder:
        measure(arguments.mb, arguments.rounds, Path(folder))


if __name__ == "__main__":
    run_benchmark(main)
