"""Deciding what a sync does: pure functions from facts and options to plan lines.

A ref has one line that keeps it, or the steps that it takes in order. Nothing here looks at a disk
or a remote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dsmanager.errors import UsageError
from dsmanager.refs import Ref
from dsmanager.syncing.facts import Facts, Health

__all__ = ["PREFERENCES", "Action", "Line", "Options", "Plan", "plan_all", "plan_ref"]

PREFERENCES = ("manifest", "local", "remote")


class Action(StrEnum):
    """What a plan line does."""

    KEEP = "keep"
    VERIFY = "verify"
    DOWNLOAD = "download"
    EXTRACT = "extract"
    UPLOAD = "upload"
    DELETE = "delete"
    CONFLICT = "conflict"


SAME, HERE, THERE, DIFFERS, DAMAGED, UNCHECKED = "=", "+", "-", "*", "!", "?"
"""The markers of a plan."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    push: bool = False
    verify: bool = False
    delete: bool = False
    extract: bool = True
    prefer: str | None = None

    def __post_init__(self) -> None:
        if self.prefer is not None and self.prefer not in PREFERENCES:
            hint = f"use --prefer {'|'.join(PREFERENCES)}"
            raise UsageError(f"nobody can prefer '{self.prefer}'", hint=hint)
        if self.push and not self.extract:
            hint = "leave one out: dsmanager sync --push, or dsmanager sync --no-extract"
            raise UsageError("--push extracts nothing anyway", hint=hint)


