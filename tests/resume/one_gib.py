"""Interrupts an upload and a download with SIGKILL at 70 % and counts what the second try moves.

    python tests/resume/one_gib.py [--mib 1024]

The embedded server stands behind a TCP proxy that counts every byte of both directions, headers
included. Exits 1 when a second try moves more than 35 %, or when anything is left over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from dsmanager.remotes import server
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig, add_remote

ARCHIVE = "big__1.0.0__cache.tar"
REF = "big:1.0.0"
AT = 0.70
MOST = 0.35


class CountingProxy:
    """Passes bytes on, counts them, and calls ``then`` once one direction reaches a limit."""

    def __init__(self, endpoint_url: str) -> None:
        parts = urlsplit(endpoint_url)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._lock = threading.Lock()
        self.moved = {"up": 0, "down": 0}
        self._limit: tuple[str, int, Callable[[], object]] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._clients: set[socket.socket] = set()
        self._begin(self._accept)

    def close(self) -> None:
        """Ends every connection; whoever passes bytes on is waited for."""
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with suppress(OSError):  # it has ended by itself
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def start(self, direction: str, limit: int, then: Callable[[], object]) -> None:
        """Counts from zero. A ``limit`` of 0 is none."""
        with self._lock:
            self.moved = {"up": 0, "down": 0}
            self._limit = (direction, limit, then) if limit else None

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._clients.add(client)
                self._begin(self._pass_on, client)

    def _pass_on(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as behind:
            back = threading.Thread(target=self._pump, args=(behind, client, "down"), daemon=True)
            back.start()
            self._pump(client, behind, "up")
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        buffer = memoryview(bytearray(256 << 10))
        with suppress(OSError):
            while count := source.recv_into(buffer):
                self._count(way, count)
                sink.sendall(buffer[:count])
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _count(self, way: str, count: int) -> None:
        with self._lock:
            self.moved[way] += count
            if self._limit and way == self._limit[0] and self.moved[way] >= self._limit[1]:
                then, self._limit = self._limit[2], None
                then()


@dataclass
class Bench:
    """A server, a proxy before it, and machines that see only the proxy."""

    folder: Path
    proxy: CountingProxy
    direct: RemoteConfig
    seen: RemoteConfig = field(init=False)

    def __post_init__(self) -> None:
        self.seen = replace(self.direct, name="bench", endpoint_url=self.proxy.url)

    def machine(self, name: str) -> Path:
        root = self.folder / name
        (root / "data" / "cache").mkdir(parents=True)
        add_remote(root / "config.toml", self.seen, make_current=True)
        return root

    def begin(self, root: Path, verb: str) -> subprocess.Popen[str]:
        places = {
            "DSMANAGER_CONFIG": str(root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(root / "state"),
            "DSMANAGER_DATA_DIR": str(root / "data"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "dsmanager", "--json", verb, REF],
            env={**os.environ, **places},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
        )

    def kill_at(self, root: Path, verb: str, limit: int) -> None:
        """Runs the verb and kills it once ``limit`` bytes have moved."""
        way = "up" if verb == "upload" else "down"
        reached = threading.Event()
        self.proxy.start(way, limit, reached.set)
        process = self.begin(root, verb)
        reached.wait(120)
        process.send_signal(signal.SIGKILL)
        _, words = process.communicate()
        assert process.returncode == -signal.SIGKILL, (process.returncode, words)

    def finish(self, root: Path, verb: str) -> tuple[int, str]:
        """Runs the verb to its end; the bytes that it moved, and what it said."""
        self.proxy.start("up", 0, lambda: None)
        process = self.begin(root, verb)
        _, words = process.communicate()
        assert process.returncode == 0, words
        return self.proxy.moved["up" if verb == "upload" else "down"], words

    def leftovers(self, root: Path) -> list[str]:
        """What must not be there any more, here and on the server."""
        names = [path.name for path in (root / "data").rglob(".*")]
        if (root / "state" / "uploads").exists():
            names += os.listdir(root / "state" / "uploads")
        with Remote(self.direct) as remote:
            return names + [upload.name for upload in remote.unfinished_uploads()]


def some_archive(root: Path, size: int) -> str:
    """A cached archive of noise with a manifest that records it; returns its sha256."""
    digest = hashlib.sha256()
    with open(root / "data" / "cache" / ARCHIVE, "wb") as file:
        for start in range(0, size, 1 << 20):
            block = os.urandom(min(1 << 20, size - start))
            digest.update(block)
            file.write(block)
    entry = {
        "archive": ARCHIVE,
        "size": size,
        "sha256": digest.hexdigest(),
        "subdir": ["big/1.0.0"],
        "remote": None,
    }
    manifest = {"schema": 2, "datasets": {REF: entry}}
    (root / "data" / "datasets.json").write_text(json.dumps(manifest))
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def interrupted_upload(bench: Bench, size: int) -> tuple[float, str]:
    """The share of the archive that the second try sent, and the archive's sha256."""
    root = bench.machine("sender")
    sha256 = some_archive(root, size)
    bench.kill_at(root, "upload", int(AT * size))
    moved, words = bench.finish(root, "upload")
    assert "resuming" in words, words
    with Remote(bench.direct) as remote:
        stored = remote.head(ARCHIVE)
    assert stored is not None
    assert stored.holds(size, sha256)
    assert bench.leftovers(root) == []
    return moved / size, sha256


