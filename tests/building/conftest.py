from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building import run
from dsmanager.building.options import BuildOptions
from dsmanager.catalog.find import builders_at, find_builder
from dsmanager.files import remove_path, staged_folder
from dsmanager.progress import CancelToken, Progress


@dataclass
class Bench:
    """A place to build in: data dir, log, and what the last build left in its stage."""

    folder: Path
    progress: Progress = field(default_factory=Progress)
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.txt"

    def build(
        self,
        path: Path | str,
        *,
        config: str | None = None,
        old_urls: Sequence[str] = (),
        **options: Any,
    ) -> Path:
        """Builds as the library does and returns the version folder in its place."""
        source = find_builder(path) if isinstance(path, str) else builders_at(path)[0]
        final = self.data_dir / source.name / "version"
        with staged_folder(final) as stage:
            staged = run.build(
                source,
                config=config,
                options=BuildOptions(**options),
                data_dir=self.data_dir,
                stage=stage,
                old_urls=old_urls,
                log_path=self.log_path,
                progress=self.progress,
                cancel=self.cancel,
            )
            assert staged.tree.is_relative_to(stage)
            staged.remove_partitions()
            place = self.folder / "built" / staged.ref.subdir
            place.parent.mkdir(parents=True, exist_ok=True)
            remove_path(place)
            staged.tree.rename(place)
        return place

    @property
    def leftovers(self) -> list[Path]:
        return sorted(self.data_dir.rglob("*")) if self.data_dir.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


@pytest.fixture(scope="session")
def write_builder_in() -> Callable[..., Path]:
    """``write_builder_in(folder, name, …)``"""
    return _write_builder


@pytest.fixture
def write_builder(tmp_path: Path) -> Callable[..., Path]:
    return functools.partial(_write_builder, tmp_path / "builders")


def _write_builder(
    folder: Path,
    name: str = "sample",
    *,
    body: str = "yield 0, {'x': 1}",
    features: str = "{'x': np.int64}",
    top: str = "",
    splits: str = "{'train': self._generate_examples(dl_manager)}",
    checksums: str | None = None,
    extra: str = "",
) -> Path:
    """A builder's folder ``<folder>/<name>`` whose examples come from ``body``."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    camel = "".join(part.capitalize() for part in name.split("_"))
    code = f"""\
import numpy as np
import tensorflow_datasets as tfds
{top}

class {camel}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First.", "0.9.0": "Before.", "0.8.0": "Long before."}}
{textwrap.indent(extra, "    ")}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({features}),
            description="A sample.",
        )

    def _split_generators(self, dl_manager):
        return {splits}

    def _generate_examples(self, dl_manager):
{textwrap.indent(textwrap.dedent(body), "        ")}
"""
    (home / f"{name}.py").write_text(code)
    if checksums is not None:
        (home / "checksums.tsv").write_text(checksums)
    return home


@pytest.fixture
def no_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes any import of TensorFlow in a child fail; returns the folder that does it."""
    folder = tmp_path / "without"
    (folder / "tensorflow").mkdir(parents=True)
    (folder / "tensorflow" / "__init__.py").write_text(
        "raise ImportError('TensorFlow was imported')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


MNIST = {
    "train-images-idx3-ubyte.gz": (60_000, 16, 784),
    "train-labels-idx1-ubyte.gz": (60_000, 8, 1),
    "t10k-images-idx3-ubyte.gz": (10_000, 16, 784),
    "t10k-labels-idx1-ubyte.gz": (10_000, 8, 1),
}


@pytest.fixture(scope="session")
def make_mnist() -> Callable[[Path], tuple[Path, Path]]:
    return _make_mnist


@pytest.fixture
def mnist(tmp_path: Path) -> tuple[Path, Path]:
    """A manual folder with the files of mnist, and the parent of a TFDS that expects them."""
    return _make_mnist(tmp_path / "mnist")


def _make_mnist(folder: Path) -> tuple[Path, Path]:
    from dsmanager.catalog.tfds import tfds_folder

    manual, package = folder / "manual", folder / "package"
    manual.mkdir(parents=True)
    lines = []
    for name, (count, header, width) in MNIST.items():
        content = gzip.compress(bytes(header) + bytes(range(10)) * (count * width // 10), 1)
        (manual / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        url = f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}"
        lines.append(f"{url}\t{len(content)}\t{digest}\t{name}\n")
    original = tfds_folder()
    assert original is not None
    copy = package / "tensorflow_datasets"
    copy.mkdir(parents=True)
    for entry in original.iterdir():
        if entry.name != "url_checksums":
            (copy / entry.name).symlink_to(entry)
    (copy / "url_checksums").mkdir()
    (copy / "url_checksums" / "mnist.txt").write_text("".join(lines))
    return manual, package


@dataclass
class Server:
    """An HTTP server of what is in ``files``; anything else is answered by ``statuses`` or 404."""

    url: str
    files: dict[str, bytes]
    statuses: dict[str, int]
    cut: dict[str, int]
    """After so many bytes of an answer the connection ends."""
    requests: list[str]
    validators: dict[str, dict[str, str]] = field(default_factory=dict)
    """Headers that tell one state of a file from another; with these there are ranges of it."""
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    """Those that were asked for."""
    at_cut: Callable[[], object] = bool
    """Called before the connection ends early."""


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def start_server() -> Iterator[Callable[[Answer], str]]:
    """``start_server(answer)``: the URL of a server that has every GET request answered by it."""

    def start(answer: Answer) -> str:
        members = {"do_GET": answer, "log_message": lambda *_: None}
        handler = type("Handler", (http.server.BaseHTTPRequestHandler,), members)
        httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        for end in (httpd.server_close, thread.join, httpd.shutdown):  # the last one first
            stack.callback(end)
        return f"http://127.0.0.1:{httpd.server_address[1]}"

    with ExitStack() as stack:
        yield start


@pytest.fixture
def server(start_server: Callable[[Answer], str]) -> Server:
    state = Server("", {}, {}, {}, [])

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        state.requests.append(request.path)
        if request.path in state.redirects:
            request.send_response(302)
            request.send_header("Location", state.redirects[request.path])
            request.end_headers()
            return
        content = state.files.get(request.path)
        if content is None:
            request.send_error(state.statuses.get(request.path, 404))
            return
        said = state.validators.get(request.path, {})
        start, asked = 0, request.headers["Range"]
        if asked is not None:
            state.ranges.append(asked)
        if asked is not None and request.headers["If-Range"] in said.values():
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        request.send_response(206 if start else 200)
        if start:
            whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", whole)
        for name, value in said.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        end = start + state.cut.get(request.path, len(content))
        with suppress(ConnectionError):  # who asked may have been killed, or knows enough
            request.wfile.write(content[start:end])
        if end < len(content):
            state.at_cut()

    state.url = start_server(answer)
    return state
