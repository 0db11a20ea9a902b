"""What keeps other users of this machine out of SeaweedFS's inner ports.

Its components speak HTTP and gRPC to each other, on ports that every local user can connect to.
HTTP asks for tokens signed with keys of this server; gRPC asks for a client certificate (mutual
TLS). Both are made here, for one server, and only its owner can read them. Without ``openssl``
there is no certificate: then gRPC stays open, and callers have to say so.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from dsmanager.errors import os_errors
from dsmanager.files import write_bytes

__all__ = ["OPEN_PORTS", "how_to_guard", "write_guard"]

OPEN_PORTS = "other users of this machine can read and change its objects"
"""What is true of a server without certificate."""

_JWT = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "client")
_VALID_DAYS = 36_500
_OPENSSL_WITHIN_S = 20
_REQUEST = b"""[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = dsmanager
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


def write_guard(folder: Path) -> bool:
    """Writes the ``security.toml`` that ``weed`` reads when it starts in ``folder``.

    Returns whether every port is secured: False where there is no ``openssl``.
    """
    tables = {name: {"key": secrets.token_hex(32)} for name in _JWT}
    pem = folder / "grpc.pem"
    guarded = pem.exists() or _make_certificate(pem)
    if guarded:
        tables["grpc"] = {"ca": str(pem)}
        tables |= {f"grpc.{name}": {"cert": str(pem), "key": str(pem)} for name in _GRPC}
    lines = [
        line
        for name, values in tables.items()
        for line in (f"[{name}]", *(f"{key} = {_quoted(text)}" for key, text in values.items()))
    ]
    with os_errors("prepare the server's folder"):
        write_bytes(folder / "security.toml", "\n".join([*lines, ""]).encode(), mode=0o600)
    return guarded


def how_to_guard(name: str) -> str:
    """A hint for whoever runs the server ``name`` without certificate."""
    return f"install openssl, and start it anew after: dsmanager remote serve {name} --stop"


def _make_certificate(path: Path) -> bool:
    """A key and the certificate that it signs itself, in one file; False when there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    command = [openssl, "req", "-x509", "-nodes", "-days", str(_VALID_DAYS)]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-config", "/dev/stdin", "-keyout", "/dev/stdout"]
    try:
        made = subprocess.run(
            command, input=_REQUEST, capture_output=True, check=False, timeout=_OPENSSL_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    if made.returncode or made.stdout.count(b"-----BEGIN ") != 2:
        return False
    with os_errors("prepare the server's folder"):
        write_bytes(path, made.stdout, mode=0o600)
    return True


def _quoted(text: str) -> str:
    """A TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
