"""Which archives a remote has, from one listing of it and what is remembered of its objects."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from dsmanager.library.memory import Memory
from dsmanager.library.presence import OnRemote
from dsmanager.manifest import Manifest
from dsmanager.refs import Ref, parse_archive_name

if TYPE_CHECKING:
    from dsmanager.remotes.objects import RemoteObject
    from dsmanager.remotes.remote import Remote

__all__ = ["place_of", "remote_archives"]

_MOST_HEADS = 100  # objects not seen before that one listing asks about, one request each,
_HEADS_FOR_S = 0.02  # and no more of them once this much time has gone


def remote_archives(remote: Remote, manifest: Manifest, memory: Memory) -> dict[Ref, OnRemote]:
    """Archives of the remote by ref, from one listing.

    A listing tells no sha256. Objects that were seen before are known by their ETag; of others
    some, up to 100, are asked for theirs, as time permits, one request each, and remembered.
    """
    refs = {entry.archive: entry.ref for entry in manifest.entries.values()}
    objects = {}
    for found in remote.list():
        parsed = parse_archive_name(found.name)
        ref = refs.get(found.name) or (parsed[0] if parsed else None)
        if ref is not None and (found.name in refs or ref not in objects):
            objects[ref] = found
    known = _sha256_of_objects(remote, objects.values(), memory)
    return {
        ref: OnRemote(
            url=remote.config.url_of(found.name),
            name=found.name,
            size_bytes=found.size,
            sha256=known.get(found.name),
            last_modified=found.last_modified,
        )
        for ref, found in objects.items()
    }


def _sha256_of_objects(
    remote: Remote, objects: Iterable[RemoteObject], memory: Memory
) -> dict[str, str]:
    remembered = memory.objects()
    known: dict[str, str] = {}
    unknown = []
    for found in objects:
        etag, sha256 = remembered.get(place_of(remote, found.name), ("", ""))
        if etag == found.etag:
            known[found.name] = sha256
        else:
            unknown.append(found.name)
    heads: dict[str, RemoteObject] = {}
    until_s = time.monotonic() + _HEADS_FOR_S
    batches = iter(unknown[:_MOST_HEADS])
    while batch := list(islice(batches, remote.heads_at_once)):
        heads |= remote.heads(batch)
        if time.monotonic() > until_s:
            break
    memory.remember_objects(
        (place_of(remote, name), head.etag, head.sha256 or "") for name, head in heads.items()
    )
    known |= {name: head.sha256 or "" for name, head in heads.items()}
    return {name: sha256 for name, sha256 in known.items() if sha256}


def place_of(remote: Remote, name: str) -> str:
    """A key for what is remembered of an object: endpoint and URL."""
    return f"{remote.config.endpoint_url or ''} {remote.config.url_of(name)}"
