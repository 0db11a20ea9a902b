"""The manifest that a team shares: ``<prefix>/datasets.json`` on the remote.

Entries are merged one by one and nothing is removed: an entry that one side lacks was not deleted.
One that both sides have with different content is a conflict, which stays as it is on both sides
unless the caller says whose entry counts. Written by compare-and-swap, so that of two who push at
once neither is lost; a server that cannot do that is refused.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dsmanager.errors import (
    DsmanagerError,
    NotFoundError,
    TemporaryError,
    UsageError,
    VerificationError,
)
from dsmanager.files import write_json
from dsmanager.library.scope import select
from dsmanager.manifest import Entry, Manifest, parse_manifest, update_manifest
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.remotes.remote import Remote

__all__ = ["SHARED_NAME", "Prefer", "ShareResult", "SharedEntry", "merge", "pull", "push"]

SHARED_NAME = "datasets.json"

Prefer = Literal["local", "remote"]

_MAX_BYTES = 64 << 20
_GIVE_UP_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_PROBE_HOLDS_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """What became of one entry: added, replaced, unchanged, or conflict."""

    ref: Ref
    outcome: str
    entry: Entry
    """What the target has now; of a conflict what it keeps."""
    other: Entry | None = None
    """Of a conflict, what the other side has."""


@dataclass(frozen=True, slots=True)
class ShareResult:
    """``entries`` has one line for each entry of the source; ``total`` counts the target's."""

    url: str
    manifest: Path
    entries: tuple[SharedEntry, ...]
    total: int

    @property
    def conflicts(self) -> tuple[SharedEntry, ...]:
        return tuple(each for each in self.entries if each.outcome == "conflict")


def push(
    library: LibraryPlaces,
    requests: Sequence[str] = (),
    *,
    prefer: Prefer | None = None,
    force: bool = False,
    progress: Progress,
    cancel: CancelToken,
) -> ShareResult:
    """Merges the entries of ``requests`` (all without any) into the remote's manifest.

    ``force`` writes without compare-and-swap and replaces a manifest there that cannot be read.
    Raises UsageError when the server cannot do compare-and-swap, TemporaryError when others are
    faster for two minutes on end.
    """
    mine = _chosen(library.manifest.entries, requests, str(library.settings.manifest_path))
    remote = library.remote
    if not force:
        _require_conditions(library, remote)
    pauses = _pauses()
    while True:
        cancel.check()
        result = _push_once(library, remote, mine, prefer, force)
        if result is not None:
            return result
        pause_s = next(pauses, None)
        if pause_s is None:
            raise TemporaryError(
                f"{remote.url_of(SHARED_NAME)} is written by others all the time",
                hint="try again later: dsmanager manifest push",
            )
        cancel.wait(pause_s)


