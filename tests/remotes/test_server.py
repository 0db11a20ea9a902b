"""The embedded server: private, patient with restarts, and never in the way of another one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from dsmanager.cli.main import main
from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.library.health import examine
from dsmanager.remotes import server, weed
from dsmanager.remotes.guard import OPEN_PORTS
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig, Settings


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A state dir with a space in its name, whose servers end with the test."""
    folder = tmp_path / "state dir"
    yield folder
    for each in server.statuses(state_dir=folder):
        server.stop(each.name, state_dir=folder)


def remote_of(running: server.ServerStatus) -> Remote:
    return Remote(
        RemoteConfig(
            running.name,
            f"s3://{running.bucket}/",
            endpoint_url=running.endpoint_url,
            credentials_file=running.credentials_file,
        )
    )


def test_it_keeps_data_credentials_and_ports_over_a_restart(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FOREIGNKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign-secret")
    data = tmp_path / "données"
    first = server.start("local", state_dir=state_dir, folder=data, bucket="team-data")
    assert first.running
    assert first.pid is not None
    assert os.getsid(first.pid) != os.getsid(0), "it outlives the terminal it was started from"
    with remote_of(first) as remote:
        remote.upload_bytes(b"kept", "a.json")
    foreign = RemoteConfig("f", "s3://team-data/", endpoint_url=first.endpoint_url)
    with Remote(foreign) as remote, pytest.raises(DsmanagerError, match="does not know this"):
        remote.list()

    stopped = server.stop("local", state_dir=state_dir)
    assert not stopped.running
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{(first.endpoint_url or '')[-5:]}.sock"))
    again = server.start("local", state_dir=state_dir)
    assert (again.endpoint_url, again.folder, again.bucket) == (
        first.endpoint_url,
        data,
        "team-data",
    )
    with remote_of(again) as remote:
        assert remote.read_bytes("a.json", max_bytes=10) == b"kept"


@pytest.fixture
def home(seaweedfs: object, remote_config: RemoteConfig) -> Path:
    """The folder of the tests' server, which holds one object at least."""
    assert remote_config.credentials_file is not None
    with Remote(remote_config) as remote:
        remote.upload_bytes(b"private", "a.json")
    return remote_config.credentials_file.parent


def test_no_http_port_answers_without_credentials(home: Path, remote_config: RemoteConfig) -> None:
    ports = json.loads((home / "server.json").read_bytes())["ports"]
    place = f"{remote_config.bucket}/{remote_config.prefix}/a.json"
    asked = [
        ("s3", "GET", f"/{place}"),
        ("s3", "DELETE", f"/{place}"),
        ("filer", "GET", f"/buckets/{place}"),
        ("filer", "DELETE", f"/buckets/{remote_config.bucket}?recursive=true"),
        ("filer", "PUT", f"/buckets/{place}"),
        ("volume", "GET", "/1,01637037d6"),
        ("volume", "DELETE", "/1,01637037d6"),
        ("master", "GET", "/dir/assign"),  # its answer holds a token to write with
        ("master", "GET", "/dir/lookup?fileId=1,01637037d6&read=yes"),  # and one to read
        ("master", "GET", f"/col/delete?collection={remote_config.bucket}"),
        ("master", "POST", "/submit"),
    ]
    for component, method, path in asked:
        connection = http.client.HTTPConnection("127.0.0.1", ports[component], timeout=10)
        with closing(connection):
            connection.request(method, path)
            assert connection.getresponse().status in (401, 403, 404), (component, method, path)
    with Remote(remote_config) as remote:
        assert remote.read_bytes("a.json", max_bytes=10) == b"private"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_every_grpc_port_asks_for_the_certificate_of_its_owner(home: Path) -> None:
    state = json.loads((home / "server.json").read_bytes())
    assert state["guarded"]
    assert len(state["ports"]) == 5
    certified = grpc_context()
    certified.load_cert_chain(home / "grpc.pem")
    for port in (port + 10_000 for port in state["ports"].values()):
        assert answer_to_http2(port, None) == b""
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            answer_to_http2(port, grpc_context())
        assert answer_to_http2(port, certified)


def grpc_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def answer_to_http2(port: int, context: ssl.SSLContext | None) -> bytes:
    """The first bytes of the answer to an HTTP/2 client; empty when the server hangs up."""
    with ExitStack() as stack:
        line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        if context is not None:
            line = stack.enter_context(context.wrap_socket(line))
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        try:
            return line.recv(64)
        except ConnectionResetError:
            return b""


def test_a_server_without_certificate_says_who_can_read_it(
    state_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "tee"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    started = server.start("open", state_dir=state_dir)
    assert not started.guarded
    environ = {"DSMANAGER_STATE_DIR": str(state_dir), "DSMANAGER_DATA_DIR": str(tmp_path / "data")}
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    assert main(["remote", "serve", "open", "--status"]) == 0
    assert f"open: {OPEN_PORTS}" in capsys.readouterr().err
    found = [each for each in examine(Settings.load()) if each.name == "server"]
    assert [(each.status, each.text) for each in found] == [("note", f"open: {OPEN_PORTS}")]


def test_its_files_are_for_its_owner_only(seaweedfs: object, remote_config: RemoteConfig) -> None:
    assert remote_config.credentials_file is not None
    home = remote_config.credentials_file.parent
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("credentials.json", "s3.json", "security.toml", "server.json", "grpc.pem"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name
    secret = json.loads((home / "credentials.json").read_bytes())["secret_key"]
    assert secret not in (home / "log.txt").read_text("utf-8", "replace")


def test_everything_listens_on_loopback_only(
    seaweedfs: object, remote_config: RemoteConfig
) -> None:
    assert remote_config.credentials_file is not None
    state = json.loads((remote_config.credentials_file.parent / "server.json").read_bytes())
    inodes = set()
    for entry in Path(f"/proc/{state['pid']}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    listening = "0A"
    addresses = set()
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and fields[9] in inodes:
                addresses.add(fields[1].split(":")[0] == loopback)
    assert addresses == {True}


def test_two_at_once_start_one(state_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dsmanager.remotes import server; "
        "print(server.start('one', state_dir=Path(sys.argv[1])).pid)"
    )
    command = [sys.executable, "-c", script, str(state_dir)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pids = [racer.communicate()[0].strip() for racer in racers]
    assert pids[0] == pids[1] != ""
    assert server.status("one", state_dir=state_dir).pid == int(pids[0])


def test_several_run_side_by_side_and_a_killed_one_comes_back(
    state_dir: Path, wait_until: Callable[[Callable[[], bool], str], None]
) -> None:
    starts = [
        threading.Thread(target=server.start, args=(name,), kwargs={"state_dir": state_dir})
        for name in ("a", "b")
    ]
    for each in starts:
        each.start()
    for each in starts:
        each.join()
    a, b = server.statuses(state_dir=state_dir)
    assert (a.name, a.running, b.name, b.running) == ("a", True, "b", True)
    assert a.endpoint_url != b.endpoint_url
    with remote_of(a) as remote:
        remote.upload_bytes(b"kept", "a.json")
    assert a.pid is not None
    os.kill(a.pid, signal.SIGKILL)
    wait_until(lambda: not server.status("a", state_dir=state_dir).running, "a is gone")
    again = server.start("a", state_dir=state_dir)
    with remote_of(again) as remote:
        assert remote.read_bytes("a.json", max_bytes=10) == b"kept"
    with pytest.raises(UsageError, match="is running on"):
        server.start("a", state_dir=state_dir, folder=state_dir / "elsewhere")


def test_a_reused_pid_is_left_alone(state_dir: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        home = state_dir / "servers" / "old"
        home.mkdir(parents=True)
        state = {"pid": bystander.pid, "process": "another boot 1", "ports": {}}
        (home / "server.json").write_text(json.dumps(state))
        assert not server.status("old", state_dir=state_dir).running
        assert not server.stop("old", state_dir=state_dir).running
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


def test_a_server_that_does_not_come_up_shows_its_last_words(
    state_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DsmanagerError) as caught:
        server.start("bad", state_dir=state_dir, folder=tmp_path / "file" / "data")
    assert "file" in caught.value.message


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "a/b"])
def test_names_that_are_no_names_are_refused(state_dir: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a server"):
        server.start(name, state_dir=state_dir)


def test_what_was_never_started_has_a_status(state_dir: Path) -> None:
    never = server.status("never", state_dir=state_dir)
    assert (never.running, never.pid, never.endpoint_url) == (False, None, None)
    assert not server.stop("never", state_dir=state_dir).running
    assert server.statuses(state_dir=state_dir) == ()


def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, state_dir: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; "
        "from dsmanager.remotes import weed\n"
        "try: weed.find_weed()\n"
        "except Exception as error: print(error.hint)"
    )
    root = Path(weed.__file__).parents[2]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(root)}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "pip install 'dsmanager[s3-server]'" in answer.stdout
