"""One table that turns what botocore raises into dsmanager's errors.

Every message names the place and the reason in one line and never holds a secret, a signature or
userinfo. TLS: a certificate that is not trusted, or no TLS at all behind https, fails with exit 1,
for a retry cannot help; a handshake that breaks off is temporary.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import botocore.exceptions as botocore_errors
import urllib3.exceptions as urllib3_errors
from botocore.parsers import ResponseParserError

from dsmanager.errors import (
    AlreadyExistsError,
    CredentialsError,
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    TemporaryError,
    UsageError,
    VerificationError,
)
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.settings import RemoteConfig

__all__ = [
    "DamagedError",
    "RedirectError",
    "UnboundedError",
    "error_code",
    "http_status",
    "is_temporary",
    "not_s3",
    "retry_after_s",
    "translate",
    "translated",
]


class DamagedError(Exception):
    """Bytes arrived at the server other than they were sent."""


class UnboundedError(ResponseParserError):
    """An answer beyond every bound, or with a value that no S3 server sends; says what it was."""


class RedirectError(ResponseParserError):
    """A redirect that is not followed; says where it leads to."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: type[DsmanagerError]
    text: str
    hint: str = "look closer: dsmanager remote check {name}"


_KEYS_HINT = "check the credentials or the profile, then: dsmanager remote check {name}"
_RETRY_HINT = "try again later; to look closer: dsmanager remote check {name}"
_RETRY = "the server is busy or failed ({code})"

_UNKNOWN_KEY = _Failure(CredentialsError, "the server does not know this access key", _KEYS_HINT)
_EXPIRED = _Failure(
    CredentialsError,
    "the credentials have expired",
    "get fresh ones (aws sso login, or a new session token), then: dsmanager remote check {name}",
)
_DENIED = _Failure(
    CredentialsError,
    "access denied",
    "ask for the right to read or write there, or check the credentials: "
    "dsmanager remote check {name}",
)
_NO_BUCKET = _Failure(
    NotFoundError,
    "the bucket '{bucket}' does not exist",
    "check the bucket's name in the remote: dsmanager remote list",
)
_NO_OBJECT = _Failure(NotFoundError, "no such object", "see what there is: dsmanager list")
_BUSY = _Failure(TemporaryError, _RETRY, _RETRY_HINT)
_CHANGED = _Failure(
    AlreadyExistsError,
    "an object of that name exists already",
    "replace it with --overwrite",
)
_ELSEWHERE = _Failure(
    UsageError,
    "the bucket is served at another endpoint or region ({code})",
    "set region or endpoint_url of the remote, then: dsmanager remote check {name}",
)
_BAD_BYTES = _Failure(VerificationError, "the bytes were damaged on their way ({code})")
_FULL = _Failure(NoSpaceError, "the store is full ({code})", _RETRY_HINT)

_BY_CODE: dict[str, _Failure] = {
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidSecurity": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _Failure(
        CredentialsError, "the secret key does not belong to this access key", _KEYS_HINT
    ),
    "InvalidToken": _Failure(CredentialsError, "the session token is not valid", _KEYS_HINT),
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "Forbidden": _DENIED,
    "401": _DENIED,
    "403": _DENIED,
    "RequestTimeTooSkewed": _Failure(
        CredentialsError,
        "the clock of this machine differs too much from the server's",
        "set the clock, then: dsmanager remote check {name}",
    ),
    "AccessControlListNotSupported": _Failure(
        CredentialsError,
        "the bucket does not take ACLs, so that no single object can be made public",
        "let a bucket policy allow reading; see: dsmanager remote check {name}",
    ),
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
    "NotFound": _NO_OBJECT,
    "404": _NO_OBJECT,
    "NoSuchUpload": _Failure(TemporaryError, "the upload was aborted by somebody", _RETRY_HINT),
    "InvalidPart": _Failure(
        TemporaryError, "the server does not have a part of the upload ({code})", _RETRY_HINT
    ),
    "PreconditionFailed": _CHANGED,
    "412": _CHANGED,
    "ConditionalRequestConflict": _BUSY,
    "409": _BUSY,
    "OperationAborted": _BUSY,
    "SlowDown": _BUSY,
    "SlowDownRead": _BUSY,
    "SlowDownWrite": _BUSY,
    "Throttling": _BUSY,
    "ThrottlingException": _BUSY,
    "TooManyRequests": _BUSY,
    "RequestTimeout": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "InternalError": _BUSY,
    "ServiceUnavailable": _BUSY,
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "301": _ELSEWHERE,
    "307": _ELSEWHERE,
    "308": _ELSEWHERE,
    "BadDigest": _BAD_BYTES,
    "InvalidDigest": _BAD_BYTES,
    "XAmzContentSHA256Mismatch": _BAD_BYTES,
    "XAmzContentChecksumMismatch": _BAD_BYTES,
    "IncompleteBody": _BUSY,
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "507": _FULL,
    "InvalidBucketName": _Failure(
        UsageError,
        "'{bucket}' is not a valid bucket name",
        "check the remote's url: dsmanager remote list",
    ),
}

