"""kill -9 of every verb: nothing damaged is listed as good, nothing good is lost, a retry works."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsmanager.settings import RemoteConfig
from harness.goodness import (
    Findings,
    State,
    local_state,
    remote_leftovers,
    remote_state,
)
from harness.machine import Machine
from harness.processes import KILLED, Zygote
from harness.starts import Starts


@dataclass(frozen=True)
class Verb:
    """A verb, the state that it starts from, and what its success looks like afterwards."""

    name: str
    arguments: tuple[str, ...]
    start: str
    ends_with: tuple[int, ...] = (0,)
    """Exit codes of the next run; 7 or 6 where the killed run had done its work already."""
    whole_code: int = 0
    """Exit code of a run that nobody kills."""
    removes: bool = False


@dataclass(frozen=True)
class Kill:
    """When: before the n-th change of the file system, or after a part of the whole time."""

    change: int = 0
    fraction: float = 0.0

    def __str__(self) -> str:
        return f"at change {self.change}" if self.change else f"after {self.fraction:.0%}"


VERBS = [
    Verb("build", ("build", "tiny", "--path", "{builders}/tiny"), "empty"),
    Verb("build --clean", ("build", "tiny", "--path", "{builders}/tiny", "--clean"), "built"),
    Verb("package", ("package", "tiny"), "built", (0, 7)),
    Verb("package --overwrite", ("package", "tiny", "--overwrite"), "changed"),
    Verb("extract", ("extract", "tiny"), "cached", (0, 7)),
    Verb("extract --overwrite", ("extract", "tiny", "--overwrite"), "packaged"),
    Verb("upload", ("upload", "tiny"), "packaged"),
    Verb("upload --overwrite", ("upload", "tiny", "--overwrite"), "remote other"),
    Verb("download", ("download", "tiny"), "remote"),
    Verb("download --overwrite", ("download", "tiny", "--overwrite"), "remote and other"),
    Verb("download --extract", ("download", "tiny", "--extract"), "remote", (0, 7)),
    Verb("load (fetching)", ("load", "tiny"), "remote"),
    Verb("verify", ("verify", "tiny"), "packaged"),
    Verb("verify (damaged)", ("verify", "tiny"), "damaged", (4,), 4),
    Verb("verify --in remote", ("verify", "tiny", "--in", "remote"), "remote"),
    Verb("list", ("list",), "everything"),
    Verb("manifest record", ("manifest", "record", "tiny"), "unrecorded"),
    Verb("manifest import", ("manifest", "import", "other.json"), "imports"),
    Verb("manifest export", ("manifest", "export", "--armory", "--to", "out.json"), "packaged"),
    Verb("remote add", ("remote", "add", "more", "s3://bucket/x"), "packaged", (0, 7)),
    *(
        Verb(
            f"rm --from {place}",
            ("rm", "tiny", "--from", place, "--yes"),
            "everywhere" if place == "remote" else "packaged",
            (0, 6),
            removes=True,
        )
        for place in ("built", "cached", "remote", "recorded")
    ),
    Verb("sync", ("sync",), "remote"),
    Verb("sync --verify", ("sync", "--verify"), "damaged here"),
    Verb("sync --push", ("sync", "--push"), "packaged"),
    Verb("manifest push", ("manifest", "push"), "packaged"),
    Verb("manifest pull", ("manifest", "pull"), "shared"),
    Verb("gc", ("gc", "--yes", "--all-uploads"), "littered"),
]


class KillExperiment:
    """One verb on machines of its own; every machine is removed when it was judged."""

    def __init__(
        self, zygote: Zygote, verb: Verb, starts: Starts, builders: Path, root: Path
    ) -> None:
        self._zygote = zygote
        self._verb = verb
        self._starts = starts
        self._root = root
        self._arguments = [each.format(builders=builders) for each in verb.arguments]
        machine, remote = starts.make(verb.start, root / "whole")
        whole = zygote.run(machine, *self._arguments)
        assert whole.code == verb.whole_code, (verb.name, whole.code, whole.stderr)
        assert whole.changes is not None
        self.changes = whole.changes
        self._seconds = whole.seconds
        self._whole = state_of(machine, remote)
        self._number = 0
        shutil.rmtree(machine.root)

    def points(self, by_change: int, by_time: int, chance: random.Random) -> Iterator[Kill]:
        """One change by chance of each equal part of all (of every one: itself), then moments."""
        count = min(by_change, self.changes)
        for index in range(count):
            yield Kill(change=1 + int((index + chance.random()) * self.changes / count))
        for _ in range(by_time):
            yield Kill(fraction=chance.uniform(0.02, 0.98))

    def run(self, kills: Iterable[Kill]) -> Findings:
        findings = Findings()
        for kill in kills:
            findings.add(self._try(kill))
        return findings

    def _try(self, kill: Kill) -> Findings:
        self._number += 1
        machine, remote = self._starts.make(self._verb.start, self._root / f"at-{self._number}")
        before = state_of(machine, remote)
        ended = self._zygote.run(
            machine,
            *self._arguments,
            kill_at=kill.change,
            kill_after_s=kill.fraction * self._seconds if kill.fraction else None,
        )
        findings = Findings(tries=int(ended.code == KILLED))
        self._judge(f"{self._verb.name} killed {kill}", machine, remote, before, findings)
        shutil.rmtree(machine.root)
        return findings

    def _judge(
        self, what: str, machine: Machine, remote: RemoteConfig, before: State, findings: Findings
    ) -> None:
        after = state_of(machine, remote)
        findings.damaged += [f"{what}: {each}" for each in after.damaged]
        if not self._verb.removes:
            findings.lost += [f"{what}: {each}" for each in before.lost(after)]
        again = self._zygote.run(machine, *self._arguments)
        if again.code not in self._verb.ends_with or again.hung:
            findings.failed.append(f"{what}: the next run ended with {again.code}: {again.stderr}")
        at_last = state_of(machine, remote)
        if at_last != self._whole:
            odd = sorted(at_last.good ^ self._whole.good) + list(at_last.damaged)
            findings.failed.append(f"{what}: the next run led elsewhere: {odd}")
        findings.left += [f"{what}: {each}" for each in leftovers(self._zygote, machine, remote)]


def leftovers(zygote: Zygote, machine: Machine, remote: RemoteConfig | None) -> list[str]:
    """What the next run left and ``gc`` does not remove either.

    An upload whose begin was never answered is nobody's: gc ends it after a day, or when told to.
    """

    def found() -> list[str]:
        return machine.leftovers() + (remote_leftovers(remote) if remote is not None else [])

    if not found():
        return []
    done = zygote.run(machine, "gc", "--yes", "--all-uploads")
    failed = [f"gc ended with {done.code}: {done.stderr}"] if done.code else []
    return failed + found()


def state_of(machine: Machine, remote: RemoteConfig) -> State:
    return local_state(machine) | remote_state(remote)


def kill_builder_alone(
    zygote: Zygote, starts: Starts, builders: Path, root: Path, after_s: float
) -> Findings:
    """Kills the process that runs the builder, and leaves those above it to say so."""
    machine, remote = starts.make("empty", root)
    arguments = ("build", "tiny", "--path", str(builders / "tiny"))
    running = zygote.start(machine, *arguments)
    time.sleep(after_s)
    children = children_of(running.pid)
    builders_own = [pid for child in children for pid in children_of(child)]
    killed = [pid for pid in builders_own or children if _kill(pid)]
    ended = zygote.wait(running)
    findings = Findings(tries=len(killed))
    what = f"builder killed after {after_s:.2f} s"
    if ended.code not in (0, 1) or (ended.code and "was killed by SIGKILL" not in ended.stderr):
        findings.unclear.append(f"{what}: exit {ended.code}: {ended.stderr}")
    findings.damaged += [f"{what}: {each}" for each in local_state(machine).damaged]
    findings.left += [f"{what}, at once: {each}" for each in machine.leftovers()]
    again = zygote.run(machine, *arguments)
    if again.code or "tiny:1.0.0 built" not in local_state(machine).good:
        findings.failed.append(f"{what}: {again.stderr}")
    findings.left += [f"{what}: {each}" for each in leftovers(zygote, machine, remote)]
    shutil.rmtree(root)
    return findings


def children_of(pid: int) -> list[int]:
    """Processes that ``pid`` started, from all of its threads."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def _kill(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
