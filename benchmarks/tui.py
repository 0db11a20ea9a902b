"""How quick the TUI is with 10,000 datasets in three places, in a real pseudo-terminal.

First paint (exec to rows on the screen, from what the last look left), then, while four uploads
run: a moved cursor, a page, a filter's letter, a sort; and memory. Times are from the key to the
bytes that show what it did. Targets are the aims of the design, for a quiet machine.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import suppress
from pathlib import Path

from start import fill_remote, make_dataset
from timing import run_benchmark, verdict

from dsmanager.jobs.registry import Jobs
from dsmanager.progress import CancelToken
from dsmanager.remotes import server
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig, Settings, add_remote

ROUNDS = 5
KEYS = 20
PATIENCE_S = 20
BIG_BYTES = 24 << 20
RATE = "300k"


class Terminal:
    """The program in a pseudo-terminal; ``until`` waits for bytes."""

    def __init__(self, *, columns: int = 120, lines: int = 40) -> None:
        self.started_s = time.perf_counter()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execv(sys.executable, [sys.executable, "-m", "dsmanager"])

    def until(self, needle: str) -> float:
        """Seconds since the start when ``needle`` had been written."""
        seen, wanted = b"", needle.encode()
        end_s = time.monotonic() + PATIENCE_S
        while wanted not in seen:
            if time.monotonic() > end_s:
                raise TimeoutError(f"{needle!r} was not shown; last: {seen[-400:]!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                seen += os.read(self.master, 1 << 16)
        return time.perf_counter() - self.started_s

    def settle(self, quiet_s: float = 0.4) -> None:
        """Reads until nothing has been written for a while, at most some seconds."""
        end_s = time.monotonic() + 1.5
        while time.monotonic() < end_s and select.select([self.master], [], [], quiet_s)[0]:
            os.read(self.master, 1 << 16)

    def drain(self) -> None:
        while select.select([self.master], [], [], 0)[0]:
            os.read(self.master, 1 << 16)

    def press(self, keys: str, needle: str) -> float:
        """Seconds from the key to what it shows."""
        self.drain()
        pressed_s = time.perf_counter()
        os.write(self.master, keys.encode())
        return self.until(needle) + self.started_s - pressed_s

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with suppress(OSError):
            while os.read(self.master, 1 << 16):
                pass
        os.waitpid(self.pid, 0)
        os.close(self.master)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.datasets)


def measure(folder: Path, count: int) -> None:
    data_dir, config = folder / "data", folder / "config.toml"
    entries = dict(make_dataset(data_dir, f"dataset_{number:05}") for number in range(count))
    (data_dir / "datasets.json").write_text(json.dumps({"schema": 2, "datasets": entries}))
    os.environ |= {
        "DSMANAGER_CONFIG": str(config),
        "DSMANAGER_STATE_DIR": str(folder / "state"),
        "DSMANAGER_DATA_DIR": str(data_dir),
        "TERM": "xterm-256color",
    }
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "DSMANAGER_REMOTE"):
        os.environ.pop(name, None)
    state_dir = folder / "state"
    running = server.start("bench", state_dir=state_dir, cancel=CancelToken())
    try:
        remote = RemoteConfig(
            "bench",
            f"s3://{running.bucket}",
            endpoint_url=running.endpoint_url,
            credentials_file=running.credentials_file,
        )
        fill_remote(Remote(remote), data_dir / "cache")
        add_remote(config, remote)
        measure_screen(data_dir, count)
    finally:
        server.stop("bench", state_dir=state_dir)


def measure_screen(data_dir: Path, count: int) -> None:
    terminal = Terminal()
    found_s = terminal.until(f"│ {count:,} · ")
    terminal.until("listed")
    terminal.settle(0.15)
    terminal.close()
    print(f"  first look ever, {count:,} datasets      {found_s:6.2f} s")
    first = []
    for _ in range(ROUNDS):
        terminal = Terminal()
        first.append(terminal.until("dataset_00005") * 1000)
        terminal.settle(0.15)
        terminal.close()
    verdict("first paint, ms", statistics.median(first), 700, at_most=True)

    add_big_archives(data_dir)
    terminal = Terminal()
    terminal.until("dataset_00005")
    looking_ms = moves(terminal)
    terminal.until(f"{count + 4:,} · ")
    jobs = Jobs(Settings.load().state_dir)
    started = [
        jobs.start(Settings.load(), "upload", [f"big_{number}", "--limit-rate", RATE])
        for number in range(4)
    ]
    try:
        terminal.until("4 running")
        measure_keys(terminal, count)
        show("cursor during the first look", looking_ms)
        memory_of(terminal)
        still = sum(jobs.get(job.id).is_active for job in started)
        print(f"  {still} of 4 jobs were still at work at the end")
    finally:
        for job in started:
            jobs.cancel(job.id)
        while any(jobs.get(job.id).is_active for job in started):
            time.sleep(0.05)
        terminal.close()


def add_big_archives(data_dir: Path) -> None:
    """Four archives that take a while to send."""
    for number in range(4):
        name = f"big_{number}"
        make_dataset(data_dir, name)
        archive = data_dir / "cache" / f"{name}__1.0.0__cache.tar.gz"
        (data_dir / "cache" / f"{archive.name}.json").unlink()
        archive.unlink()
        shard = data_dir / name / "1.0.0" / f"{name}-train.tfrecord-00000-of-00001"
        shard.write_bytes(os.urandom(BIG_BYTES))
        command = [sys.executable, "-m", "dsmanager", "package", name, "--no-record"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def moves(terminal: Terminal) -> list[float]:
    """Milliseconds of each step down, told by the line that names the row."""
    return [
        terminal.press("j", f"dataset_{number:05}:1.0.0") * 1000 for number in range(1, KEYS + 1)
    ]


def measure_keys(terminal: Terminal, count: int) -> None:
    total = f"{count + 4:,}"
    terminal.press("\x1b[H", "big_0:1.0.0")
    for number in (1, 2, 3):
        terminal.press("j", f"big_{number}:1.0.0")
    terminal.press("j", "dataset_00000:1.0.0")
    show("cursor", moves(terminal))
    pages = [terminal.press("\x1b[6~", ":1.0.0: ") * 1000 for _ in range(KEYS)]
    show("page", pages)
    terminal.press("/", "Filter")
    terminal.settle(0.15)
    letters: list[float] = []
    for _ in range(4):
        letters.append(terminal.press("7", f" of {total} datasets") * 1000)
        letters.append(terminal.press("3", f" of {total} datasets") * 1000)
        terminal.press("\x7f", f" of {total} datasets")
        terminal.press("\x1b", f"{total} datasets")
        terminal.settle(0.15)
        terminal.press("/", "Filter")
        terminal.settle(0.15)
    show("filter, a letter", letters)
    terminal.press("\x1b", "Name")
    terminal.settle(0.15)
    sorts = []
    for title in ("Version", "State", "Built", "Cached", "Remote", "Manifest") * 2:
        sorts.append(terminal.press("s", f"{title} ") * 1000)
        terminal.settle(0.15)
        if title == "Manifest":
            for _ in range(3):
                terminal.press("s", "Name")
                terminal.settle(0.15)
    show("sort", sorts)


def show(what: str, times_ms: list[float]) -> None:
    ordered = sorted(times_ms)
    worst = ordered[max(int(len(ordered) * 0.95) - 1, 0)]
    print(f"  {what:<28} median {statistics.median(ordered):5.1f} ms, 95 % {worst:5.1f} ms")
    verdict(f"{what}, key to paint, ms", statistics.median(ordered), 50, at_most=True)


def memory_of(terminal: Terminal) -> None:
    """The program's and its looking process's resident memory together."""
    children = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children")
    if not children.exists():
        return
    pids = [terminal.pid, *map(int, children.read_text().split())]
    sizes = [_resident_mb(pid) for pid in pids]
    print(f"  memory: {' + '.join(f'{size:.0f}' for size in sizes)} MB")
    verdict("memory, MB", sum(sizes), 300, at_most=True)


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    run_benchmark(main)
