"""Many processes at once on one ref or one manifest: what is asked of them holds afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dsmanager.settings import RemoteConfig
from harness.goodness import Findings, one_clear_line
from harness.kills import leftovers, state_of
from harness.machine import Machine
from harness.processes import KILLED, Zygote
from harness.starts import Starts, write_entries

ENTRIES = 50

CROWDS: dict[str, tuple[str, tuple[tuple[str, ...], ...], tuple[int, ...]]] = {
    "package": ("built", (("package", "tiny"),), (0, 7)),
    "package --overwrite": ("packaged", (("package", "tiny", "--overwrite"),), (0,)),
    "extract": ("cached", (("extract", "tiny"),), (0, 7)),
    "upload": ("packaged", (("upload", "tiny"),), (0,)),
    "download": ("remote", (("download", "tiny"),), (0,)),
    "sync": ("remote", (("sync",),), (0,)),
    "load (fetching)": ("remote", (("load", "tiny"),), (0,)),
    "different verbs": (
        "everywhere",
        (
            ("package", "tiny", "--overwrite"),
            ("extract", "tiny", "--overwrite"),
            ("upload", "tiny"),
            ("verify", "tiny"),
            ("manifest", "record", "tiny"),
            ("download", "tiny", "--overwrite"),
            ("list",),
            ("gc", "--yes"),
        ),
        (0,),
    ),
}
"""By name: the start, the commands in turn, and how each may end."""


def crowd(
    zygote: Zygote, starts: Starts, root: Path, name: str, size: int, killed: int = 0
) -> Findings:
    """``size`` processes at once, ``killed`` of which are killed; then one alone."""
    start, commands, codes = CROWDS[name]
    machine, remote = starts.make(start, root)
    before = state_of(machine, remote)
    running = [zygote.start(machine, *commands[i % len(commands)]) for i in range(size)]
    for each in random.Random(name).sample(running, killed):
        with suppress(ProcessLookupError):  # not waited for yet: the number is still its own
            os.kill(each.pid, signal.SIGKILL)
    ended = [zygote.wait(each) for each in running]
    findings = Findings(tries=size)
    what = f"{size} x {name}" + (f", {killed} killed" if killed else "")
    for each in ended:
        if each.code == KILLED and not each.hung:
            continue
        findings.unclear += [f"{what}: {e}" for e in one_clear_line(each.code, each.stderr)]
        if each.code not in codes or each.hung:
            findings.failed.append(f"{what}: exit {each.code} of {each.arguments}: {each.stderr}")
    if not killed and 0 not in [each.code for each in ended]:
        findings.failed.append(f"{what}: none did it")
    after = state_of(machine, remote)
    findings.damaged += [f"{what}: {each}" for each in after.damaged]
    findings.lost += [f"{what}: {each}" for each in before.lost(after)]
    _finish(zygote, machine, remote, commands, codes, what, findings)
    shutil.rmtree(root)
    return findings


def _finish(
    zygote: Zygote,
    machine: Machine,
    remote: RemoteConfig,
    commands: Sequence[tuple[str, ...]],
    codes: tuple[int, ...],
    what: str,
    findings: Findings,
) -> None:
    for command in commands:
        alone = zygote.run(machine, *command)
        if alone.code not in codes:
            findings.failed.append(f"{what}, then {command}: {alone.code}: {alone.stderr}")
    findings.left += [f"{what}: {each}" for each in leftovers(zygote, machine, remote)]


def crowd_on_manifest(zygote: Zygote, starts: Starts, root: Path, size: int) -> Findings:
    """``size`` processes that add fifty entries each to one manifest."""
    machine, remote = starts.make("empty", root)
    for index in range(size):
        write_entries(root / f"part-{index}.json", index * ENTRIES, ENTRIES)
    running = [zygote.start(machine, "manifest", "import", f"part-{i}.json") for i in range(size)]
    ended = [zygote.wait(each) for each in running]
    findings = Findings(tries=size)
    findings.failed += [f"manifest import: {each.stderr}" for each in ended if each.code]
    count = len(machine.library.manifest.entries)
    if count != size * ENTRIES:
        findings.lost.append(f"{size} x manifest import: {count} of {size * ENTRIES} entries")
    findings.left += leftovers(zygote, machine, remote)
    shutil.rmtree(root)
    return findings


def crowd_on_shared_manifest(zygote: Zygote, starts: Starts, root: Path, size: int) -> Findings:
    """``size`` machines that push fifty entries each to the manifest on one remote."""
    first, remote = starts.make("empty", root / "0")
    machines = [first] + [starts.make("empty", root / str(i))[0] for i in range(1, size)]
    for index, machine in enumerate(machines):
        write_entries(machine.root / "part.json", index * ENTRIES, ENTRIES)
        machine.use(remote)
        imported = zygote.run(machine, "manifest", "import", "part.json")
        assert imported.code == 0, imported.stderr
    running = [zygote.start(machine, "manifest", "push") for machine in machines]
    ended = [zygote.wait(each) for each in running]
    findings = Findings(tries=size)
    findings.failed += [f"manifest push: {each.stderr}" for each in ended if each.code]
    shared = [each for each in state_of(first, remote).good if each.endswith(" shared")]
    if len(shared) != size * ENTRIES:
        lost = f"{size} x manifest push: {len(shared)} of {size * ENTRIES} entries"
        findings.lost.append(lost)
    shutil.rmtree(root)
    return findings
