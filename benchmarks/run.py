"""Runs every benchmark: ``make bench``. Each prints ratios of one run; none is a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from timing import run_benchmark

BENCHMARKS = (
    "start",
    "archives",
    "transfers",
    "streaming",
    "build",
    "build_memory",
    "convert_imagenet",
    "convert_tars",
    "tui",
)


def main() -> None:
    for name in BENCHMARKS:
        print(f"\n=== {name} ===", flush=True)
        script = Path(__file__).with_name(f"{name}.py")
        with subprocess.Popen([sys.executable, str(script)]) as process:
            try:
                code = process.wait()
            finally:
                process.terminate()  # where this is ended in the middle: it cleans up, too
        if code:
            sys.exit(f"{name} ended with {code}")


if __name__ == "__main__":
    run_benchmark(main)
