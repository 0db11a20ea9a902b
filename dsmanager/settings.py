"""Settings: where things are, from files, environment and flags, each stronger than the one before.

    ~/.config/dsmanager/config.toml   or the file that DSMANAGER_CONFIG names
    dsmanager.toml                    the nearest one upward from the current folder
    DSMANAGER_DATA_DIR, _REMOTE, _MANIFEST, _STATE_DIR
    --data-dir, --remote, --manifest

No secret is ever read from or written to these files: a remote names a profile at most, and the
embedded server a file of its own.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dsmanager.errors import NotFoundError, UsageError
from dsmanager.files import remove_leftovers, write_bytes
from dsmanager.locks import locked
from dsmanager.text import plain, redact

__all__ = ["PREFIX_OF_BARE_BUCKET", "RemoteConfig", "Settings", "add_remote"]

PREFIX_OF_BARE_BUCKET = "datasets/cache"
"""The prefix that ``s3://bucket`` means, as in Armory's buckets; ``s3://bucket/`` is the root."""

_URL = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})(?P<path>/.*)?")
_ENDPOINT = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_ELSEWHERE = re.compile(r"(s3|gs|gcs|hdfs|abfs|https?):/", re.IGNORECASE)
_REMOTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KINDS = {str: "a text", bool: "true or false", list: "a list", int: "a number"}
_OFF = ("0", "false", "no", "off")
_TOP_KEYS = {
    "data_dir": str,
    "state_dir": str,
    "manifest": str,
    "remote": str,
    "builders": list,
    "theme": str,
}
_JOB_SLOTS = {"build": 1, "disk": 2, "transfer": 4}
_MOST_SLOTS = 64
_REMOTE_KEYS = {
    "url": str,
    "endpoint_url": str,
    "region": str,
    "profile": str,
    "anonymous": bool,
    "verify_tls": bool,
    "credentials_file": str,
}


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """A named place for archives: an S3 bucket, a prefix, and how to reach them."""

    name: str
    url: str
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool = False
    verify_tls: bool = True
    credentials_file: Path | None = None
    """The embedded server's own 0600 file with ``access_key`` and ``secret_key``; nobody else's."""

    def __post_init__(self) -> None:
        if _URL.fullmatch(self.url) is None or ".." in self.url.split("/"):
            raise UsageError(
                f"remote '{plain(redact(self.name))}': '{plain(redact(self.url))}' is not of the "
                "form s3://bucket[/prefix]",
                hint="for example: dsmanager remote add team s3://bucket/prefix",
            )

    @property
    def bucket(self) -> str:
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix without slashes at its ends; empty for the root of the bucket."""
        _, slash, path = self.url.removeprefix("s3://").partition("/")
        return path.strip("/") if slash else PREFIX_OF_BARE_BUCKET

    def key_of(self, name: str) -> str:
        """The key of an object below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def url_of(self, name: str) -> str:
        """``s3://bucket/prefix/name``."""
        return f"s3://{self.bucket}/{self.key_of(name)}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that says where things are. Made by :meth:`load`; replaced, never changed."""

    data_dir: Path
    state_dir: Path
    config_file: Path
    project_file: Path | None = None
    manifest: Path | None = None
    """An explicitly named manifest; None means the nearest one, see :attr:`manifest_path`."""
    remote: str | None = None
    """The current remote by name or URL, where one was chosen."""
    builders: tuple[Path, ...] = ()
    remotes: Mapping[str, RemoteConfig] = field(default_factory=dict)
    verify_tls: bool = True
    working_dir: Path = field(default_factory=Path.cwd)
    job_slots: Mapping[str, int] = field(default_factory=lambda: dict(_JOB_SLOTS))
    """How many jobs of a kind (build, disk, transfer) run at once; further ones wait."""
    theme: str | None = None
    """The colours of the TUI, by Textual's name of the theme."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the TUI by action, where they are not the usual ones."""

    @classmethod
    def load(
        cls,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        remote: str | None = None,
        manifest: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        working_dir: Path | None = None,
    ) -> Settings:
        """Reads all sources. Raises UsageError that names the file and the line or key."""
        env = os.environ if environ is None else environ
        here = working_dir or Path.cwd()
        config_file = _config_file(env)
        project_file = _nearest("dsmanager.toml", here)
        values: dict[str, Any] = {}
        remotes: dict[str, RemoteConfig] = {}
        slots = dict(_JOB_SLOTS)
        keys: dict[str, str] = {}
        for path in (config_file, project_file):
            if path is not None and os.path.isfile(path):
                table = _read_toml(path)
                remotes |= _remotes_of(table.pop("remotes", {}), path)
                slots |= _slots_of(table.pop("jobs", {}), path)
                keys |= _keys_of(table.pop("keys", {}), path)
                values |= table
        for key in ("data_dir", "state_dir", "manifest", "remote"):
            if value := env.get(f"DSMANAGER_{key.upper()}"):
                values[key] = value if key == "remote" else _absolute(value, here)
        flags = {"data_dir": data_dir, "manifest": manifest}
        values |= {key: _absolute(value, here) for key, value in flags.items() if value}
        return cls(
            data_dir=values.get("data_dir") or _default_data_dir(env, here),
            state_dir=values.get("state_dir") or _default_state_dir(),
            config_file=config_file,
            project_file=project_file,
            manifest=values.get("manifest"),
            remote=remote or values.get("remote"),
            builders=values.get("builders", ()),
            remotes=remotes,
            verify_tls=env.get("VERIFY_SSL", "true").strip().lower() not in _OFF,
            working_dir=here,
            job_slots=slots,
            theme=values.get("theme"),
            keys=keys,
        )

    @property
    def manifest_path(self) -> Path:
        """The manifest in use: named, else the nearest one upward, else the data dir's."""
        if self.manifest is not None:
            return self.manifest
        return _nearest("datasets.json", self.working_dir) or self.data_dir / "datasets.json"

    @property
    def cache_dir(self) -> Path:
        return self.data_dir / "cache"

    @property
    def download_dir(self) -> Path:
        return self.data_dir / "downloads"

    def current_remote(self) -> RemoteConfig | None:
        """The chosen remote, else the only one that is configured, else None.

        Raises NotFoundError for a name that is not configured.
        """
        if self.remote:
            return self.remote_named(self.remote)
        if len(self.remotes) == 1:
            return self._with_tls(next(iter(self.remotes.values())))
        return None

    def remote_named(self, name_or_url: str) -> RemoteConfig:
        """A configured remote by name or by URL, or an unconfigured one by ``s3://`` URL."""
        if name_or_url in self.remotes:
            return self._with_tls(self.remotes[name_or_url])
        if "://" in name_or_url:
            wanted = RemoteConfig(name=name_or_url, url=name_or_url)
            for remote in self.remotes.values():
                if (remote.bucket, remote.prefix) == (wanted.bucket, wanted.prefix):
                    return self._with_tls(remote)
            return self._with_tls(wanted)
        near = difflib.get_close_matches(name_or_url, self.remotes, n=3)
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise NotFoundError(
            f"no remote '{plain(name_or_url)}' is configured{meant}",
            hint=f"add it: dsmanager remote add {plain(name_or_url)} s3://bucket/prefix",
        )

    def require_remote(self) -> RemoteConfig:
        """The current remote. Raises UsageError when there is none or none was chosen."""
        remote = self.current_remote()
        if remote is not None:
            return remote
        if self.remotes:
            names = ", ".join(self.remotes)
            raise UsageError(
                f"several remotes are configured ({names}) and none is the current one",
                hint=f"say which: --remote {next(iter(self.remotes))}",
            )
        raise UsageError(
            "no remote is configured",
            hint="add one: dsmanager remote add NAME s3://bucket/prefix, "
            "or start one here: dsmanager remote serve",
        )

    def _with_tls(self, remote: RemoteConfig) -> RemoteConfig:
        return remote if self.verify_tls else replace(remote, verify_tls=False)


