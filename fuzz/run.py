"""Fuzzes the parsers, each in a process of its own with bounded memory and time, and tells how.

    python fuzz/run.py --executions 1000000 [--only NAME]… [--jobs 2] [--markdown]

Prints a table and ends with 1 when a target crashed, hung or ran out of memory; what made it do so
lies in ``--findings`` then. Needs the extra ``fuzz``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "hostile" / "corpus"
MOST_INPUT_BYTES = 4096
MOST_MEMORY_MIB = 1024
MOST_SECONDS_AN_INPUT = 10
COLUMNS = ("parser", "executions", "crashes", "hangs", "out of memory", "seconds")


@dataclass(frozen=True)
class Outcome:
    """What fuzzing one target came to."""

    name: str
    executions: int
    findings: tuple[str, ...]
    seconds: float
    is_clean: bool
    last_words: str

    def row(self) -> tuple[str, ...]:
        counts = [
            sum(f.startswith(kind) for f in self.findings) for kind in ("crash", "timeout", "oom")
        ]
        return self.name, f"{self.executions:,}", *map(str, counts), f"{self.seconds:.0f}"


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from fuzz.targets import NAMES

    options = _options(NAMES)
    if options.child:
        return _fuzz(options.child, options.libfuzzer)
    options.findings.mkdir(parents=True, exist_ok=True)
    names = options.only or NAMES
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda name: _run(name, options), names))
    _show([outcome.row() for outcome in outcomes], as_markdown=options.markdown)
    failed = [outcome for outcome in outcomes if not outcome.is_clean]
    for outcome in failed:
        print(f"\n{outcome.name}: {', '.join(outcome.findings) or 'failed'}\n{outcome.last_words}")
    return 1 if failed else 0


def _options(names: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("--executions", type=int, default=1_000_000, help="of each target")
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument(
        "--seconds", type=int, default=0, help="at most so long a target; 0: no limit"
    )
    parser.add_argument(
        "--findings", type=Path, default=Path(tempfile.gettempdir(), "fuzz-findings")
    )
    parser.add_argument("--markdown", action="store_true", help="the table for the docs")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("libfuzzer", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(name: str, options: argparse.Namespace) -> Outcome:
    """One target in a process of its own; new inputs go to a folder that is thrown away."""
    memory = Path("/dev/shm")  # targets write very often
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        found, shards = Path(scratch, "found"), Path(scratch, "temporary")
        found.mkdir()
        shards.mkdir()
        command = [
            *(sys.executable, __file__, "--child", name, "--"),
            *(f"-runs={options.executions}", f"-max_total_time={options.seconds}"),
            *(f"-max_len={MOST_INPUT_BYTES}", f"-rss_limit_mb={MOST_MEMORY_MIB}"),
            *(f"-timeout={MOST_SECONDS_AN_INPUT}", "-print_final_stats=1"),
            *(f"-artifact_prefix={scratch}/", str(found), str(CORPUS / name)),
        ]
        start_s = time.monotonic()
        done = subprocess.run(
            command,
            cwd=scratch,
            env={**os.environ, "TMPDIR": str(shards)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        seconds = time.monotonic() - start_s
        findings = []
        for path in Path(scratch).iterdir():
            if path.is_file():
                findings.append(f"{path.name.partition('-')[0]}-{name}-{path.name[-12:]}")
                (options.findings / findings[-1]).write_bytes(path.read_bytes())
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
    executions = int(counted[1]) if counted else 0
    is_clean = done.returncode == 0 and not findings
    return Outcome(name, executions, tuple(findings), seconds, is_clean, _last_words(done.stdout))


def _last_words(output: str) -> str:
    """The Python traceback where there is one, without the fuzzer's own telling of its progress."""
    lines = [line for line in output.splitlines() if not re.match(r"#\d+|stat::|0x", line)]
    return "\n".join(lines[-40:])[-3000:]


def _fuzz(name: str, arguments: list[str]) -> int:
    """In the child: the target with its parser instrumented; does not return before the end."""
    import atheris

    import_module("fuzz.structure")  # not instrumented: it is not under test
    with atheris.instrument_imports(include=["dsmanager", "fuzz.targets"]):
        target = import_module(f"fuzz.targets.{name}")
    atheris.Setup([name, *arguments], target.run)
    atheris.Fuzz()
    return 0


def _show(rows: list[tuple[str, ...]], *, as_markdown: bool) -> None:
    if as_markdown:
        for row in (COLUMNS, ("---", *["---:"] * 5), *rows):
            print(f"| {' | '.join(row)} |")
        return
    widths = [max(map(len, cells)) for cells in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