_NO_KEYS = _Failure(
    CredentialsError,
    "no credentials",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in the remote; "
    "then: dsmanager remote check {name}",
)
_CHAIN = _Failure(CredentialsError, "the credentials cannot be used: {detail}", _KEYS_HINT)
_UNREACHABLE = _Failure(TemporaryError, "cannot reach {endpoint}: {detail}", _RETRY_HINT)
_BROKEN = _Failure(TemporaryError, "the connection to {endpoint} broke: {detail}", _RETRY_HINT)
_SILENT = _Failure(TemporaryError, "{endpoint} does not answer in time", _RETRY_HINT)
_NOT_S3 = _Failure(
    DsmanagerError,
    "{endpoint} does not answer as an S3 server does",
    "check endpoint_url of the remote: dsmanager remote check {name}",
)
_UNBOUNDED = _Failure(_NOT_S3.error, f"{_NOT_S3.text}: {{detail}}", _NOT_S3.hint)
_REDIRECT = _Failure(
    UsageError,
    "{endpoint} redirects {detail}: not followed",
    "set endpoint_url of the remote to where the bucket is: dsmanager remote check {name}",
)
_REQUEST = _Failure(
    UsageError, "{detail}", "check the remote's settings: dsmanager remote check {name}"
)
_CERTIFICATE = _Failure(
    DsmanagerError,
    "the TLS certificate of {endpoint} is not trusted: {detail}",
    "name the authority's certificate in AWS_CA_BUNDLE, or, knowing what that means, set "
    "verify_tls = false in the remote; then: dsmanager remote check {name}",
)
_NO_TLS = _Failure(
    DsmanagerError,
    "{endpoint} does not speak TLS",
    "is endpoint_url meant to start with http://? then: dsmanager remote check {name}",
)
_TLS = _Failure(TemporaryError, "TLS with {endpoint} failed: {detail}", _RETRY_HINT)

_BY_TYPE: tuple[tuple[tuple[type[Exception], ...], _Failure], ...] = (
    ((botocore_errors.NoCredentialsError, botocore_errors.PartialCredentialsError), _NO_KEYS),
    (
        (
            botocore_errors.ProfileNotFound,
            botocore_errors.CredentialRetrievalError,
            botocore_errors.TokenRetrievalError,
            botocore_errors.NoAuthTokenError,
            botocore_errors.SSOError,
            botocore_errors.LoginError,
            botocore_errors.ConfigParseError,
            botocore_errors.InfiniteLoopConfigError,
            botocore_errors.InvalidConfigError,
            botocore_errors.UnknownCredentialError,
            botocore_errors.RefreshWithMFAUnsupportedError,
        ),
        _CHAIN,
    ),
    (
        (
            botocore_errors.ConnectTimeoutError,
            botocore_errors.ReadTimeoutError,
            urllib3_errors.TimeoutError,
        ),
        _SILENT,
    ),
    (
        (botocore_errors.EndpointConnectionError, botocore_errors.ProxyConnectionError),
        _UNREACHABLE,
    ),
    (
        (
            botocore_errors.ConnectionError,
            botocore_errors.HTTPClientError,
            botocore_errors.IncompleteReadError,
            urllib3_errors.HTTPError,  # of a refusal of GetObject that broke off while it came
            ConnectionError,
            TimeoutError,
        ),
        _BROKEN,
    ),
    (
        (DamagedError, botocore_errors.FlexibleChecksumError, botocore_errors.ChecksumError),
        _BAD_BYTES,
    ),
    ((UnboundedError, botocore_errors.PaginationError), _UNBOUNDED),
    ((RedirectError,), _REDIRECT),
    ((ResponseParserError,), _NOT_S3),
    ((botocore_errors.BotoCoreError, ValueError), _REQUEST),
)


