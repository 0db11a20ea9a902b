"""Every verb runs with known secrets, well and badly; then they are looked for everywhere."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from harness.processes import Zygote

from dsmanager.cli.main import VERBS
from dsmanager.remotes import server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEENVIRONMENT",
    "AWS_SECRET_ACCESS_KEY": "wJalr/XUtnFEMI+K7MDENG",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaD+session",
    "ARMORY_PRIVATE_S3_KEY": "armory-private-key",
    "DSMANAGER_DEBUG": "1",
}
USERINFO = "user-of-the-url:password-of-the-url"
FAILING_BUILDER = """
import os
import tensorflow_datasets as tfds


class Leaky(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({}))

    def _split_generators(self, dl_manager):
        print(dict(os.environ))
        raise RuntimeError(str(dict(os.environ)))

    def _generate_examples(self):
        yield 0, {}
"""
BY_VERB: dict[str, list[list[str]]] = {
    "list": [["list", "-v"], ["--json", "list", "--available", "small"]],
    "info": [["info", "small"]],
    "build": [["build", "--path", "leaky"]],
    "package": [["package", "small"], ["package", "none"]],
    "verify": [["verify", "small"], ["verify", "small", "--in", "remote"]],
    "extract": [["extract", "small"], ["extract", "small", "--overwrite"]],
    "upload": [["upload", "small"], ["upload", "small", "--public"], ["--json", "upload", "none"]],
    "download": [["download", "small", "--overwrite"], ["--json", "download", "none"]],
    "load": [["load", "small"]],
    "rm": [["rm", "small", "--from", "cached", "--yes"]],
    "manifest": [
        *(["manifest", "record", "small"], ["manifest", "export", "--armory"]),
        *(["manifest", "push"], ["manifest", "pull"]),
    ],
    "remote": [["remote", "check"], ["--json", "remote", "list"], ["remote", "serve", "--status"]],
    "config": [["config"], ["--json", "config"]],
    "doctor": [["doctor"], ["--json", "doctor"]],
    "demo": [],  # makes secrets of its own, in a state dir of its own
}
"""What each verb is run with; one that is not here runs without arguments."""


@pytest.fixture
def served(victim: Any) -> Iterator[Any]:
    """A victim with a dataset and an embedded server of its own."""
    victim.add_built()
    (victim.root / "leaky").mkdir()
    (victim.root / "leaky" / "leaky.py").write_text(FAILING_BUILDER)
    try:
        victim.run("remote", "serve")
        yield victim
    finally:
        server.stop("local", state_dir=victim.root / "state")


def test_secrets_are_nowhere(served: Any, zygote: Zygote) -> None:
    home = served.root / "state" / "servers" / "local"
    pair = json.loads((home / "credentials.json").read_text())
    secrets = {*pair.values(), *USERINFO.split(":"), *ENVIRONMENT.values()} - {"1"}
    served.extra |= ENVIRONMENT

    def run(*command: str) -> str:
        ended = zygote.run(served, *command)
        for secret in secrets:
            for spelled in (secret, quote(secret, safe="")):
                assert spelled not in ended.stdout, (command, ended.stdout)
                assert spelled not in ended.stderr, (command, ended.stderr)
        return ended.stdout

    for commands in (BY_VERB.get(verb, [[verb]]) for verb in ordered()):
        for command in commands:
            run(*command)
    listed = json.loads(run("--json", "list", "--remote", "local"))
    assert listed["data"][0]["remote"], "the server took the keys of its own file"

    endpoint = server.status("local", state_dir=served.root / "state").endpoint_url
    with_userinfo = str(endpoint).replace("://", f"://{USERINFO}@")
    remote = ["--remote", "s3://datasets/x"]
    served.run("package", "small")
    for url in (endpoint, with_userinfo, f"http://{USERINFO}@127.0.0.1:1"):
        served.extra["AWS_ENDPOINT_URL"] = str(url)
        for command in (["upload", "small"], ["remote", "check"], ["doctor"]):
            run(*remote, *command)
    run("remote", "add", "bad", "s3://bucket/x", "--endpoint-url", with_userinfo)
    run("--remote", f"s3://{USERINFO}@bucket/x", "list")
    run("list", "--remote", f"https://{USERINFO}@host/x")
    assert set(_holding(served.root, secrets)) == {home / "credentials.json", home / "s3.json"}
    for path in (home / "credentials.json", home / "s3.json", home / "security.toml"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def ordered() -> list[str]:
    """Verbs in the order that makes most of them succeed: what is taken away, last."""
    first = ["package", "upload"]
    return [*first, *(verb for verb in VERBS if verb not in (*first, "rm")), "rm"]


def _holding(root: Path, secrets: set[str]) -> Iterator[Path]:
    spelled = [each.encode() for secret in secrets for each in (secret, quote(secret, safe=""))]
    for path in root.rglob("*"):
        if path.is_file() and any(each in path.read_bytes() for each in spelled):
            yield path