def add_remote(config_file: Path, remote: RemoteConfig, *, make_current: bool = False) -> None:
    """Writes ``remote`` into ``config_file``, replacing one of that name; comments stay."""
    if _REMOTE_NAME.fullmatch(remote.name) is None:
        raise UsageError(
            f"'{plain(remote.name)}' is no name for a remote: letters, digits, '_', '.' and '-'",
            hint="for example: dsmanager remote add team s3://bucket/prefix",
        )
    _require_endpoint(remote)
    with _edited(config_file) as document:
        import tomlkit

        if "remotes" not in document:
            document["remotes"] = tomlkit.table(is_super_table=True)
        is_inline = isinstance(document["remotes"], tomlkit.items.InlineTable)
        table = tomlkit.inline_table() if is_inline else tomlkit.table()
        for key in _REMOTE_KEYS:
            value = getattr(remote, key)
            if value != RemoteConfig.__dataclass_fields__[key].default:
                table[key] = str(value) if isinstance(value, Path) else value
        document["remotes"][remote.name] = table
        if make_current:
            document["remote"] = remote.name


@contextmanager
def _edited(path: Path) -> Iterator[Any]:
    """Yields a TOML document under a lock; it is written back when the block ends well."""
    import tomlkit

    path = Path(os.path.realpath(path))  # a link stays a link
    with locked(path.with_name(path.name + ".lock"), purpose="edit the configuration"):
        remove_leftovers(path)
        text = ""
        if os.path.lexists(path):
            _read_toml(path)  # says clearly what is wrong with a file that cannot be read
            text = path.read_text("utf-8")
        document = tomlkit.parse(text)
        yield document
        write_bytes(path, document.as_string().encode("utf-8"))