def error_code(error: Exception) -> str:
    """S3's own code ("NoSuchBucket"), or the HTTP status where the answer had no body."""
    if isinstance(error, botocore_errors.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def http_status(error: Exception) -> int:
    """The HTTP status of a refused request; 0 when no answer came."""
    if isinstance(error, botocore_errors.ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed when it is sent again."""
    if isinstance(error, DsmanagerError):
        return isinstance(error, TemporaryError)
    return _failure_of(error).error is TemporaryError


def is_damage(error: Exception) -> bool:
    """Whether bytes were changed on their way to the server: the same may arrive next time."""
    return isinstance(error, DamagedError) or _BY_CODE.get(error_code(error)) is _BAD_BYTES


def is_silence(error: BaseException | None) -> bool:
    """Whether a server was waited for until time was up, while sending or while reading."""
    while error is not None:
        if isinstance(error, _TIME_OUTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def retry_after_s(error: Exception) -> float:
    """How long the server asks to be left alone (``Retry-After``); 0 where it does not say."""
    if not isinstance(error, botocore_errors.ClientError):
        return 0.0
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    said = str(headers.get("retry-after", "")).strip()
    if said.isdecimal() and said.isascii():
        return float(said[:9])
    try:
        wait_s = parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, wait_s)


def translate(error: Exception, config: RemoteConfig, url: str) -> DsmanagerError:
    """The dsmanager error for what botocore raised while it worked on ``url``."""
    if isinstance(error, DsmanagerError):
        return error
    failure = _failure_of(error)
    words = {
        "name": config.name,
        "bucket": config.bucket,
        "endpoint": _endpoint(error, config),
        "code": error_code(error) or str(http_status(error)),
        "detail": _detail(error),
    }
    message = f"{url}: {failure.text.format(**words)}"
    return failure.error(_clean(message), hint=_clean(failure.hint.format(**words)))


def not_s3(config: RemoteConfig) -> DsmanagerError:
    """The error for an answer that no S3 server would give."""
    return translate(ResponseParserError(), config, config.url)


@contextmanager
def translated(config: RemoteConfig, url: str) -> Iterator[None]:
    """Whatever botocore raises inside leaves as one of dsmanager's errors about ``url``."""
    try:
        yield
    except _CAUGHT as error:
        raise translate(error, config, url) from error


_TIME_OUTS = (
    botocore_errors.ConnectTimeoutError,
    botocore_errors.ReadTimeoutError,
    TimeoutError,
)
_CAUGHT = (
    botocore_errors.BotoCoreError,
    botocore_errors.ClientError,
    ResponseParserError,
    urllib3_errors.HTTPError,
    ConnectionError,
    TimeoutError,
    ValueError,
)


def _failure_of(error: Exception) -> _Failure:
    if isinstance(error, botocore_errors.ClientError):
        return _failure_of_answer(error)
    if isinstance(error, botocore_errors.SSLError):
        return _failure_of_tls(str(error))
    for types, failure in _BY_TYPE:
        if isinstance(error, types):
            return failure
    return _Failure(DsmanagerError, "{detail}")


def _failure_of_answer(error: botocore_errors.ClientError) -> _Failure:
    code, status = error_code(error), http_status(error)
    if known := _BY_CODE.get(code):
        return known
    if status >= 500 or status == 429:
        return _BY_CODE.get(str(status), _BUSY)
    return _BY_CODE.get(str(status), _Failure(DsmanagerError, "{detail}"))


def _failure_of_tls(text: str) -> _Failure:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return _CERTIFICATE
    return _NO_TLS if "WRONG_VERSION_NUMBER" in text or "UNKNOWN_PROTOCOL" in text else _TLS


def _detail(error: Exception) -> str:
    """The innermost reason that says something, on one line and not longer than one."""
    if isinstance(error, botocore_errors.ClientError):
        answer = error.response.get("Error", {})
        return f"the server refused: {answer.get('Code')} {answer.get('Message', '')}".strip()
    cause = getattr(error, "kwargs", {}).get("error")
    text = f"{error} {cause}" if cause else str(error)
    if match := re.search(r"certificate verify failed: ([^(]+)", text):
        return match[1].strip()
    if match := re.search(r"\[Errno -?\d+\] ([^'\")\]]+)", text):
        return match[1].strip()
    return text


def _endpoint(error: Exception, config: RemoteConfig) -> str:
    """Scheme, host and port of what was talked to, without path, query or userinfo."""
    named = getattr(error, "kwargs", {}).get("endpoint_url") or config.endpoint_url or "AWS S3"
    parts = urlsplit(str(named))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else str(named)


def _clean(text: str) -> str:
    return plain(redact(" ".join(text.split())))[:600]
