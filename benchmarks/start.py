"""How long the program takes to start: ``--help``, and ``list`` of 1,000 datasets.

Without a remote, and with one on loopback that holds all 1,000 archives. Targets are the aims of
the design, for a quiet machine. The datasets were listed once before, as everybody's were; what the
objects of the remote hash to has still to be learnt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import Contender, medians, run_benchmark, verdict

from dsmanager.progress import CancelToken
from dsmanager.remotes import server
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig, add_remote

_SETTLED_S = 2.1
"""What has changed a moment ago is not remembered yet."""


def make_dataset(data_dir: Path, name: str) -> tuple[str, dict[str, object]]:
    """One built dataset with a cached archive, a sidecar and a manifest entry."""
    folder = data_dir / name / "1.0.0"
    folder.mkdir(parents=True)
    split = {"name": "train", "shardLengths": ["1"], "numBytes": "1"}
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text("{}")
    (folder / f"{name}-train.tfrecord-00000-of-00001").write_bytes(b"x")
    archive = f"{name}__1.0.0__cache.tar.gz"
    content = name.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    (data_dir / "cache").mkdir(exist_ok=True)
    (data_dir / "cache" / archive).write_bytes(content)
    subdir = [f"{name}/1.0.0"]
    entry = {"archive": archive, "size": len(content), "sha256": sha256, "subdir": subdir}
    member = {"path": f"{name}/1.0.0/features.json", "size": 2, "sha256": sha256}
    sidecar = {
        "schema": 1, "ref": f"{name}:1.0.0", **entry, "tar_sha256": sha256,
        "compression": {"format": "gz"}, "splits": {"train": {"examples": 1, "shards": 1}},
        "created": "2026-01-01T00:00:00Z", "dsmanager_version": "0", "tfds_version": None,
        "builder_sha256": None, "sources": [], "license": None, "citation": None,
        "members": [member],
    }  # fmt: skip
    (data_dir / "cache" / f"{archive}.json").write_text(json.dumps(sidecar))
    return f"{name}:1.0.0", {**entry, "remote": None}


def fill_remote(remote: Remote, cache: Path) -> None:
    for path in sorted(cache.iterdir()):
        remote.upload_bytes(path.read_bytes(), path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.datasets)


def measure(folder: Path, count: int) -> None:
    data_dir, state_dir, config = folder / "data", folder / "state", folder / "config.toml"
    entries = dict(make_dataset(data_dir, f"dataset_{number:04}") for number in range(count))
    (data_dir / "datasets.json").write_text(json.dumps({"schema": 2, "datasets": entries}))
    environment = {
        **os.environ,
        "DSMANAGER_CONFIG": str(config),
        "DSMANAGER_STATE_DIR": str(state_dir),
        "DSMANAGER_DATA_DIR": str(data_dir),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled

    def command(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "dsmanager", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    time.sleep(_SETTLED_S)
    command("list")
    local = [
        Contender("python -c pass", lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
        Contender("dsmanager --help", lambda: command("--help")),
        Contender(f"list of {count:,}", lambda: command("list")),
    ]
    seconds = medians(local)
    running = server.start("bench", state_dir=state_dir, cancel=CancelToken())
    try:
        remote = RemoteConfig(
            "bench",
            f"s3://{running.bucket}",
            endpoint_url=running.endpoint_url,
            credentials_file=running.credentials_file,
        )
        fill_remote(Remote(remote), data_dir / "cache")
        add_remote(config, remote)
        seconds |= medians([Contender(f"list of {count:,} + remote", lambda: command("list"))])
    finally:
        server.stop("bench", state_dir=state_dir)
    for name, median_s in seconds.items():
        print(f"  {name:<28} {median_s * 1000:6.0f} ms")
    verdict("--help, ms", seconds["dsmanager --help"] * 1000, 150, at_most=True)
    verdict("list, ms", seconds[f"list of {count:,}"] * 1000, 400, at_most=True)
    with_remote_ms = seconds[f"list of {count:,} + remote"] * 1000
    verdict("list with a remote, ms", with_remote_ms, 800, at_most=True)


if __name__ == "__main__":
    run_benchmark(main)
