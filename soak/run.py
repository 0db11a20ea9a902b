"""The fault suite at length: kills, faults and crowds for every verb, and one table of what became.

    python soak/run.py [--kills N] [--seed N] [--only WORD]

Ends with 1 when anything damaged was listed as good, anything good was lost, a next run failed, an
ending was unclear, or anything was left after gc. Everything happens in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import secrets
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "faults")]

from harness.faults import ALWAYS  # noqa: E402
from harness.goodness import Findings  # noqa: E402 - the harness is found through sys.path
from harness.kills import VERBS, KillExperiment, Verb, kill_builder_alone  # noqa: E402
from harness.machine import new_machine, write_builders  # noqa: E402
from harness.processes import Zygote  # noqa: E402
from harness.proxy import FaultProxy  # noqa: E402
from harness.servers import serve_killed  # noqa: E402
from harness.starts import Starts, with_payload  # noqa: E402
from harness.together import (  # noqa: E402
    CROWDS,
    crowd,
    crowd_on_manifest,
    crowd_on_shared_manifest,
)
from harness.transfers import CASES, TRANSFERS, FaultExperiment, Transfer  # noqa: E402

from dsmanager.remotes import server  # noqa: E402
from dsmanager.settings import RemoteConfig  # noqa: E402

WORKERS = 2
LARGE_CROWD = 16
HEADINGS = (
    "verb",
    "kills",
    "faults",
    "at once",
    "damaged listed as good",
    "good lost",
    "unclear endings",
    "retries failed",
    "left after gc",
)


@dataclass
class Row:
    kills: Findings = field(default_factory=Findings)
    faults: Findings = field(default_factory=Findings)
    crowds: Findings = field(default_factory=Findings)

    @property
    def all(self) -> Findings:
        whole = Findings()
        for each in (self.kills, self.faults, self.crowds):
            whole.add(each)
        return whole

    def cells(self, name: str) -> list[str]:
        whole = self.all
        counts = (self.kills.tries, self.faults.tries, self.crowds.tries)
        found = (whole.damaged, whole.lost, whole.unclear, whole.failed, whole.left)
        return [name, *(str(count) for count in counts), *(str(len(each)) for each in found)]


@dataclass(frozen=True)
class Bench:
    """What one worker works with, of its own."""

    zygote: Zygote
    proxy: FaultProxy
    builders: Path
    small: Starts
    large: Starts
    root: Path

    def folder(self) -> Path:
        """One that does not exist yet."""
        return self.root / secrets.token_hex(4)


@dataclass(frozen=True)
class Job:
    verb: str
    kind: str
    """A field of :class:`Row`."""
    work: Callable[[Bench], Findings]


def jobs(kills: int, chance: random.Random) -> Iterator[Job]:
    """The slow ones first, so that the workers end together."""
    for _ in range(8):
        after_s = chance.uniform(0.4, 1.6)
        yield Job("build (child alone)", "kills", lambda b, s=after_s: builder_alone(b, s))
    for change in sorted(chance.sample(range(1, 45), 12)):
        kill = {"kill_at": change}
        yield Job(
            "remote serve", "kills", lambda b, k=kill: serve_killed(b.zygote, b.folder(), **k)
        )
    kill = {"kill_after": "subprocess.Popen"}
    yield Job("remote serve", "kills", lambda b, k=kill: serve_killed(b.zygote, b.folder(), **k))
    each = max(4, -(-kills // len(VERBS)))
    for verb in VERBS:
        seed = chance.random()
        yield Job(verb.name, "kills", lambda b, v=verb, s=seed: killed(b, v, each, s))
    for transfer in TRANSFERS:
        for times in (ALWAYS, 1):
            seed = chance.random()
            yield Job(
                transfer.name, "faults", lambda b, t=transfer, n=times, s=seed: struck(b, t, n, s)
            )
    for name in CROWDS:
        for size, dead in ((2, 0), (LARGE_CROWD, 0), (LARGE_CROWD, 4)):
            yield Job(
                name,
                "crowds",
                lambda b, c=name, n=size, k=dead: crowd(b.zygote, b.small, b.folder(), c, n, k),
            )
    for name, experiment in (
        ("manifest import", crowd_on_manifest),
        ("manifest push", crowd_on_shared_manifest),
    ):
        for size in (2, LARGE_CROWD):
            yield Job(
                name, "crowds", lambda b, e=experiment, n=size: e(b.zygote, b.small, b.folder(), n)
            )


def killed(bench: Bench, verb: Verb, count: int, seed: float) -> Findings:
    """At as many changes as there are, up to three quarters of ``count``; the rest by time."""
    experiment = KillExperiment(bench.zygote, verb, bench.small, bench.builders, bench.folder())
    by_change = min(experiment.changes, count * 3 // 4)
    return experiment.run(experiment.points(by_change, count - by_change, random.Random(seed)))


def struck(bench: Bench, transfer: Transfer, times: int, seed: float) -> Findings:
    chance = random.Random(seed)
    experiment = FaultExperiment(bench.zygote, transfer, bench.large, bench.proxy, bench.folder())
    findings = Findings()
    for case in CASES:
        skip = 0 if times == ALWAYS else chance.randrange(4)
        findings.add(experiment.strike(case, times=times, skip=skip).findings)
    return findings


def builder_alone(bench: Bench, after_s: float) -> Findings:
    return kill_builder_alone(bench.zygote, bench.small, bench.builders, bench.folder(), after_s)


def server_start(bench: Bench, kill: dict[str, Any]) -> Findings:
    return serve_killed(bench.zygote, bench.folder(), **kill)


def run_all(todo: list[Job], folder: Path, running: server.ServerStatus) -> dict[str, Row]:
    table: dict[str, Row] = {}
    lock = threading.Lock()
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in todo:
        waiting.put(job)

    def work(number: int) -> None:
        with ExitStack() as stack:
            bench = make_bench(stack, folder / f"worker-{number}", running)
            while not waiting.empty():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                started_s = time.monotonic()
                try:
                    findings = job.work(bench)
                except Exception:
                    findings = Findings(failed=[f"{job.verb}: {traceback.format_exc()}"])
                seconds = time.monotonic() - started_s
                with lock:
                    getattr(table.setdefault(job.verb, Row()), job.kind).add(findings)
                    say(f"{job.verb}, {job.kind}: {findings.tries} in {seconds:.0f} s")
                    for defect in findings.defects:
                        say(f"  {defect}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return table


def make_bench(stack: ExitStack, root: Path, running: server.ServerStatus) -> Bench:
    zygote = stack.enter_context(Zygote())
    endpoint = str(running.endpoint_url)
    proxy = FaultProxy(endpoint, credentials_file=running.credentials_file)
    stack.enter_context(proxy)
    builders = write_builders(root / "builders")
    machine = new_machine(root / "built")
    done = zygote.run(machine, "build", "tiny", "--path", str(builders / "tiny"))
    assert done.code == 0, done.stderr

    def place() -> RemoteConfig:
        return RemoteConfig(
            "soak",
            f"s3://{running.bucket}/{secrets.token_hex(6)}",
            endpoint_url=endpoint,
            credentials_file=running.credentials_file,
        )

    large = with_payload(machine.data_dir, root / "with payload")
    return Bench(
        zygote,
        proxy,
        builders,
        Starts(machine.data_dir, place, root / "starts"),
        Starts(large, place, root / "large starts"),
        root / "machines",
    )


def report(table: dict[str, Row], seconds: float) -> int:
    """Prints the table; returns the exit code."""
    total = Row()
    for row in table.values():
        for kind in ("kills", "faults", "crowds"):
            getattr(total, kind).add(getattr(row, kind))
    rows = [list(HEADINGS)] + [table[name].cells(name) for name in sorted(table)]
    rows.append(total.cells("all"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, cells in enumerate(rows):
        texts = [cells[0].ljust(widths[0])]
        texts += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        print("| " + " | ".join(texts) + " |")
        if not index:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"\n{seconds / 60:.0f} minutes, {os.cpu_count()} cores")
    defects = total.all.defects
    for defect in defects:
        print(f"defect: {defect}")
    return 1 if defects else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The fault suite at length.")
    parser.add_argument("--kills", type=int, default=700, help="kills of verbs, at least about")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", default="", help="only jobs whose verb or kind holds this word")
    options = parser.parse_args()
    for key in list(os.environ):
        if key.startswith(("AWS_", "ARMORY_", "DSMANAGER_")):
            del os.environ[key]
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "DSMANAGER_CONFIG": os.devnull}
    say(f"seed {options.seed}")
    todo = list(jobs(options.kills, random.Random(options.seed)))
    todo = [job for job in todo if options.only in f"{job.verb} {job.kind}"]
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dsmanager-soak-") as name:
        folder = Path(name)
        running = server.start("soak", state_dir=folder / "server")
        try:
            table = run_all(todo, folder, running)
        finally:
            server.stop("soak", state_dir=folder / "server")
    return report(table, time.monotonic() - started_s)


if __name__ == "__main__":
    sys.exit(main())
