"""How dsmanager talks to S3: one explicit configuration of botocore for every kind of server.

Owns endpoint, addressing, checksums, time-outs and credentials. botocore's own transfer code and
the CRT client, which ignores the endpoint, are never used. Secrets stay inside botocore: nothing
here logs, stores or returns one.
"""

from __future__ import annotations

import functools
import gzip
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

import botocore.loaders
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config

from dsmanager.errors import CredentialsError
from dsmanager.remotes.bounds import Parsers, bound_answers
from dsmanager.remotes.endpoint import DEFAULT_REGION, endpoint_url_of, is_aws
from dsmanager.remotes.failures import translated
from dsmanager.remotes.listing import read_contents, without_contents
from dsmanager.remotes.objects import moment_of
from dsmanager.remotes.redirects import Redirects

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from dsmanager.settings import RemoteConfig

__all__ = ["MAX_CONNECTIONS", "Access", "Clients", "no_credentials"]

MAX_CONNECTIONS = 32
"""Kept open at once; the number of parallel HEAD requests stays below it."""

_CONNECT_TIMEOUT_S = 3
_CONTROL_READ_TIMEOUT_S = 6  # two attempts of this end before 15 s when a server hangs
_DOWNLOAD_READ_TIMEOUT_S = 7
_UPLOAD_READ_TIMEOUT_S = 27  # tried once: a server that hangs is noticed within 30 s
_UPLOAD_SEND_TIMEOUT_S = 27  # urllib3 sends under the connect time-out: slow lines need more
_UNSENT_BYTES = 256 << 10
_METADATA_TIMEOUT_S = 1


class Access(Enum):
    """Where the credentials come from."""

    SIGNED = "credentials"
    ANONYMOUS = "anonymous, as the remote says"
    NONE = "no credentials were found"


class Clients:
    """The botocore clients of one remote, made when they are first needed. Safe between threads."""

    def __init__(self, config: RemoteConfig) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._made: dict[str, S3Client] = {}
        self._redirects: Redirects | None = None
        self._session_made: botocore.session.Session | None = None
        self._credentials_found: tuple[Access, str] | None = None

    @property
    def control(self) -> S3Client:
        """For listings, HEAD and small objects: gives up on a server that hangs within 15 s."""
        return self._client("control", read_timeout_s=_CONTROL_READ_TIMEOUT_S, attempts=2)

    @property
    def download(self) -> S3Client:
        """For reading objects; never retries, for its callers do."""
        return self._client("download", read_timeout_s=_DOWNLOAD_READ_TIMEOUT_S, attempts=1)

    @property
    def upload(self) -> S3Client:
        """For writing objects; never retries, for its callers do."""
        return self._client(
            "upload",
            read_timeout_s=_UPLOAD_READ_TIMEOUT_S,
            connect_timeout_s=_UPLOAD_SEND_TIMEOUT_S,
            attempts=1,
        )

    @property
    def unsigned(self) -> S3Client:
        """Sends no credentials, whatever the remote says: sees what everybody sees."""
        return self._client(
            "unsigned", read_timeout_s=_CONTROL_READ_TIMEOUT_S, attempts=2, unsigned=True
        )

    @property
    def access(self) -> Access:
        return self._credentials()[0]

    @property
    def credentials_method(self) -> str:
        """Where the credentials were found, in botocore's words or as a file's path."""
        return self._credentials()[1]

    @property
    def endpoint_url(self) -> str | None:
        """The endpoint in use; None means AWS."""
        return endpoint_url_of(self._config)

    @property
    def is_aws(self) -> bool:
        return is_aws(self.endpoint_url)

    def close(self) -> None:
        """Closes the connections; the next request opens new ones."""
        with self._lock:
            made, self._made = self._made, {}
        for client in made.values():
            client.close()

    def _client(
        self,
        kind: str,
        *,
        read_timeout_s: int,
        connect_timeout_s: int = _CONNECT_TIMEOUT_S,
        attempts: int,
        unsigned: bool = False,
    ) -> S3Client:
        with self._lock:
            if kind not in self._made:
                with translated(self._config, self._config.url):
                    self._made[kind] = self._make(
                        read_timeout_s, connect_timeout_s, attempts, unsigned
                    )
            return self._made[kind]

    def _make(
        self, read_timeout_s: int, connect_timeout_s: int, attempts: int, unsigned: bool
    ) -> S3Client:
        signed = not unsigned and self.access is Access.SIGNED
        checksums: Literal["when_supported", "when_required"]
        checksums = "when_supported" if self.is_aws else "when_required"
        config = Config(
            region_name=self._region(),
            signature_version=None if signed else UNSIGNED,
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            max_pool_connections=MAX_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": attempts},
            request_checksum_calculation=checksums,  # many other stores reject the CRC32 of AWS
            response_checksum_validation=checksums,
            ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]
            tcp_keepalive=True,
            s3={
                "addressing_style": "auto" if self.is_aws else "path",
                "payload_signing_enabled": self._signs_bytes(),
            },
        )
        client = self._session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            verify=None if self._config.verify_tls else False,
            config=config,
        )
        client.meta.events.register("before-parse.s3.ListObjectsV2", read_contents)
        _bound_unsent_bytes(client)
        bound_answers(client, read_timeout_s)
        if self.endpoint_url is not None and not self.is_aws:
            client.meta.events.register_last("before-parameter-build.s3", _take_no_redirect)
            self._redirects = self._redirects or Redirects(self.endpoint_url)
            self._redirects.follow_for(client, retries=attempts > 1)
        return cast("S3Client", client)

    @property
    def uses_tls(self) -> bool:
        return urlsplit(self.endpoint_url or "https://").scheme == "https"

    def _signs_bytes(self) -> bool:
        """Whether a signature has to cover the bytes: not within TLS, nor where no wire is."""
        host = urlsplit(self.endpoint_url or "").hostname or ""
        return not self.uses_tls and not _is_loopback(host)

    def _region(self) -> str:
        found = self._config.region or self._session().get_config_variable("region")
        return str(found or DEFAULT_REGION)

    def _session(self) -> botocore.session.Session:
        if self._session_made is None:
            session = botocore.session.Session(profile=self._config.profile)
            session.set_config_variable("metadata_service_timeout", _METADATA_TIMEOUT_S)
            session.set_config_variable("metadata_service_num_attempts", 1)
            loader = _loader(session.get_config_variable("data_path"))
            session.register_component("data_loader", loader)
            parsers = Parsers()
            parsers.set_parser_defaults(timestamp_parser=_timestamp)
            session.register_component("response_parser_factory", parsers)
            self._session_made = session
        return self._session_made

    def _credentials(self) -> tuple[Access, str]:
        with self._lock, translated(self._config, self._config.url):
            if self._credentials_found is None:
                self._credentials_found = self._find_credentials()
            return self._credentials_found

    def _find_credentials(self) -> tuple[Access, str]:
        """Gives the session credentials, unless it finds some itself; says which and from where."""
        if self._config.anonymous:
            return Access.ANONYMOUS, ""
        session = self._session()
        if self._config.credentials_file is not None:
            session.set_credentials(*_read_credentials_file(self._config))
            return Access.SIGNED, str(self._config.credentials_file)
        if found := session.get_credentials():
            return Access.SIGNED, str(found.method)
        key = os.environ.get("ARMORY_PRIVATE_S3_ID")
        secret = os.environ.get("ARMORY_PRIVATE_S3_KEY")
        if key and secret:
            session.set_credentials(key, secret)
            return Access.SIGNED, "ARMORY_PRIVATE_S3_ID"
        return Access.NONE, ""


