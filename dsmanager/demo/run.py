"""The demo: one dataset through its whole life, between two data dirs and a real S3 server.

Everything lives below one folder, settings and state included, so that nothing of the user's own is
read or written. The steps are the library's verbs, nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dsmanager.demo.source import make_digit_source
from dsmanager.errors import DsmanagerError
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes import server
from dsmanager.settings import RemoteConfig, Settings, add_remote

__all__ = ["SERVER", "Demo", "Step"]

SERVER = "demo"
_DATASET = "digit"


@dataclass(frozen=True, slots=True)
class Step:
    """One verb of the demo: on which machine, what came of it, and how long it took."""

    machine: str
    verb: str
    text: str
    seconds: float


class Demo:
    """Two machines, ``a`` and ``b``, a server and a manifest that they share."""

    def __init__(self, folder: Path, *, progress: Progress, cancel: CancelToken) -> None:
        self.folder = folder
        self.config_file = folder / "config.toml"
        self._progress = progress
        self._cancel = cancel
        self._source = folder / "source"

    def data_dir(self, machine: str) -> Path:
        return self.folder / f"machine-{machine}"

    def steps(self) -> Iterator[Step]:
        """Takes one step after the other. Raises the error of the first that fails."""
        yield self._step("-", "source", self._make_source)
        yield self._step("-", "remote serve", self._serve)
        first, second = self._library("a"), self._library("b")
        yield self._step("a", "build", lambda: self._build(first))
        yield self._step("a", "package", lambda: self._package(first))
        yield self._step("a", "verify", lambda: self._verify(first))
        yield self._step("a", "upload", lambda: self._upload(first))
        yield self._step("b", "download", lambda: self._download(second))
        yield self._step("b", "verify", lambda: self._verify(second))
        yield self._step("b", "extract", lambda: self._extract(second))
        yield self._step("b", "load", lambda: self._load(second))

    def stop(self) -> None:
        """Stops the server of the demo."""
        server.stop(SERVER, state_dir=self.folder / "state")

    def _step(self, machine: str, verb: str, work: Callable[[], str]) -> Step:
        self._cancel.check()
        self._progress.start_phase(verb)
        started_s = time.monotonic()
        text = work()
        return Step(machine, verb, text, time.monotonic() - started_s)

    def _library(self, machine: str) -> Library:
        settings = Settings.load(
            data_dir=self.data_dir(machine),
            environ={"DSMANAGER_CONFIG": str(self.config_file)},
            working_dir=self.folder,
        )
        return Library(settings=settings)

    def _make_source(self) -> str:
        make_digit_source(self._source)
        count = sum(1 for _ in self._source.rglob("*.wav"))
        return f"{count:,} synthesised recordings"

    def _serve(self) -> str:
        state_dir = self.folder / "state"
        started = server.start(
            SERVER, state_dir=state_dir, folder=self.folder / "s3", cancel=self._cancel
        )
        self.config_file.write_text(
            f'state_dir = "{state_dir}"\nmanifest = "{self.folder / "datasets.json"}"\n', "utf-8"
        )
        remote = RemoteConfig(
            name=SERVER,
            url=f"s3://{started.bucket}",
            endpoint_url=started.endpoint_url,
            credentials_file=started.credentials_file,
        )
        add_remote(self.config_file, remote)
        return f"SeaweedFS at {started.endpoint_url}"

    def _build(self, library: Library) -> str:
        (built,) = library.build(
            _DATASET, manual_dir=self._source, progress=self._progress, cancel=self._cancel
        )
        splits = ", ".join(f"{name} {count:,}" for name, count in built.splits.items())
        return f"{built.ref}: {splits}"

    def _package(self, library: Library) -> str:
        (packed,) = library.package(_DATASET, progress=self._progress, cancel=self._cancel)
        return f"{packed.path.name}, {packed.size_bytes:,} bytes, sha256 {packed.sha256[:16]}…"

    def _verify(self, library: Library) -> str:
        (verified,) = library.verify(
            _DATASET, places=("cached",), progress=self._progress, cancel=self._cancel
        )
        return f"agrees with {' and '.join(verified.against)}"

    def _upload(self, library: Library) -> str:
        (sent,) = library.upload(_DATASET, progress=self._progress, cancel=self._cancel)
        return sent.url

    def _download(self, library: Library) -> str:
        (fetched,) = library.download(_DATASET, progress=self._progress, cancel=self._cancel)
        return f"{fetched.size_bytes:,} bytes, sha256 {fetched.sha256[:16]}…"

    def _extract(self, library: Library) -> str:
        (extracted,) = library.extract(_DATASET, progress=self._progress, cancel=self._cancel)
        return f"{extracted.files} files, every one with its sha256"

    def _load(self, library: Library) -> str:
        info, splits = library.load(
            _DATASET, framework="numpy", progress=self._progress, cancel=self._cancel
        )
        example = next(iter(splits["train"]))
        counts = {name: sum(1 for _ in examples) for name, examples in splits.items()}
        if counts != {name: split.num_examples for name, split in info.splits.items()}:
            raise DsmanagerError(f"loaded {counts}, which is not what was built")
        samples = example["audio"].shape[0]
        read = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return f"read {read}; the first has {samples:,} samples, label {example['label']}"
