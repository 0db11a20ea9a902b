"""Real S3 servers for every test, and an environment that knows nothing of this machine.

What takes long is made once: a process with everything imported, of which dsmanager is forked, for
each worker, and small built datasets for all of them.
"""

from __future__ import annotations

import compileall
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.machine import write_builders
from harness.processes import Zygote
from hypothesis import settings

from dsmanager.locks import locked
from dsmanager.remotes import server
from dsmanager.settings import RemoteConfig

ROOT = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")
PLENTY_BYTES = 8 << 30
_FOREIGN = ("AWS_", "ARMORY_", "DSMANAGER_", "VERIFY_SSL", "TFDS_DATA_DIR", "S3_")


def pytest_configure() -> None:
    """Each worker has one processor: threads of NumPy's in each process would share it.

    Where memory is plenty, tests write there: making files on a disk takes a third of their time.
    What is tested heeds signals that whoever started the tests may have had ignored (nohup). No
    example of a property has a deadline: another copy of the tests may run beside this one.
    """
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if _free_memory_bytes() >= PLENTY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _free_memory_bytes() -> int:
    """What the folder in memory can take, which nothing has set aside for it; 0 without one."""
    try:
        found, lines = os.statvfs(MEMORY), Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    if found.f_flag & os.ST_NOEXEC:  # fixtures write programs
        return 0
    available = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return min(found.f_bavail * found.f_frsize, *(int(kib) << 10 for kib in available))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiles dsmanager: builders' processes write no bytecode, and would do it every time."""
    if not hasattr(session.config, "workerinput"):
        for folder in ("dsmanager", "screens", "builders"):
            compileall.compile_dir(ROOT / folder, quiet=2)


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket."""

    kind: str
    endpoint_url: str
    bucket: str
    credentials_file: Path

    @property
    def credentials(self) -> dict[str, str]:
        """``access_key`` and ``secret_key``."""
        return json.loads(self.credentials_file.read_bytes())

    def config(self, prefix: str | None = None, *, name: str = "test") -> RemoteConfig:
        """A remote below a prefix of its own, unless one is given."""
        place = secrets.token_hex(6) if prefix is None else prefix
        return RemoteConfig(
            name=name,
            url=f"s3://{self.bucket}/{place}",
            endpoint_url=self.endpoint_url,
            credentials_file=self.credentials_file,
        )

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it with botocore's own means."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.credentials["access_key"],
            "AWS_SECRET_ACCESS_KEY": self.credentials["secret_key"],
        }


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TFDS leaves an empty folder for each builder in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No credentials, settings or state of whoever runs the tests reach them."""
    for key in list(os.environ):
        if key.startswith(_FOREIGN):
            monkeypatch.delenv(key)
    nowhere = tmp_path_factory.getbasetemp() / "nowhere"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("DSMANAGER_CONFIG", str(nowhere / "config.toml"))


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The embedded server, one a worker; ask for a prefix of your own with ``config()``."""
    state_dir = tmp_path_factory.mktemp("seaweedfs")
    running = server.start("tests", state_dir=state_dir)
    assert running.endpoint_url is not None
    yield S3Server("seaweedfs", running.endpoint_url, running.bucket, running.credentials_file)
    server.stop("tests", state_dir=state_dir)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """``rclone serve s3``: another server's opinion of the same protocol."""
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "data" / "datasets").mkdir(parents=True)
    pair = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
    (folder / "credentials.json").write_text(json.dumps(pair))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["rclone", "serve", "s3", "--auth-key", ",".join(pair.values())]
    command += [
        "--addr",
        f"127.0.0.1:{port}",
        "--config",
        str(folder / "none"),
        str(folder / "data"),
    ]
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(_from_venv(command), stdout=log, stderr=log)
    wait_until(lambda: _is_listening(port), "rclone listens")
    yield S3Server("rclone", f"http://127.0.0.1:{port}", "datasets", folder / "credentials.json")
    process.kill()  # it would wait for 20 s for answers that nobody reads to the end
    process.wait()


@pytest.fixture
def remote_config(seaweedfs: S3Server) -> RemoteConfig:
    """An empty remote on the embedded server, of this test alone."""
    return seaweedfs.config()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run; what is made there is made under a lock."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts processes of dsmanager that need not import it, one a worker."""
    with Zygote() as zygote:
        yield zygote


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small builders, ``tiny`` and ``several``."""
    return write_builders(tmp_path_factory.mktemp("builders") / "all")


@pytest.fixture(scope="session")
def built_data(shared_folder: Path, builders: Path, zygote: Zygote) -> Path:
    """``tiny:1.0.0``, ``several/rgb:2.1.0`` and ``several/all:2.1.0``, built once: copy them."""
    root = shared_folder / "built-data"
    with locked(root.with_suffix(".lock"), purpose="build the data of the tests"):
        if not (root / "complete").exists():
            shutil.rmtree(root, ignore_errors=True)  # of a worker that failed
            machine = zygote.new_machine(root)
            machine.run("build", "--path", str(builders / "tiny"))
            machine.run("build", "several/*", "--path", str(builders / "several"))
            (root / "complete").touch()
    return root / "data"


@pytest.fixture(name="wait_until", scope="session")
def _wait_until_fixture() -> Callable[[Callable[[], bool], str], None]:
    """``wait_until(condition, what)``: for conditions that other processes bring about."""
    return wait_until


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _from_venv(command: list[str]) -> list[str]:
    import sysconfig

    beside = Path(sysconfig.get_path("scripts"), command[0])
    return [str(beside) if beside.exists() else command[0], *command[1:]]