def _config_file(env: Mapping[str, str]) -> Path:
    if named := env.get("DSMANAGER_CONFIG"):
        return _absolute(named, Path.cwd())
    base = Path(env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))
    return base / "dsmanager" / "config.toml"


def _default_data_dir(env: Mapping[str, str], here: Path) -> Path:
    return _absolute(env.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", here)


def _default_state_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("dsmanager"))


def _absolute(path: str | os.PathLike[str], base: Path) -> Path:
    """Raises UsageError for a URL: taken for a path it would make folders of odd names here."""
    if _ELSEWHERE.match(os.fspath(path)):
        raise UsageError(
            f"{redact(plain(os.fspath(path)))} is no folder of this machine: datasets are built "
            "here, and moved as archives",
            hint="use a folder, then: dsmanager upload REF --remote s3://bucket/prefix",
        )
    return Path(os.path.normpath(base / os.path.expanduser(path)))


def _nearest(name: str, folder: Path) -> Path | None:
    for candidate in (folder, *folder.parents):
        if os.path.isfile(candidate / name):
            return candidate / name
    return None


def _read_toml(path: Path) -> dict[str, Any]:
    table = _parsed(path)
    apart = {key: table.pop(key) for key in ("remotes", "jobs", "keys") if key in table}
    _check(table, _TOP_KEYS, path, "")
    for key in ("data_dir", "state_dir", "manifest"):
        if key in table:
            table[key] = _absolute(table[key], path.parent)
    if "builders" in table:
        if not all(
            isinstance(each, str) and each and "\0" not in each for each in table["builders"]
        ):
            raise _bad(path, "builders must be a list of folders")
        table["builders"] = tuple(_absolute(folder, path.parent) for folder in table["builders"])
    return table | apart


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        content = path.read_bytes()
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _bad(path, f"is not valid TOML: line {line} is not UTF-8") from error
    except RecursionError as error:
        raise _bad(path, "is nested too deeply") from error
    except ValueError as error:
        last = len(content.splitlines()) or 1
        why = str(error).replace("at end of document", f"at line {last}, the end of the file")
        raise _bad(path, f"is not valid TOML: {why}") from error


def _remotes_of(tables: Any, path: Path) -> dict[str, RemoteConfig]:
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise _bad(path, "remotes must be tables such as [remotes.team]")
    remotes = {}
    for name, table in tables.items():
        _check(table, _REMOTE_KEYS, path, f"remotes.{name}.")
        if "url" not in table:
            raise _bad(path, f"remotes.{plain(name)} has no url")
        if "credentials_file" in table:
            table["credentials_file"] = _absolute(table["credentials_file"], path.parent)
        try:
            remotes[name] = RemoteConfig(name=name, **table)
            _require_endpoint(remotes[name])
        except UsageError as error:
            raise _bad(path, f"has a {error.message}") from error
    return remotes


def _keys_of(table: Any, path: Path) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(each, str) for each in table.values()):
        raise _bad(path, 'keys must be a table of texts such as [keys] upload = "f4"')
    return table


def _slots_of(table: Any, path: Path) -> dict[str, int]:
    if not isinstance(table, dict):
        raise _bad(path, "jobs must be a table: [jobs]")
    _check(table, dict.fromkeys(_JOB_SLOTS, int), path, "jobs.")
    for name, count in table.items():
        if isinstance(count, bool) or not 1 <= count <= _MOST_SLOTS:
            raise _bad(path, f"jobs.{name} must be a number from 1 to {_MOST_SLOTS}")
    return table


def _require_endpoint(remote: RemoteConfig) -> None:
    """Files hold no secrets, and so no user and password in a URL."""
    url = remote.endpoint_url
    if url is not None and _ENDPOINT.fullmatch(url) is None:
        raise UsageError(
            f"remote '{plain(remote.name)}': endpoint_url '{plain(redact(url))}' is not of the "
            "form http[s]://host[:port], without user and password",
            hint="for example: dsmanager remote add team s3://bucket/prefix "
            "--endpoint-url https://minio.example:9000",
        )


def _check(table: Mapping[str, Any], allowed: Mapping[str, type], path: Path, where: str) -> None:
    for key, value in table.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise _bad(path, f"has an unknown key {plain(where + key)}{meant}")
        if not isinstance(value, allowed[key]):
            kind = _KINDS[allowed[key]]
            raise _bad(path, f"{plain(where + key)} must be {kind}")
        if value == "" or "\0" in str(value):
            raise _bad(path, f"{plain(where + key)} is empty or holds a null character")


def _bad(path: Path, problem: str) -> UsageError:
    return UsageError(f"{path} {problem}", hint="mend it, then look: dsmanager config")