@dataclass(frozen=True, slots=True)
class Line:
    """One step of one ref. ``size_bytes`` is what will move; 0 for keep, verify and conflict."""

    action: Action
    ref: Ref
    reason: str
    size_bytes: int = 0
    mark: str = SAME
    place: str | None = None
    """Where a delete removes: built, cached or remote."""
    overwrite: bool = False
    record_first: str | None = None
    """Whose archive the manifest takes over before this step: local or remote."""

    def to_json(self) -> dict[str, Any]:
        return {
            "action": str(self.action),
            "ref": str(self.ref),
            "reason": self.reason,
            "bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Plan:
    """The lines of every ref in scope, and the facts that they rest on."""

    options: Options
    facts: tuple[Facts, ...]
    lines: tuple[tuple[Line, ...], ...]
    """The lines of each of ``facts``, in order."""

    @property
    def all_lines(self) -> tuple[Line, ...]:
        return tuple(line for lines in self.lines for line in lines)

    @property
    def deletes(self) -> tuple[Line, ...]:
        return tuple(line for line in self.all_lines if line.action is Action.DELETE)


def plan_all(facts: Iterable[Facts], options: Options) -> Plan:
    """The plan of every ref."""
    known = tuple(facts)
    return Plan(options, known, tuple(plan_ref(each, options) for each in known))


def plan_ref(facts: Facts, options: Options) -> tuple[Line, ...]:
    """The lines of one ref; with ``verify``, what follows when nothing is found to be wrong."""
    lines = _decide(facts, options)
    if not options.verify or facts.examined or facts.is_part or not facts.is_here:
        return lines
    places = [name for name in ("built", "cached") if getattr(facts.row, name)]
    check = _line(facts, Action.VERIFY, f"read {' and '.join(places)} in full", mark=UNCHECKED)
    return (check, *(each for each in lines if each.action not in (Action.KEEP, Action.VERIFY)))


def _decide(facts: Facts, options: Options) -> tuple[Line, ...]:
    if facts.is_part and not facts.row.cached and not facts.row.remote:
        return (_keep(facts, SAME, "part of a recorded archive of several configs"),)
    if facts.cached is Health.SUSPECT and not facts.examined:
        reason = facts.problem or "it is not what the manifest records, and has no sidecar"
        return (_line(facts, Action.VERIFY, reason, mark=UNCHECKED),)
    if facts.cached is Health.DAMAGED:
        return _healed(facts, options)
    if conflict := _conflict(facts):
        return _resolved(facts, options, conflict)
    if facts.built is Health.DAMAGED:
        return _healed(facts, options)
    if facts.recorded is None:
        return _unrecorded(facts, options)
    return _pushed(facts) if options.push else _pulled(facts, options)


def _healed(facts: Facts, options: Options) -> tuple[Line, ...]:
    """Fetches damaged bytes again from where the manifest's are; else says that it cannot."""
    problem = f"damaged: {facts.problem or 'it cannot be read'}"
    if facts.recorded is None:
        if options.verify or facts.examined:
            return (_beyond_repair(facts, f"{problem}; no manifest says what to fetch"),)
        return (_keep(facts, DAMAGED, f"{problem}; not recorded"),)
    is_archive_good = facts.cached is not Health.DAMAGED and facts.cached_is_recorded
    lines = []
    if not is_archive_good:
        if not facts.remote_is_recorded:
            return (_beyond_repair(facts, f"{problem}; no place has what the manifest records"),)
        lines.append(_download(facts, problem, mark=DAMAGED))
    if facts.built is Health.DAMAGED:
        if not options.extract:
            return (*lines, _beyond_repair(facts, f"{problem}; --no-extract leaves it as it is"))
        lines.append(_extract(facts, problem, mark=DAMAGED, overwrite=True))
    return tuple(lines)


def _conflict(facts: Facts) -> str | None:
    """Which two whole things differ, in words."""
    cached, recorded, there = facts.row.cached, facts.recorded, facts.row.remote
    if cached and recorded and not facts.cached_is_recorded and not facts.is_repacked_record:
        return "the cache holds another archive than the manifest records"
    if recorded and there and not facts.remote_is_recorded and not facts.is_repacked:
        return "the remote holds another archive than the manifest records"
    if cached and there and not facts.cached_is_remote and not facts.is_repacked:
        return "cache and remote hold different archives"
    if facts.built_differs:
        return f"what is built is not what its archive holds: {facts.built_differs}"
    return None


def _resolved(facts: Facts, options: Options, why: str) -> tuple[Line, ...]:
    """The steps towards what is preferred; the conflict itself where there are none."""
    lines: tuple[Line, ...] = ()
    if options.prefer is not None:
        resolve = _resolved_by_push if options.push else _resolved_by_pull
        lines = resolve(facts, options, f"{why}; {options.prefer} is preferred")
    return lines or (_line(facts, Action.CONFLICT, why, mark=DIFFERS),)


def _resolved_by_pull(facts: Facts, options: Options, why: str) -> tuple[Line, ...]:
    """Changes what is here: nothing for ``local``, to what is recorded or remote else."""
    if options.prefer == "local":
        return (_keep(facts, DIFFERS, why),) if facts.is_here else ()
    takes_remote = options.prefer == "remote" and not facts.remote_is_recorded
    lines = []
    if takes_remote or not (facts.row.cached and facts.cached_is_recorded):
        if facts.row.remote is None or not (takes_remote or facts.remote_is_recorded):
            return ()
        download = _download(facts, why, mark=DIFFERS)
        lines.append(replace(download, record_first="remote" if takes_remote else None))
    elif not facts.built_differs:
        return (_keep(facts, DIFFERS, why),)
    if options.extract and (facts.row.built or not facts.row.cached):
        lines.append(_extract(facts, why, mark=DIFFERS, overwrite=True))
    return tuple(lines) or (_keep(facts, DIFFERS, why),)


def _resolved_by_push(facts: Facts, options: Options, why: str) -> tuple[Line, ...]:
    """Changes what is remote: nothing for ``remote``, to what is recorded or cached else."""
    cached = facts.row.cached
    if options.prefer == "remote":
        return (_keep(facts, DIFFERS, why),) if facts.row.remote else ()
    if cached is None or facts.built_differs:
        return (_keep(facts, DIFFERS, why),) if options.prefer == "local" and cached else ()
    is_recorded = facts.cached_is_recorded
    if options.prefer == "manifest" and not is_recorded:
        return ()
    upload = _line(facts, Action.UPLOAD, why, cached.size_bytes, DIFFERS)
    return (replace(upload, overwrite=True, record_first=None if is_recorded else "local"),)


def _unrecorded(facts: Facts, options: Options) -> tuple[Line, ...]:
    built, cached, there = facts.row.built, facts.row.cached, facts.row.remote
    why = "the manifest does not record it"
    if options.delete and options.push and there:
        delete = _line(facts, Action.DELETE, f"on the remote; {why}", there.size_bytes, THERE)
        return (replace(delete, place="remote"),)
    if options.delete and not options.push:
        is_one_folder = built is not None and not facts.is_part and _has_own_folder(facts)
        doomed = {"built": built if is_one_folder else None, "cached": cached}
        lines = [
            replace(
                _line(facts, Action.DELETE, f"{place} here; {why}", held.size_bytes, HERE),
                place=place,
            )
            for place, held in doomed.items()
            if held is not None
        ]
        if lines:
            return tuple(lines)
    mark = HERE if not there else THERE if not facts.is_here else SAME
    if mark == SAME and not (cached and cached.sha256 and there and there.sha256):
        mark = UNCHECKED
    return (_keep(facts, mark, f"{_where(facts)}; {why}"),)


def _has_own_folder(facts: Facts) -> bool:
    """Whether the build is one version folder, not those of several configs."""
    built, parts = facts.row.built, facts.ref.subdir.parts
    return built is not None and built.path.parts[-len(parts) :] == parts


def _pulled(facts: Facts, options: Options) -> tuple[Line, ...]:
    row, is_cached = facts.row, facts.row.cached is not None
    if is_cached:
        if facts.is_unfinished and options.extract and not row.built and facts.cached_is_recorded:
            why = "fetched by a sync that was interrupted, and not extracted yet"
            overwrite = row.is_partly_built
            return (_extract(facts, why, mark=THERE, overwrite=overwrite),)
        return (_kept(facts),)
    is_built = bool(row.built) or row.is_partly_built
    if is_built and options.extract:
        return (_kept(facts),)
    why = "recorded, and neither built nor cached here" if not is_built else "recorded, not cached"
    if row.remote is None:
        nowhere = f"{why}; {'not on the remote' if row.has_remote else 'there is no remote'}"
        return (_line(facts, Action.DOWNLOAD, nowhere, mark=THERE),)
    lines = [_download(facts, why, mark=THERE, overwrite=False)]
    if options.extract:
        lines.append(_extract(facts, why, mark=THERE))
    return tuple(lines)


def _pushed(facts: Facts) -> tuple[Line, ...]:
    cached = facts.row.cached
    if cached is None or facts.row.remote is not None:
        return (_kept(facts),)
    if not facts.cached_is_recorded:
        return (_keep(facts, HERE, "the manifest records the same content packed otherwise"),)
    why = "recorded and cached, not on the remote"
    return (_line(facts, Action.UPLOAD, why, cached.size_bytes, HERE),)


def _kept(facts: Facts) -> Line:
    """A recorded ref that stays as it is."""
    row, there = facts.row, facts.row.remote
    if row.is_partly_built:
        return _keep(facts, DIFFERS, f"{_where(facts)}; only some of its configs are built")
    if facts.problem:
        return _keep(facts, DAMAGED, f"{_where(facts)}; {facts.problem}")
    if there is None:
        return _keep(facts, HERE if row.has_remote else SAME, _where(facts))
    unchecked = []
    if facts.cached is Health.UNCHECKED:
        unchecked.append("the cache")
    if there.sha256 is None:
        unchecked.append("the remote")
    if unchecked:
        mark = UNCHECKED if facts.is_here else THERE
        return _keep(facts, mark, f"{_where(facts)}; {' and '.join(unchecked)} not checked")
    is_same = facts.is_here and (facts.cached_is_recorded or not row.cached)
    how = "" if is_same or not row.cached else "; the same content, packed otherwise"
    return _keep(facts, SAME if facts.is_here else THERE, _where(facts) + how)


def _where(facts: Facts) -> str:
    row = facts.row
    places = {
        "built": row.built,
        "partly built": row.is_partly_built and not row.built,
        "cached": row.cached,
        "remote": row.remote,
    }
    return ", ".join(name for name, held in places.items() if held) or "nowhere"


def _download(facts: Facts, reason: str, *, mark: str, overwrite: bool = True) -> Line:
    size_bytes = facts.row.remote.size_bytes if facts.row.remote else 0
    return replace(_line(facts, Action.DOWNLOAD, reason, size_bytes, mark), overwrite=overwrite)


def _extract(facts: Facts, reason: str, *, mark: str, overwrite: bool = False) -> Line:
    """Its bytes are the archive's: how large its content is, only a sidecar knows."""
    archive = facts.recorded or facts.row.remote or facts.row.cached
    size_bytes = getattr(archive, "size", 0) or getattr(archive, "size_bytes", 0)
    return replace(_line(facts, Action.EXTRACT, reason, size_bytes, mark), overwrite=overwrite)


def _beyond_repair(facts: Facts, reason: str) -> Line:
    return _line(facts, Action.VERIFY, reason, mark=DAMAGED)


def _keep(facts: Facts, mark: str, reason: str) -> Line:
    return _line(facts, Action.KEEP, reason, mark=mark)


def _line(facts: Facts, action: Action, reason: str, size_bytes: int = 0, mark: str = SAME) -> Line:
    return Line(action, facts.ref, reason, size_bytes, mark)
