"""The embedded server's credentials file: two plain texts, or an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from dsmanager.errors import CredentialsError
from dsmanager.remotes.client import _read_credentials_file
from dsmanager.settings import RemoteConfig
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import json_text

DOCUMENT = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}
WORDS = ("access_key", "secret_key", "wJalrXUtnFEMI")


def run(data: bytes) -> None:
    config = _config()
    assert config.credentials_file is not None
    config.credentials_file.write_bytes(json_text(data, (DOCUMENT,), WORDS))
    with refusing_with(CredentialsError):
        for text in _read_credentials_file(config):
            text.encode("ascii")


@cache
def _config() -> RemoteConfig:
    folder = scratch_folder()
    return RemoteConfig("local", "s3://datasets/x", credentials_file=folder / "keys.json")


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "whole", json.dumps(DOCUMENT).encode()
    yield "deep", b"[" * 3000
    yield "surrogate", json.dumps({**DOCUMENT, "secret_key": "\ud800"}).encode()
    yield "text", b'"access_key secret_key"'
    yield "list", b"[]"
    yield "nulls", b'{"access_key": null, "secret_key": {}}'
    yield "script", bytes([0xFE, 1, 0, 0, 20])