def interrupted_download(bench: Bench, size: int, sha256: str) -> float:
    """The share of the archive that the second try fetched."""
    root = bench.machine("receiver")
    bench.kill_at(root, "download", int(AT * size))
    assert not (root / "data" / "cache" / ARCHIVE).exists()
    moved, words = bench.finish(root, "download")
    assert "resuming" in words, words
    assert sha256_of(root / "data" / "cache" / ARCHIVE) == sha256
    assert bench.leftovers(root) == []
    return moved / size


def replaced_download(bench: Bench, size: int) -> float:
    """The same, when somebody replaces the object between both tries."""
    root, author = bench.machine("late"), bench.machine("author")
    bench.kill_at(root, "download", int(AT * size))
    sha256 = some_archive(author, size)
    from dsmanager.progress import CancelToken, Progress

    with Remote(bench.direct) as remote:
        remote.upload_file(
            author / "data" / "cache" / ARCHIVE,
            ARCHIVE,
            size=size,
            sha256=sha256,
            overwrite=True,
            progress=Progress(),
            cancel=CancelToken(),
        )
    moved, words = bench.finish(root, "download")
    assert "has changed" in words, words
    assert sha256_of(root / "data" / "cache" / ARCHIVE) == sha256
    assert bench.leftovers(root) == []
    return moved / size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    size = parser.parse_args().mib << 20
    with tempfile.TemporaryDirectory(prefix="dsmanager-resume-") as folder:
        running = server.start("resume", state_dir=Path(folder, "server"))
        try:
            config = RemoteConfig(
                "direct",
                "s3://datasets/resume",
                endpoint_url=running.endpoint_url,
                credentials_file=running.credentials_file,
            )
            bench = Bench(Path(folder), CountingProxy(str(running.endpoint_url)), config)
            sent, sha256 = interrupted_upload(bench, size)
            fetched = interrupted_download(bench, size, sha256)
            anew = replaced_download(bench, size)
        finally:
            server.stop("resume", state_dir=Path(folder, "server"))
    print(f"{size >> 20:,} MiB, killed with SIGKILL at {AT:.0%} of the bytes at the proxy")
    print(f"second upload sent       {sent:6.1%}  (target <= {MOST:.0%})")
    print(f"second download fetched  {fetched:6.1%}  (target <= {MOST:.0%})")
    print(f"replaced in between      {anew:6.1%}  (noticed, fetched anew)")
    return 0 if max(sent, fetched) <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
