"""Runs every benchmark: ``make bench``. Each prints ratios of one run; none is a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "start",
    "archives",
    "transfers",
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
        subprocess.run([sys.executable, str(script)], check=True)


if __name__ == "__main__":
    main()
