"""``remote check``: everything that dsmanager needs of a remote, tried step by step.

A step that fails stops only the steps that need it. The object written to try the remote out is
removed again; nothing else is ever written or removed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.remotes.client import Access
from dsmanager.remotes.clock import clock_skew_s
from dsmanager.remotes.conditional import PROBE_PREFIX, refuses_stale_writes, refuses_to_replace
from dsmanager.remotes.failures import http_status, translated

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote

__all__ = ["LIMITS", "CheckStep", "check_remote"]

LIMITS = ("keeps existing objects", "compare-and-swap", "acl", "checksum")
"""Steps that find out what the server can do; one that is skipped is a limit of it."""

_SKEW_S = 300
"""Servers refuse signatures that are 15 minutes off; a third of that is worth a word."""


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One thing that was tried."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    text: str
    seconds: float
    hint: str | None = None
    exit_code: int = 0
    """Of a failed step: what a verb would end with for the same reason."""


class _SkipError(Exception):
    """There is a reason, the message, not to take this step."""


def check_remote(remote: Remote, *, read_only: bool = False) -> tuple[CheckStep, ...]:
    """Takes all steps in order; raises nothing."""
    run = _Run(remote, read_only)
    return run.steps()


class _Run:
    def __init__(self, remote: Remote, read_only: bool) -> None:
        self._remote = remote
        self._read_only = read_only
        self._probe = f"{PROBE_PREFIX}{secrets.token_hex(6)}"
        self._content = b"dsmanager remote check\n"
        self._place: dict[str, Any] = {
            "Bucket": remote.config.bucket,
            "Key": remote.key_of(self._probe),
        }
        self._steps: list[CheckStep] = []

    def steps(self) -> tuple[CheckStep, ...]:
        if self._take("endpoint", self._endpoint) and self._take("credentials", self._credentials):
            self._take("bucket", self._bucket)
            self._take("list", self._list)
            self._take("clock", self._clock)
            if self._take("write", self._write):
                self._take("read back", self._read_back)
                self._take("keeps existing objects", self._keeps_existing)
                self._take("compare-and-swap", self._compare_and_swap)
                self._take("public", self._public)
                self._take("acl", self._acl)
                self._take("checksum", self._checksum)
                self._take("delete", self._delete)
        return tuple(self._steps)

    def _take(self, name: str, step: Callable[[], str]) -> bool:
        """Whether the steps after this one make sense."""
        started_s = time.perf_counter()

        def done(
            status: Literal["ok", "failed", "skipped"], text: str, error: DsmanagerError | None
        ) -> None:
            seconds = round(time.perf_counter() - started_s, 3)
            hint = error.hint if error else None
            code = int(error.exit_code) if error else 0
            self._steps.append(CheckStep(name, status, text, seconds, hint, code))

        try:
            done("ok", step(), None)
        except _SkipError as reason:
            done("skipped", str(reason), None)
            return name != "write"
        except DsmanagerError as error:
            done("failed", error.message, error)
            return False
        return True

    def _endpoint(self) -> str:
        """Any answer at all, a refusal included, shows that the server is there."""
        config, clients = self._remote.config, self._remote.clients
        with translated(config, config.url):
            try:
                clients.unsigned.head_bucket(Bucket=config.bucket)
            except ClientError as error:
                if http_status(error) >= 500:
                    raise
        where = clients.unsigned.meta.endpoint_url
        insecure = "" if config.verify_tls or not where.startswith("https") else ", TLS unverified"
        return f"{where} answers{insecure}"

    def _credentials(self) -> str:
        access = self._remote.clients.access
        if access is Access.SIGNED:
            return f"found: {self._remote.clients.credentials_method}"
        if access is Access.ANONYMOUS:
            raise _SkipError("anonymous, as the remote says")
        raise _SkipError("none were found; reading without")

    def _bucket(self) -> str:
        self._remote.head(self._probe)
        return f"'{self._remote.config.bucket}' exists"

    def _list(self) -> str:
        count = len(self._remote.list())
        return f"{count:,} object{'' if count == 1 else 's'} at {self._remote.config.url}"

    def _write(self) -> str:
        if self._read_only:
            raise _SkipError("not tried with --read-only")
        if self._remote.clients.access is not Access.SIGNED:
            raise _SkipError("not tried without credentials")
        self._remote.upload_bytes(self._content, self._probe, content_type="text/plain")
        stored = self._remote.head(self._probe)
        if stored is None or stored.sha256 is None:
            return "an object can be written; the server does not keep its metadata"
        return "an object can be written and keeps its metadata"

    def _read_back(self) -> str:
        if self._remote.read_bytes(self._probe, max_bytes=1 << 10) != self._content:
            raise VerificationError("the object read back is not the one written")
        return "the same bytes come back"

    def _clock(self) -> str:
        skew_s = clock_skew_s(self._remote)
        if skew_s is None:
            raise _SkipError("the server does not say what time it is")
        ahead = "ahead of" if skew_s > 0 else "behind"
        if abs(skew_s) < _SKEW_S:
            return "this machine's clock and the server's agree"
        raise DsmanagerError(
            f"this machine's clock is {abs(skew_s):,.0f} s {ahead} the server's",
            hint="set the clock: timedatectl set-ntp true",
        )

    def _keeps_existing(self) -> str:
        if refuses_to_replace(self._remote, self._probe):
            return "the server itself refuses to replace an object (If-None-Match)"
        raise _SkipError("the server ignores If-None-Match; two uploads at once can collide")

    def _compare_and_swap(self) -> str:
        if refuses_stale_writes(self._remote, self._probe):
            return "the server refuses a write that was made from an older object (If-Match)"
        raise _SkipError("the server ignores If-Match; 'manifest push' needs --force there")

    def _public(self) -> str:
        if self._remote.is_public(self._probe):
            return "anybody can read what is uploaded"
        return "only those with credentials can read what is uploaded"

    def _acl(self) -> str:
        if not self._remote.takes_acls():
            raise _SkipError("the server takes no ACLs; a policy can make objects public")
        return "the server takes ACLs"

    def _checksum(self) -> str:
        """Sends a wrong SHA-256: only a server that refuses it checks."""
        wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
        with translated(self._remote.config, self._remote.url_of(self._probe)):
            try:
                self._remote.clients.control.put_object(
                    **self._place, Body=self._content, ChecksumSHA256=wrong
                )
            except ClientError as error:
                if http_status(error) >= 500:
                    raise _SkipError("the server knows no SHA-256 checksums") from error
                return "the server refuses bytes that do not have their SHA-256"
        raise _SkipError("the server does not check SHA-256; dsmanager looks at what it kept")

    def _delete(self) -> str:
        self._remote.delete(self._probe)
        return "an object can be removed"
