"""Settings files: TOML of anybody's becomes settings or one clear usage error."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.settings import Settings
from fuzz.checks import refusing_with, scratch_folder
from fuzz.structure import Script

WHOLE = b"""data_dir = "~/data"
builders = ["~/my-builders"]
remote = "team"
[remotes.team]
url = "s3://bucket/datasets/cache"
endpoint_url = "https://minio.example:9000"
region = "eu-1"
profile = "p"
anonymous = false
verify_tls = true
credentials_file = "c.json"
"""
_KEYS = (
    *(b"data_dir", b"state_dir", b"manifest", b"remote", b"builders", b"remotes.team.url"),
    *(b"remotes.team.endpoint_url", b"remotes.team.anonymous", b"remotes.'a b'.url", b"remotes"),
    *(b"remotes.team.credentials_file", b"remotes.team.profile", b"unknown", b'"\\u0000"'),
)
_VALUES = (
    *(b'"~/x"', b'"s3://bucket"', b'"https://u:p@h:9000"', b"true", b"1", b"[]", b'["a"]', b"{}"),
    *(b'["~a\\u0000b"]', b'"~a\\u0000b"', b'"s3://bucket/../x"', b'""', b"1979-05-27", b"inf"),
    *(b'["\\n"]', b'"~nobody-here/x"', b"[1]", b"{ url = 's3://bucket/x' }", b"9" * 5000),
)


def run(data: bytes) -> None:
    """An odd first byte: a script of lines; else the file itself."""
    content = _lines(Script(data[1:])) if data[:1] and data[0] & 1 else data
    path = _file()
    path.write_bytes(content)
    environment = {"DSMANAGER_CONFIG": str(path), "HOME": "/nowhere", "TFDS_DATA_DIR": "/data"}
    settings = None
    with refusing_with(UsageError):
        settings = Settings.load(environ=environment, working_dir=path.parent)
    if settings is None:
        return
    for place in (settings.data_dir, settings.state_dir, *settings.builders):
        assert place.is_absolute()
        assert "\0" not in str(place)
    with refusing_with(DsmanagerError):
        remote = settings.require_remote()
        assert ".." not in remote.prefix.split("/")
        assert "@" not in (remote.endpoint_url or "")


@cache
def _file() -> Path:
    folder = scratch_folder()
    return folder / "config.toml"


def _lines(script: Script) -> bytes:
    lines = []
    while script and len(lines) < 32:
        lines.append(script.pick(_KEYS) + b" = " + script.pick(_VALUES))
    return b"\n".join(lines)


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "whole", WHOLE
    yield "empty", b""
    yield "null-in-builders", b' builders = ["~a\\u0000b"]'
    yield "deep", b" a = " + b"[" * 3000
    yield "not-utf-8", b"\xfe = 1"
    yield "script", bytes([1, 5, 1, 6, 2, 3, 1])
    yield "script-null", bytes([1, 4, 8])
