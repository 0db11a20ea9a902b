"""Peak memory of a build of 5 GB, and how much faster two workers are than one.

Run it as ``python benchmarks/build_memory.py [--size-gb 5] [--partitioned-gb 1] [--folder DIR]``.
It needs room on disk for three times the data. Every process that a build starts is watched; the
largest of them counts, TensorFlow is never loaded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import run_benchmark, verdict
from dsmanager.files import remove_path

IMAGE_BYTES = 110_000

PLAIN = """
import random
import tensorflow_datasets as tfds


class Large(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
            {{"image": tfds.features.Text(), "text": tfds.features.Text()}}))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}

    def _generate_examples(self):
        noise = random.Random(1).randbytes({size})
        for number in range({count}):
            yield number, {{"image": number.to_bytes(8, "big") + noise, "text": str(number)}}
"""

PARTED = """
import numpy as np
import tensorflow_datasets as tfds
from dsmanager.builders.partitioned import PartitionedBuilder


class Parted(PartitionedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
            {{"image": tfds.features.Image(shape=(160, 160, 3), encoding_format="jpeg")}}))

    def _partitions(self, dl_manager):
        return {{"train": list(range(32))}}

    def _generate_partition(self, split, partition):
        noise = np.random.default_rng(partition).integers(0, 255, (160, 160, 3), np.uint8)
        for number in range({count} // 32):
            yield partition * {count} + number, {{"image": np.roll(noise, number)}}
"""

BUILD = """
import pathlib, sys
from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build
from dsmanager.catalog.find import builders_at
from dsmanager.progress import CancelToken, Progress
home, data_dir, workers = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
(data_dir / "stage").mkdir(parents=True)
build(builders_at(home)[0], config=None, options=BuildOptions(workers=workers),
      data_dir=data_dir, stage=data_dir / "stage", log_path=data_dir / "log.txt",
      progress=Progress(), cancel=CancelToken())
"""


def write_builder(folder: Path, name: str, code: str, **values: int) -> Path:
    home = folder / name
    home.mkdir()
    (home / f"{name}.py").write_text(code.format(**values))
    return home


def build(home: Path, data_dir: Path, workers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(home), str(data_dir), str(workers)])


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    """The most memory that the process or one below it had, by the system's own high-water mark."""
    peak = 0
    while process.poll() is None:
        for pid in below(process.pid):
            peak = max(peak, high_water_bytes(pid))
        threading.Event().wait(0.05)
    assert process.returncode == 0
    return peak


def below(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += below(int(child))
    return found


def high_water_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(sizes[0]) * 1024 if sizes else 0


def two_workers(home: Path, data_dir: Path, rounds: int) -> float:
    """How many times as fast as one."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, times in seconds.items():
            remove_path(data_dir)
            os.sync()  # or the disk is busy with what was built before
            started_s = time.perf_counter()
            assert build(home, data_dir, workers).wait() == 0
            times.append(time.perf_counter() - started_s)
    medians = {workers: statistics.median(times) for workers, times in seconds.items()}
    print(f"  one worker {medians[1]:.2f} s, two workers {medians[2]:.2f} s")
    return medians[1] / medians[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=5)
    parser.add_argument("--images", type=int, default=32_000, help="for the comparison of workers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data is made")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        print("  memory is read from /proc: no measurement")
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        count = int(arguments.size_gb * 1e9) // IMAGE_BYTES
        home = write_builder(folder, "large", PLAIN, size=IMAGE_BYTES - 8, count=count)
        peak = peak_bytes(build(home, folder / "data", 2))
        print(f"\nMemory, {arguments.size_gb:g} GB")
        verdict("peak of one process, MB", peak / 1e6, 400, at_most=True)
        home = write_builder(folder, "parted", PARTED, count=arguments.images)
        print(f"\nPartitions, {arguments.images:,} images to encode")
        verdict(
            "two workers against one", two_workers(home, folder / "data", arguments.rounds), 1.7
        )


if __name__ == "__main__":
    run_benchmark(main)
