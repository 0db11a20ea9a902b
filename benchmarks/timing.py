"""Comparing with other tools on the same files: interleaved rounds, medians, ratios.

The machine may be busy: only ratios within one run mean anything, and every round runs each
contender once, so that a slow minute slows all of them.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5


@dataclass(frozen=True)
class Contender:
    """``run`` is timed; ``prepare`` runs before it each round and is not."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def run_benchmark(main: Callable[[], object]) -> None:
    """Runs ``main``; one that is ended in the middle leaves no server running and no files."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main()


def medians(contenders: Sequence[Contender], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each contender by name."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            contender.prepare()
            os.sync()
            started_s = time.perf_counter()
            contender.run()
            seconds[contender.name].append(time.perf_counter() - started_s)
    return {name: statistics.median(times) for name, times in seconds.items()}


def show(title: str, size_bytes: int, seconds: dict[str, float]) -> None:
    """Prints the median and the throughput of each contender."""
    print(f"\n{title}, {size_bytes / 1e6:.0f} MB")
    for name, median_s in seconds.items():
        print(f"  {name:<28} {median_s:8.3f} s  {size_bytes / median_s / 1e6:7.0f} MB/s")


def verdict(what: str, ratio: float, target: float, *, at_most: bool = False) -> None:
    """Prints one ratio and whether it reaches its target."""
    is_reached = ratio <= target if at_most else ratio >= target
    sign = "<=" if at_most else ">="
    print(f"  {'ok  ' if is_reached else 'MISS'} {what}: {ratio:.2f} (target {sign} {target})")


def shell(command: str, *, cwd: Path | None = None) -> None:
    """Runs a shell command; raises when it fails."""
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=cwd, check=True)
