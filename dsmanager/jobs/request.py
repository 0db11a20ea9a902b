"""What a job was asked to do, frozen when it was started: verb, arguments, places.

Places (data dir, manifest, remote, configuration) are written down as they were then, so that a job
that waits, or is tried again, works on the same. Credentials are never written down: the process
inherits them from whoever starts it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dsmanager.errors import UsageError
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.settings import Settings

__all__ = ["REQUEST", "SLOT_OF_VERB", "VALUED_OPTIONS", "JobRequest", "freeze", "is_time", "now"]

REQUEST = "job.json"

SLOT_OF_VERB = {
    "build": "build",
    "convert": "disk",
    "package": "disk",
    "verify": "disk",
    "extract": "disk",
    "rm": "disk",
    "gc": "disk",
    "upload": "transfer",
    "download": "transfer",
    "sync": "transfer",
}
"""The verbs that can be jobs, and what each takes a turn for."""

_VALUED = (
    "--data-dir -o --remote --manifest --from --in --subset --path --config --manual-dir "
    "--download-dir --format --max-examples --workers --compression --limit-rate --prefer --plan "
    "--apply --jobs -j --keep --keep-logs --cluster --beam-option --to --name --split-at --fields "
    "--record --shards --max-shard-size --shuffle --only --synset-text --annotations"
)
VALUED_OPTIONS = frozenset(_VALUED.split())
"""Options of these verbs that take the next argument."""

_PLACES_IN_ENVIRONMENT = (
    "DSMANAGER_CONFIG",
    "DSMANAGER_STATE_DIR",
    "DSMANAGER_DATA_DIR",
    "DSMANAGER_REMOTE",
    "DSMANAGER_MANIFEST",
    "TFDS_DATA_DIR",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
)
_CALLERS = "AWS_PROFILE"
"""Says whose credentials: whoever tries a job again may name another one."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The content of ``job.json``."""

    verb: str
    arguments: tuple[str, ...]
    """What stands after the verb."""
    places: tuple[str, ...]
    """Global options that stand before it."""
    working_dir: str
    environment: Mapping[str, str | None]
    """Variables that say where things are; None: it was not set. Never a credential."""
    created: str

    @property
    def slot(self) -> str:
        return SLOT_OF_VERB[self.verb]

    @property
    def ref(self) -> str:
        """Refs as asked; "all" where none means everything."""
        refs = _positional(self.arguments)
        if refs:
            return plain(" ".join(refs))
        if "--path" in self.arguments[:-1]:
            path = self.arguments[self.arguments.index("--path") + 1]
            return plain(os.path.basename(path.rstrip("/")).removesuffix(".py"))
        return "" if self.verb == "gc" else "all"

    @property
    def command(self) -> list[str]:
        """The arguments of the program."""
        return [*self.places, self.verb, *self.arguments]

    def environment_of(self, environ: Mapping[str, str]) -> dict[str, str]:
        """``environ``, of whoever starts the job now, with the places as they were frozen."""
        changed = dict(environ)
        for name, value in self.environment.items():
            if name == _CALLERS and environ.get(name):
                continue
            if value is None:
                changed.pop(name, None)
            else:
                changed[name] = value
        return changed

    def again(self, created: str) -> JobRequest:
        """The same, asked for now."""
        return replace(self, created=created)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "verb": self.verb,
            "ref": self.ref,
            "arguments": list(self.arguments),
            "places": list(self.places),
            "working_dir": self.working_dir,
            "environment": dict(self.environment),
            "created": self.created,
        }

    @classmethod
    def from_json(cls, value: Any) -> JobRequest | None:
        """None for anything that :meth:`to_json` does not make."""
        if not isinstance(value, dict) or value.get("schema") != _SCHEMA:
            return None
        environment: Any = value.get("environment")
        known = (
            isinstance(value.get("verb"), str)
            and value["verb"] in SLOT_OF_VERB
            and _are_texts(value.get("arguments"))
            and _are_texts(value.get("places"))
            and _are_texts([value.get("working_dir")])
            and is_time(value.get("created"))
            and isinstance(environment, dict)
            and _are_texts([each for each in environment.values() if each is not None])
            and set(environment) <= set(_PLACES_IN_ENVIRONMENT)
        )
        if not known:
            return None
        return cls(
            verb=value["verb"],
            arguments=tuple(value["arguments"]),
            places=tuple(value["places"]),
            working_dir=value["working_dir"],
            environment=environment,
            created=value["created"],
        )


def freeze(
    settings: Settings, verb: str, arguments: Sequence[str], environ: Mapping[str, str]
) -> JobRequest:
    """A request with the places of ``settings``. Raises UsageError for what can be no job."""
    if verb not in SLOT_OF_VERB:
        raise UsageError(
            f"'{plain(verb)}' cannot be a job",
            hint=f"jobs are: {', '.join(SLOT_OF_VERB)}",
        )
    for argument in arguments:
        if redact(argument) != argument or not _are_texts([argument]):
            raise UsageError(
                "an argument holds a secret or letters that no file can keep, and a job writes "
                "its arguments down",
                hint=f"without --detach: dsmanager {verb} …",
            )
    places = ["--data-dir", str(settings.data_dir), "--manifest", str(settings.manifest_path)]
    remote = settings.remote or (next(iter(settings.remotes)) if len(settings.remotes) == 1 else "")
    if remote:
        places += ["--remote", remote]
    environment: dict[str, str | None] = {
        name: value
        for name in _PLACES_IN_ENVIRONMENT
        if (value := environ.get(name)) is None or redact(value) == value
    }
    environment["DSMANAGER_CONFIG"] = str(settings.config_file)
    environment["DSMANAGER_STATE_DIR"] = str(settings.state_dir)
    return JobRequest(
        verb, tuple(arguments), tuple(places), str(settings.working_dir), environment, now()
    )


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_time(value: Any) -> bool:
    """Whether it is what :func:`now` returns."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None or not value.isascii():
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _positional(arguments: Sequence[str]) -> list[str]:
    found = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            found += list(rest)
        elif argument in VALUED_OPTIONS:
            next(rest, None)
        elif not argument.startswith("-"):
            found.append(argument)
    return found


def _are_texts(values: Any) -> bool:
    """Whether they are texts that can be an argument and a line of a file."""
    if not isinstance(values, list):
        return False
    return all(isinstance(each, str) and "\0" not in each and _is_utf8(each) for each in values)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