def pull(
    library: LibraryPlaces,
    requests: Sequence[str] = (),
    *,
    prefer: Prefer | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> ShareResult:
    """Merges the entries of ``requests`` (all without any) of the remote's manifest into ours.

    Raises NotFoundError when the remote has no manifest.
    """
    from dsmanager.remotes.conditional import read_versioned

    remote = library.remote
    url = remote.url_of(SHARED_NAME)
    found = read_versioned(remote, SHARED_NAME, max_bytes=_MAX_BYTES)
    if found is None:
        raise NotFoundError(
            f"{url} does not exist", hint="put the manifest there: dsmanager manifest push"
        )
    theirs = _chosen(_parsed(found.content, url).entries, requests, url)
    lines: list[SharedEntry] = []

    def change(entries: dict[Ref, Entry]) -> None:
        merged, merged_lines = merge(entries, theirs, replace_differing=_wins(prefer, "remote"))
        entries |= merged
        lines.extend(merged_lines)

    path = library.settings.manifest_path
    after = update_manifest(path, change, progress=progress, cancel=cancel)
    return ShareResult(url, path, tuple(lines), len(after.entries))


def merge(
    target: Mapping[Ref, Entry], source: Mapping[Ref, Entry], *, replace_differing: bool | None
) -> tuple[dict[Ref, Entry], tuple[SharedEntry, ...]]:
    """``target`` with the entries of ``source``, and what became of each of these.

    Where both have different archives of one ref, ``replace_differing`` says whether the source's
    counts; None makes it a conflict, in which the target keeps its own.
    """
    merged = dict(target)
    lines = []
    for ref, entry in sorted(source.items()):
        there = target.get(ref)
        if there is None or (replace_differing and not _is_same(there, entry)):
            merged[ref] = entry
            lines.append(SharedEntry(ref, "replaced" if there else "added", entry))
        elif replace_differing is None and not _is_same(there, entry):
            lines.append(SharedEntry(ref, "conflict", there, entry))
        else:
            lines.append(SharedEntry(ref, "unchanged", there))
    return merged, tuple(lines)


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether both mean one archive; what a machine calls its remote does not matter."""
    return (one.archive, one.size, one.sha256, one.subdir) == (
        other.archive,
        other.size,
        other.sha256,
        other.subdir,
    )


def _wins(prefer: Prefer | None, source: Prefer) -> bool | None:
    return None if prefer is None else prefer == source


def _push_once(
    library: LibraryPlaces,
    remote: Remote,
    mine: Mapping[Ref, Entry],
    prefer: Prefer | None,
    force: bool,
) -> ShareResult | None:
    """One round of read, merge and write; None when somebody else was faster."""
    from dsmanager.remotes.conditional import ChangedError, read_versioned, write_versioned

    url = remote.url_of(SHARED_NAME)
    try:
        found = read_versioned(remote, SHARED_NAME, max_bytes=_MAX_BYTES)
    except VerificationError:
        if not force:
            raise
        found = None
    theirs = _theirs(found.content if found else None, url, force)
    merged, lines = merge(theirs.entries, mine, replace_differing=_wins(prefer, "local"))
    result = ShareResult(url, library.settings.manifest_path, lines, len(merged))
    if found is not None and merged == theirs.entries:
        return result
    text = json.dumps(Manifest(merged).to_json(), indent=2, ensure_ascii=False) + "\n"
    if force:
        remote.upload_bytes(text.encode(), SHARED_NAME)
        return result
    try:
        write_versioned(remote, SHARED_NAME, text.encode(), etag=found.etag if found else None)
    except ChangedError:
        return None
    return result


def _theirs(content: bytes | None, url: str, force: bool) -> Manifest:
    if content is None:
        return Manifest()
    try:
        manifest = _parsed(content, url)
    except UsageError:
        if force:
            return Manifest()
        raise
    if manifest.is_armory and not force:
        raise UsageError(
            f"{url} has Armory's format, which is read and never written",
            hint="take it over, then replace it: dsmanager manifest pull && "
            "dsmanager manifest push --force",
        )
    return manifest


def _parsed(content: bytes, url: str) -> Manifest:
    try:
        return parse_manifest(content.decode("utf-8"), Path(SHARED_NAME))
    except (UnicodeDecodeError, UsageError) as error:
        why = error.message if isinstance(error, UsageError) else f"it is not UTF-8: {error}"
        raise UsageError(
            f"the manifest at {url} cannot be used: {why}",
            hint="replace it by the one here: dsmanager manifest push --force",
        ) from error


def _chosen(
    entries: Mapping[Ref, Entry], requests: Sequence[str], where: str
) -> Mapping[Ref, Entry]:
    if not entries:
        raise NotFoundError(
            f"{where} records nothing", hint="record an archive: dsmanager manifest record REF"
        )
    if not requests:
        return entries
    refs = select(
        requests,
        entries,
        newest_only=False,
        what="record",
        hint="see what is recorded here: dsmanager manifest show",
    )
    return {ref: entries[ref] for ref in refs}


def _pauses() -> Iterator[float]:
    """Jittered and growing, until it has taken too long in all."""
    deadline_s = time.monotonic() + _GIVE_UP_S
    longest_s = _FIRST_PAUSE_S
    while time.monotonic() < deadline_s:
        yield random.uniform(0, longest_s)  # noqa: S311 - no secret depends on it
        longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)


def _require_conditions(library: LibraryPlaces, remote: Remote) -> None:
    """Raises UsageError unless compare-and-swap works there.

    Tried once; a good answer is remembered for a month in the state dir. A bad one is not: the
    server may be a better one the next time.
    """
    from dsmanager.remotes.conditional import honours_conditions

    memory = library.settings.state_dir / "conditional-writes.json"
    place = f"{remote.clients.endpoint_url or 'aws'} {remote.config.bucket}"
    known = _remembered(memory)
    now_s = time.time()
    if 0 <= now_s - known.get(place, 0.0) < _PROBE_HOLDS_S:
        return
    if not honours_conditions(remote):
        raise UsageError(
            f"the server of {remote.config.url} does not do compare-and-swap (If-Match), so that "
            "of two machines that push at once one would be lost",
            hint="keep the manifest in git, or, when nobody else pushes now: "
            "dsmanager manifest push --force",
        )
    with suppress(DsmanagerError):  # a state dir that cannot be written costs a probe each time
        write_json(memory, {**_remembered(memory), place: now_s})


def _remembered(path: Path) -> dict[str, float]:
    with suppress(OSError, ValueError, RecursionError):
        value = json.loads(path.read_bytes())
        if isinstance(value, dict):
            return {str(key): when for key, when in value.items() if isinstance(when, float)}
    return {}
