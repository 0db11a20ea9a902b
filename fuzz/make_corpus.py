"""Writes the seeds of all targets to ``tests/hostile/corpus/<target>/``; regressions stay."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "hostile" / "corpus"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from fuzz.targets import NAMES

    for name in NAMES:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for seed, content in import_module(f"fuzz.targets.{name}").seeds():
            (folder / seed).write_bytes(content)


if __name__ == "__main__":
    main()
