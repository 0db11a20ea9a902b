"""States that an experiment starts from: made once, copied as often as needed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig
from harness.machine import Machine, new_machine

ARCHIVE = "tiny__1.0.0__cache.tar.gz"
PAYLOAD_BYTES = 18 << 20
"""Makes an archive of two parts and three ranges."""

SMALL_PAYLOAD_BYTES = 11 << 19
"""The same where parts are made as small as servers take them: 5 MiB."""

RANGES_PAYLOAD_BYTES = 3 << 19
"""Makes an archive of several ranges where those are made small, and of one part."""


def with_payload(built: Path, folder: Path, size_bytes: int = PAYLOAD_BYTES) -> Path:
    """A copy of a data dir whose ``tiny`` holds random bytes besides, for transfers that last."""
    shutil.copytree(built, folder)
    payload = random.Random(1).randbytes(size_bytes)
    (folder / "tiny" / "1.0.0" / "payload.bin").write_bytes(payload)
    return folder


class Starts:
    """Makes machines; ``built`` is a data dir with ``tiny:1.0.0``, ``places`` makes remotes.

    A start is a name: what is here, and whether it is on the remote. Each machine has a remote of
    its own where its start says so; else all machines of one start share one, to read from it.
    """

    def __init__(self, built: Path, places: Callable[[], RemoteConfig], folder: Path) -> None:
        self._built = built
        self._places = places
        self._folder = folder
        self._shared: RemoteConfig | None = None
        self._templates: dict[str, Path] = {}

    def make(self, start: str, root: Path) -> tuple[Machine, RemoteConfig]:
        """A machine in this state, and its remote."""
        if start not in self._templates:
            self._templates[start] = self._template(start)
        shutil.copytree(self._templates[start], root)
        machine = Machine(root)
        config = self._remote(start)
        machine.use(config)
        return machine, config

    def _template(self, start: str) -> Path:
        machine = new_machine(self._folder / start.replace(" ", "-"))
        if start != "empty":
            shutil.copytree(self._built / "tiny", machine.data_dir / "tiny")
            if start != "built":
                machine.library.package("tiny", record=start != "unrecorded")
        readme = machine.data_dir / "tiny" / "1.0.0" / "README.txt"
        archive = machine.cache / ARCHIVE
        if start in ("changed", "remote other"):
            readme.write_text("other\n" * 1000)
        if start == "remote other":
            machine.library.package("tiny", overwrite=True)
        if start in ("cached", "damaged", "damaged here"):
            shutil.rmtree(machine.data_dir / "tiny")
        if start in ("damaged", "damaged here"):
            flip(archive)
        if start == "littered":
            litter(machine)
        if start in ("remote", "remote and other"):
            if start == "remote and other":
                recorded = machine.manifest.read_bytes()
                readme.write_text("other\n")
                machine.library.package("tiny", overwrite=True)
                machine.manifest.write_bytes(recorded)
            else:
                shutil.rmtree(machine.cache)
            shutil.rmtree(machine.data_dir / "tiny")
        if start == "imports":
            write_entries(machine.root / "other.json", 0, 50)
        return machine.root

    def _remote(self, start: str) -> RemoteConfig:
        if start in ("remote", "remote and other", "everything", "damaged here"):
            if self._shared is None:
                self._shared = self.published()
            return self._shared
        if start in ("everywhere", "remote other"):
            return self.published()
        config = self._places()
        if start == "shared":
            self._share(config)
        return config

    def _share(self, config: RemoteConfig) -> None:
        """Puts a manifest of fifty entries on the remote."""
        source = self._folder / "shared.json"
        write_entries(source, 0, 50)
        with Remote(config) as remote:
            remote.upload_bytes(source.read_bytes(), "datasets.json")

    def published(self) -> RemoteConfig:
        """A remote with the archive of what is built."""
        config = self._places()
        if "packaged" not in self._templates:
            self._templates["packaged"] = self._template("packaged")
        machine = Machine(self._templates["packaged"])
        machine.use(config)
        machine.library.upload("tiny")
        return config


def flip(path: Path) -> None:
    """Changes one byte in the middle; size and mtime stay."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def litter(machine: Machine) -> None:
    """What processes leave that were killed long ago."""
    version = machine.data_dir / "tiny" / "1.0.0"
    shutil.copytree(version, version.with_name(".1.0.0.0123abcd.tmp"))
    (machine.cache / f".{ARCHIVE}.0123abcd.tmp").write_bytes(b"half")
    (machine.cache / "gone__1.0.0__cache.tar.gz.json").write_bytes(b"{}")
    (machine.data_dir / "tiny__1.0.0.lock").write_bytes(b"1 build tiny:1.0.0\n")
    (machine.data_dir / ".datasets.json.0123abcd.tmp").write_bytes(b"{")


def write_entries(path: Path, first: int, count: int) -> None:
    """A manifest with ``count`` entries of datasets numbered from ``first`` on."""
    datasets = {
        f"set{number}:1.0.0": {
            "archive": f"set{number}__1.0.0__cache.tar.gz",
            "size": number,
            "sha256": f"{number:064x}",
            "subdir": [f"set{number}/1.0.0"],
            "remote": None,
        }
        for number in range(first, first + count)
    }
    path.write_text(json.dumps({"schema": 2, "datasets": datasets}))
