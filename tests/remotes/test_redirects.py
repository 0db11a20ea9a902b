"""A gateway that answers 307 with the address of the node that has the object, as AIStore does.

The nodes are a real store, behind a port that loses all metadata.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from harness.life import live
from harness.processes import Zygote

from dsmanager.errors import AlreadyExistsError, UsageError
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.endpoint import is_aws
from dsmanager.remotes.redirects import Redirects
from dsmanager.remotes.remote import Remote
from dsmanager.settings import RemoteConfig

ROOT = Path(__file__).parents[2]


def target_of(request: Any) -> str:
    """Path and query of a request, quoted as they are signed."""
    query = urlencode(request.query, quote_via=quote)
    return f"{request.path}?{query}" if query else request.path


def node_in_front_of(endpoint_url: str, answer: Any) -> Callable[[Any], Any]:
    """Hands everything on and takes the metadata out of the answers."""
    place = urlsplit(endpoint_url).netloc

    def script(request: Any) -> Any:
        headers = {key: value for key, value in request.headers.items() if key != "expect"}
        with closing(http.client.HTTPConnection(place, timeout=20)) as line:
            line.putrequest(
                request.method, target_of(request), skip_host=True, skip_accept_encoding=True
            )
            for key, value in headers.items():
                line.putheader(key, value)
            line.endheaders(request.body)
            got = line.getresponse()
            body = got.read()
        dropped = ("x-amz-meta-", "transfer-encoding", "connection", "date", "server")
        kept = {k: v for k, v in got.getheaders() if not k.lower().startswith(dropped)}
        return answer(got.status, body, kept)

    return script


@pytest.fixture
def servers(scripted: Any) -> Iterator[tuple[Any, Any]]:
    """Two scripted servers, on two ports."""
    with closing(type(scripted)()) as second:
        yield scripted, second


@pytest.fixture
def cluster(servers: tuple[Any, Any], seaweedfs: Any, answer: Any) -> tuple[Any, Any, RemoteConfig]:
    """A gateway, a node, and the remote that knows of the gateway alone."""
    gateway, node = servers
    config = seaweedfs.config(name="ais")
    node.script = node_in_front_of(config.endpoint_url, answer)
    gateway.script = lambda request: answer(
        307,
        headers={
            "Location": f"http://127.0.0.1:{node.port}{target_of(request).removeprefix('/s3')}"
        },
    )
    endpoint = f"http://127.0.0.1:{gateway.port}/s3"
    return (
        gateway,
        node,
        RemoteConfig(
            "ais", config.url, endpoint_url=endpoint, credentials_file=config.credentials_file
        ),
    )


def test_a_dataset_lives_in_a_cluster_that_redirects_and_keeps_no_metadata(
    cluster: tuple[Any, Any, RemoteConfig], built_data: Path, zygote: Zygote, tmp_path: Path
) -> None:
    gateway, node, config = cluster
    here, there = (zygote.new_machine(tmp_path / name) for name in ("here", "there"))
    shutil.copytree(built_data, here.data_dir)
    for machine in (here, there):
        machine.use(config)
    live(here, there)
    assert gateway.requests
    assert {request.method for request in node.requests} == {"GET", "HEAD", "PUT", "DELETE"}
    assert all(request.signed for request in node.requests)


def test_records_are_streamed_from_a_cluster_that_redirects_and_keeps_no_metadata(
    cluster: tuple[Any, Any, RemoteConfig], built_data: Path, zygote: Zygote, tmp_path: Path
) -> None:
    _, node, config = cluster
    machine = zygote.new_machine(tmp_path / "machine")
    shutil.copytree(built_data, machine.data_dir)
    machine.use(config)
    machine.library.publish("tiny", compression="none")
    options = {"split": "train", "framework": "numpy"}
    _, local = machine.library.load("tiny", **options)
    _, streamed = machine.library.load(
        "tiny", stream=True, cache_dir=tmp_path / "blocks", **options
    )
    assert streamed.read(range(len(local))) == local.read(range(len(local)))
    assert any("range" in request.headers for request in node.requests)


def test_the_tests_on_a_real_cluster_get_its_address(tmp_path: Path) -> None:
    """Told a wrong one, they fail for that: they are not skipped, and do not lose it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"]
    command += ["tests/remotes/test_real_cluster.py", "tests/ingest/tars/test_dataset.py"]
    command += ["-k", "real_cluster", f"--basetemp={tmp_path / 'base'}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "DSMANAGER_TEST_AIS_ENDPOINT": "wrong://cluster"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "3 failed" in done.stdout
    assert done.stdout.count("Invalid URL") >= 3, "AIStore's SDK was given another or none"


def test_an_upload_in_parts_follows_every_redirect(
    cluster: tuple[Any, Any, RemoteConfig], tmp_path: Path
) -> None:
    _, node, config = cluster
    content = random.Random(1).randbytes(17 << 20)
    (tmp_path / "a").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()

    def send(sha256: str, **more: Any) -> None:
        remote.upload_file(
            tmp_path / "a",
            "a.tar",
            size=len(content),
            sha256=sha256,
            progress=Progress(),
            cancel=CancelToken(),
            **more,
        )

    with Remote(config) as remote:
        send(sha256)
        send(sha256)
        stored = remote.head("a.tar")
        assert stored is not None
        assert stored.sha256 is None
        assert remote.hash_object(stored, progress=Progress(), cancel=CancelToken()) == sha256
        with pytest.raises(AlreadyExistsError):
            send("0" * 64)
    parts = [each for each in node.requests if "partNumber" in each.query and each.method == "PUT"]
    assert len(parts) == 3, "the same was not sent twice"


def test_a_retry_begins_at_the_gateway(servers: tuple[Any, Any], answer: Any) -> None:
    gateway, node = servers
    head = {"ETag": '"e"', "Content-Length": "1"}
    answers = [answer(503), answer(200, headers=head)]
    node.script = lambda request: answers.pop(0)
    gateway.script = lambda request: answer(
        307, headers={"Location": f"http://127.0.0.1:{node.port}{request.path}"}
    )
    with Remote(gateway.config()) as remote:
        assert remote.head("a") is not None
    assert (len(gateway.requests), len(node.requests)) == (2, 2)


def test_the_signature_is_made_anew_for_the_node(servers: tuple[Any, Any], answer: Any) -> None:
    gateway, node = servers
    node.script = lambda request: answer(200, headers={"ETag": '"e"', "Content-Length": "1"})
    location = f"http://127.0.0.1:{node.port}/bkt/p/a?pid=p&utm=1"
    gateway.script = lambda request: answer(307, headers={"Location": location})
    with Remote(gateway.config()) as remote:
        remote.head("a")
    ((first,), (second,)) = gateway.requests, node.requests
    assert second.headers["host"] == f"127.0.0.1:{node.port}"
    assert first.headers["authorization"] != second.headers["authorization"]
    assert second.query == {"pid": "p", "utm": "1"}


def test_a_node_cannot_send_anybody_out_of_the_cluster(
    servers: tuple[Any, Any], answer: Any
) -> None:
    gateway, node = servers
    with ExitStack() as stack:
        foreign = stack.enter_context(closing(type(gateway)()))
        remote = stack.enter_context(Remote(gateway.config()))
        gateway.script = lambda request: answer(
            307, headers={"Location": f"http://127.0.0.1:{node.port}{request.path}"}
        )
        node.script = lambda request: answer(
            307, headers={"Location": f"http://127.0.0.1:{foreign.port}{request.path}"}
        )
        for attempt in (remote.list, lambda: remote.head("a"), lambda: remote.delete("a")):
            with pytest.raises(UsageError, match="redirects out of its cluster"):
                attempt()
        assert foreign.requests == []


def test_a_circle_of_redirects_ends(servers: tuple[Any, Any], answer: Any) -> None:
    gateway, _ = servers
    gateway.script = lambda request: answer(307, headers={"Location": request.path})
    with Remote(gateway.config()) as remote, pytest.raises(UsageError, match="more than 3 times"):
        remote.list()
    assert len(gateway.requests) == 4


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1:9/b", "from https to http"),
        ("ftp://127.0.0.1/b", "no address"),
        ("https://user:word@127.0.0.1/b", "no address"),
        ("https://[/b", "no address"),
        ("https://127.0.0.1:none/b", "no address"),
    ],
)
def test_nothing_goes_from_https_to_http_or_to_what_is_no_address(target: str, reason: str) -> None:
    """Of the handler alone: it decides before anything is sent."""
    gateway = "https://127.0.0.1:9443/b/k"
    assert not is_aws(gateway)

    class Answered:
        status_code, url, headers = 307, gateway, {"location": target}

    request = {"url": gateway, "context": {}}
    with pytest.raises(Exception, match=reason):
        Redirects(gateway)._follow(request, (Answered, {}))
    assert request["url"] == gateway