class _Loader(botocore.loaders.Loader):
    """Knows services by the names of their folders, and looks into that of S3 alone."""

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Mapping[str, Any]:
        model: dict[str, Any] = super().load_service_model(service_name, type_name, api_version)
        if (service_name, type_name) == ("s3", "service-2"):
            without_contents(model)
        return model

    def list_available_services(self, type_name: str) -> list[str]:
        del type_name
        folders = [folder for folder in self.search_paths if os.path.isdir(folder)]
        return sorted({entry.name for folder in folders for entry in os.scandir(folder)})


class _Files(botocore.loaders.JSONFileLoader):
    """Reads into plain dicts, in half the time of the ordered ones that botocore still makes."""

    def load_file(self, file_path: str) -> Any:
        for suffix, opened in ((".json", open), (".json.gz", gzip.open)):
            with suppress(FileNotFoundError), opened(f"{file_path}{suffix}", "rb") as file:
                return json.load(file)
        return None


@functools.cache
def _loader(data_path: str | None) -> _Loader:
    """Keeps the parsed description of S3, which takes longer to read than anything else."""
    paths = (data_path or "").split(os.pathsep)
    folders = [os.path.expanduser(os.path.expandvars(path)) for path in paths if path]
    return _Loader(extra_search_paths=folders, file_loader=_Files())


def no_credentials(config: RemoteConfig) -> CredentialsError:
    """The error for a request that needs credentials where there are none."""
    return CredentialsError(
        f"no credentials for {config.url}",
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or anonymous = true "
        f"in the remote; then: dsmanager remote check {config.name}",
    )


def _read_credentials_file(config: RemoteConfig) -> tuple[str, str]:
    path = config.credentials_file
    assert path is not None
    try:
        pair = json.loads(path.read_bytes())
        access_key, secret_key = pair["access_key"], pair["secret_key"]
        if not all(isinstance(key, str) and key.isascii() for key in (access_key, secret_key)):
            raise TypeError("a key that is no plain text")
        return access_key, secret_key
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CredentialsError(
            f"the credentials of remote '{config.name}' cannot be read from {path}",
            hint=f"start its server again: dsmanager remote serve {config.name}",
        ) from error


def _timestamp(value: Any) -> datetime:
    """What servers send, read 50 times faster than botocore does; a listing holds thousands."""
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            when = datetime.fromisoformat(value)
            return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return moment_of(value)


def _bound_unsent_bytes(client: Any) -> None:
    """Keeps little more in the kernel's send buffers than what is under way.

    A slow line would take minutes to drain megabytes of them, while the time for an answer runs.
    botocore has no setting for it: where it is built otherwise, nothing changes.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    with suppress(AttributeError, KeyError):
        settings = client._endpoint.http_session._manager.connection_pool_kw
        if option is not None:
            bound = (socket.IPPROTO_TCP, option, _UNSENT_BYTES)
            settings["socket_options"] = [*settings["socket_options"], bound]


def _take_no_redirect(context: dict[str, Any], **_: object) -> None:
    """Says that this request was redirected already.

    botocore follows the redirects of AWS between regions; those of other servers carry no region,
    and it would ask for it again and again until Python's stack is used up. What is followed of
    others, :mod:`dsmanager.remotes.redirects` says.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
