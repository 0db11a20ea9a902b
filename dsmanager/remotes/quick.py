"""The two questions of a listing, asked without botocore where they are plain ones.

To import botocore and to make its client takes longer than to list two thousand objects; whoever
types ``dsmanager list`` waits for both. A server of one's own that is spoken to in plain HTTP, with
keys that are at hand, is asked by signed requests from here (AWS Signature Version 4). Whatever is
not so plain, and every answer but a good one, is left to :class:`~dsmanager.remotes.remote.Remote`,
which asks again and says what is wrong. TLS is left to it as well: it knows whom to trust.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from dsmanager.remotes.endpoint import DEFAULT_REGION, endpoint_url_of, is_aws
from dsmanager.remotes.listing import contents_of, objects_in, text_of
from dsmanager.remotes.objects import SHA256_KEY, RemoteObject

if TYPE_CHECKING:
    from dsmanager.remotes.remote import Remote
    from dsmanager.settings import RemoteConfig

__all__ = ["QuickRemote"]

_TIMEOUT_S = 2.0  # then Remote takes its time
_UNRESERVED = "-_.~"
_NO_BYTES = hashlib.sha256().hexdigest()
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


class _NotPlainError(Exception):
    """An answer that somebody else has to make sense of."""


_NO_ANSWER = (
    _NotPlainError,
    OSError,
    http.client.HTTPException,
    ElementTree.ParseError,
    LookupError,
    TypeError,
    ValueError,
)


class QuickRemote:
    """Lists a remote and asks for objects, as ``Remote`` does and with its errors.

    ``connect`` gives the ``Remote``, for all that cannot be done here. For one thread.
    """

    def __init__(self, config: RemoteConfig, connect: Callable[[], Remote]) -> None:
        self.config = config
        self._connect = connect
        self._store = _store_of(config)

    def __enter__(self) -> QuickRemote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its own connection; what ``connect`` gave is its owner's. It may be used again."""
        if self._store is not None:
            self._store.close()

    @property
    def heads_at_once(self) -> int:
        return 2 if self._store is not None else 8

    def list(self) -> list[RemoteObject]:
        """As :meth:`Remote.list`."""
        if self._store is not None:
            try:
                return self._store.list()
            except _NO_ANSWER:
                self._give_up()
        return self._connect().list()

    def heads(self, names: Iterable[str]) -> dict[str, RemoteObject]:
        """As :meth:`Remote.heads`, one after the other."""
        names = list(names)
        if self._store is not None:
            try:
                found = [self._store.head(name) for name in names]
            except _NO_ANSWER:
                self._give_up()
            else:
                return {each.name: each for each in found if each is not None}
        return self._connect().heads(names)

    def _give_up(self) -> None:
        self.close()
        self._store = None


@dataclass(frozen=True, slots=True)
class _Keys:
    access_key: str
    secret_key: str
    token: str | None = None


class _Store:
    """A bucket on a server; raises one of ``_NO_ANSWER`` for whatever is not as usual."""

    def __init__(self, config: RemoteConfig, host: str, keys: _Keys | None) -> None:
        self._config = config
        self._host = host
        self._keys = keys
        self._region = config.region or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
        self._connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def list(self) -> list[RemoteObject]:
        prefix = self._config.key_of("")
        query = {"list-type": "2", "delimiter": "/", "encoding-type": "url", "prefix": prefix}
        found: list[RemoteObject] = []
        while True:
            _, body = self._ask("GET", f"/{self._config.bucket}", query)
            page = ElementTree.XML(body)
            contents = contents_of(page)
            if text_of(page, "EncodingType") == "url":
                contents = [each | {"Key": unquote_plus(each["Key"])} for each in contents]
            found += objects_in(contents, prefix)
            is_truncated = text_of(page, "IsTruncated")
            if is_truncated == "false":
                return sorted(found, key=lambda obj: obj.name)
            token = text_of(page, "NextContinuationToken")
            if is_truncated != "true" or not token or token == query.get("continuation-token"):
                raise _NotPlainError("no end and nothing that follows")
            query["continuation-token"] = token

    def head(self, name: str) -> RemoteObject | None:
        key = self._config.key_of(name)
        answer, _ = self._ask("HEAD", f"/{self._config.bucket}/{key}", {}, absent=404)
        if answer.status == 404:
            return None
        if not answer.headers["ETag"]:
            raise _NotPlainError("an object without an ETag")
        return RemoteObject.from_head(
            name,
            {
                "ContentLength": answer.headers["Content-Length"],
                "ETag": answer.headers["ETag"],
                "LastModified": parsedate_to_datetime(answer.headers["Last-Modified"]),
                "Metadata": {SHA256_KEY: answer.headers[f"x-amz-meta-{SHA256_KEY}"]},
            },
        )

    def _ask(
        self, method: str, path: str, query: dict[str, str], absent: int | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        target = quote(path, safe=f"/{_UNRESERVED}")
        question = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(query.items()))
        url = f"{target}?{question}" if question else target
        self._connection.request(method, url, headers=self._signed(method, target, question))
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status not in (200, absent):
            raise _NotPlainError(f"status {answer.status}")
        return answer, body

    def _signed(self, method: str, target: str, question: str) -> dict[str, str]:
        """Headers with a signature (docs.aws.amazon.com, "Signature Version 4")."""
        if self._keys is None:
            return {"host": self._host}
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"host": self._host, "x-amz-content-sha256": _NO_BYTES, "x-amz-date": moment}
        if self._keys.token:
            headers["x-amz-security-token"] = self._keys.token
        signed = ";".join(sorted(headers))
        lines = [f"{key}:{headers[key]}" for key in sorted(headers)]
        canonical = "\n".join([method, target, question, *lines, "", signed, _NO_BYTES])
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, digest])
        key = f"AWS4{self._keys.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._keys.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return headers


def _store_of(config: RemoteConfig) -> _Store | None:
    """None where botocore knows more than this module about how to reach it."""
    endpoint = endpoint_url_of(config)
    parts = urlsplit(endpoint or "")
    is_plain = parts.scheme == "http" and parts.path in ("", "/") and "@" not in parts.netloc
    if not is_plain or is_aws(endpoint) or any(os.environ.get(name) for name in _PROXIES):
        return None
    try:
        return _Store(config, parts.netloc, None if config.anonymous else _keys_of(config))
    except _NO_ANSWER:
        return None


def _keys_of(config: RemoteConfig) -> _Keys:
    """Those that botocore would take before it looks into any file of its own."""
    if config.credentials_file is not None:
        pair = json.loads(config.credentials_file.read_bytes())
        return _Keys(pair["access_key"], pair["secret_key"])
    if config.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"):
        raise _NotPlainError("keys of a profile")
    access_key, secret_key, *tokens = map(os.environ.get, _KEYS)
    if not access_key or not secret_key:
        raise _NotPlainError("no keys at hand")
    return _Keys(access_key, secret_key, next(filter(None, tokens), None))


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
