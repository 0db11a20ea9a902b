"""A streamed split beside the same split on disk: undecoded records in shuffled batches.

    python benchmarks/streaming.py [--rounds 5]

The store is the embedded server on loopback. The first epoch fetches, the later ones find their
records in the cache: those are compared with the local split.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timing import Contender, medians, run_benchmark, show, verdict

from dsmanager.library.library import Library
from dsmanager.records.encoding import bytes_feature, example_pieces
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.remotes import server
from dsmanager.settings import RemoteConfig, Settings

KINDS = {"photos of 110 KB": (2000, 110_000), "recordings of 10 KB": (5000, 10_000)}
BATCH = 256
AHEAD = 2


def write_dataset(data_dir: Path, count: int, size_bytes: int) -> None:
    folder = data_dir / "blobs" / "1.0.0"
    folder.mkdir(parents=True)
    split = {"name": "train", "shardLengths": [str(count)], "numBytes": str(count * size_bytes)}
    info = {"name": "blobs", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    package = "tensorflow_datasets.core.features"
    data = {"pythonClassName": f"{package}.text_feature.Text", "text": {}}
    features = {
        "pythonClassName": f"{package}.features_dict.FeaturesDict",
        "featuresDict": {"features": {"data": data}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features))
    with TFRecordWriter(folder / "blobs-train.tfrecord-00000-of-00001") as writer:
        for _ in range(count):
            content = bytes_feature(os.urandom(size_bytes))
            writer.write(b"".join(example_pieces({"data": content})))


@contextmanager
def library(root: Path) -> Iterator[Library]:
    running = server.start("bench", state_dir=root / "servers")
    try:
        remote = RemoteConfig(
            "bench",
            f"s3://{running.bucket}/bench",
            endpoint_url=running.endpoint_url,
            credentials_file=running.credentials_file,
        )
        yield Library(
            settings=Settings(
                data_dir=root / "data",
                state_dir=root / "state",
                config_file=root / "config.toml",
                manifest=root / "datasets.json",
                remotes={"bench": remote},
                working_dir=root,
            )
        )
    finally:
        server.stop("bench", state_dir=root / "servers")


def epoch(split: Any, seed: Iterator[int]) -> None:
    """Reads as a loader does: some batches ahead are announced."""
    order = random.Random(next(seed)).sample(range(len(split)), len(split))
    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    for batch in batches[:AHEAD]:
        split.prefetch(batch)
    for number, batch in enumerate(batches):
        if number + AHEAD < len(batches):
            split.prefetch(batches[number + AHEAD])
        split.read(batch)


def compare(count: int, size_bytes: int, kind: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, library(Path(folder)) as here:
        write_dataset(here.data_dir, count, size_bytes)
        here.publish("blobs", compression="none")
        options = {"split": "train", "framework": "numpy"}
        _, local = here.load("blobs", **options)
        _, streamed = here.load("blobs", stream=True, cache_dir=f"{folder}/blocks", **options)
        seed = itertools.count()
        started_s = time.perf_counter()
        epoch(streamed, seed)
        seconds = {"first epoch, from the store": time.perf_counter() - started_s}
        seconds |= medians(
            [
                Contender("local", lambda: epoch(local, seed)),
                Contender("later epoch, from the cache", lambda: epoch(streamed, seed)),
            ],
            rounds=rounds,
        )
        show(f"{count:,} {kind}", count * size_bytes, seconds)
        ratio = seconds["local"] / seconds["later epoch, from the cache"]
        verdict("streamed after the first epoch / local", ratio, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for kind, (count, size_bytes) in KINDS.items():
        compare(count, size_bytes, kind, rounds)


if __name__ == "__main__":
    run_benchmark(main)
