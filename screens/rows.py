"""Rows as the screens hold them: compact, cheap to send between processes and to compare.

A row is the JSON list that the surveying process wrote; its :class:`Presence` is made when somebody
asks for it. The markers of the four places are decided here, once a row. No Textual in here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsmanager.library.presence import Built, Cached, OnRemote, Presence
from dsmanager.manifest import Entry
from dsmanager.refs import Ref
from dsmanager.text import plain

__all__ = ["MARKERS", "PLACES", "Row", "encoded"]

PLACES = ("built", "cached", "remote", "recorded")
MARKERS: Mapping[str, str] = {
    "=": "same as elsewhere",
    "+": "only here",
    "-": "not here",
    "*": "differs",
    "!": "damaged or unreadable",
    "?": "not checked",
}

Raw = Sequence[Any]


def encoded(presence: Presence, times: Mapping[str, float | None]) -> list[Any]:
    """``presence`` as plain JSON; ``times``: when each place got what it has, in epoch seconds."""
    ref, built, cached = presence.ref, presence.built, presence.cached
    remote, recorded = presence.remote, presence.recorded
    return [
        ref.name,
        ref.config,
        ref.version,
        presence.state,
        markers(presence),
        built
        and [
            built.location,
            built.size_bytes,
            built.files,
            built.format,
            {name: dict(counts) for name, counts in built.splits.items()},
            built.problem,
            times.get("built"),
        ],
        cached
        and [
            cached.location,
            cached.size_bytes,
            cached.sha256,
            cached.verified_at,
            list(cached.subdir),
            cached.problem,
            times.get("cached"),
        ],
        remote
        and [
            remote.url,
            remote.name,
            remote.size_bytes,
            remote.sha256,
            remote.last_modified,
            times.get("remote"),
        ],
        recorded
        and [
            recorded.archive,
            recorded.size,
            recorded.sha256,
            list(recorded.subdir),
            recorded.remote,
        ],
        presence.has_remote,
        presence.is_partly_built,
    ]


def markers(presence: Presence) -> str:
    """One of :data:`MARKERS` for each of built, cached, remote and recorded."""
    here = [getattr(presence, place) is not None for place in PLACES]
    alone = sum(here) == 1
    return "".join(
        _marker(presence, place) if is_here and not alone else _alone(presence, place, is_here)
        for place, is_here in zip(PLACES, here, strict=True)
    )


def _alone(presence: Presence, place: str, is_here: bool) -> str:
    """The marker of the only place that has it, or of one that has it not."""
    if is_here:
        return "!" if getattr(getattr(presence, place), "problem", None) else "+"
    if place == "built" and presence.is_partly_built:
        return "*"
    return "?" if place == "remote" and not presence.has_remote else "-"


def _marker(presence: Presence, place: str) -> str:
    """The marker of a place that has it, as others do."""
    if getattr(getattr(presence, place), "problem", None):
        return "!"
    if place != "built" and _differs(presence, place):
        return "*"
    if place == "remote" and presence.remote is not None and presence.remote.sha256 is None:
        return "?"
    return "="


def _differs(presence: Presence, place: str) -> bool:
    """Whether ``place`` agrees with none of the others: of three that is the odd one."""
    own = _identity(presence, place)
    others = [_identity(presence, other) for other in PLACES[1:] if other != place]
    known = [other for other in others if other is not None]
    return bool(known) and own is not None and not any(_agree(own, other) for other in known)


def _identity(presence: Presence, place: str) -> tuple[int, str | None] | None:
    """Size and sha256 of an archive in a place."""
    if place == "recorded":
        entry = presence.recorded
        return None if entry is None else (entry.size, entry.sha256)
    archive = presence.cached if place == "cached" else presence.remote
    return None if archive is None else (archive.size_bytes, archive.sha256)


def _agree(one: tuple[int, str | None], other: tuple[int, str | None]) -> bool:
    is_known = one[1] is not None and other[1] is not None
    return one[0] == other[0] and (one[1] == other[1] or not is_known)


class Row:
    """One dataset and version. ``raw`` decides whether it has changed."""

    __slots__ = ("_key", "_presence", "folded", "raw", "ref", "sizes")

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        name, config, version = raw[0], raw[1], raw[2]
        middle = f"/{config}" if config else ""
        self.ref: str = f"{name}{middle}:{version}" if version else f"{name}{middle}"
        """The ref as text: what marks, cursor and jobs go by."""
        self.folded = self.ref.lower()
        built, cached, remote, recorded = raw[5:9]
        self.sizes: tuple[int | None, ...] = (
            built[1] if built else None,
            cached[1] if cached else None,
            remote[2] if remote else None,
            recorded[1] if recorded else None,
        )
        """Bytes in each of PLACES."""
        self._key: tuple[str, str, tuple[int, ...]] | None = None
        self._presence: Presence | None = None

    @property
    def name(self) -> str:
        """Name and config, plain."""
        config = f"/{self.raw[1]}" if self.raw[1] else ""
        return plain(f"{self.raw[0]}{config}")

    @property
    def version(self) -> str:
        return self.raw[2] or ""

    @property
    def state(self) -> str:
        return str(self.raw[3])

    def marker(self, place: str) -> str:
        return str(self.raw[4][PLACES.index(place)])

    def size_bytes(self, place: str) -> int | None:
        """Bytes of one of PLACES, or None."""
        return self.sizes[PLACES.index(place)]

    @property
    def largest_bytes(self) -> int:
        return max(size or 0 for size in self.sizes)

    def time_s(self, place: str) -> float | None:
        """When the built, cached or remote one was made, in seconds of the epoch."""
        value = self.raw[5 + PLACES.index(place)]
        return None if value is None or place == "recorded" else value[-1]

    @property
    def newest_s(self) -> float:
        return max(self.time_s(place) or 0.0 for place in PLACES)

    @property
    def is_recorded(self) -> bool:
        return self.raw[8] is not None

    @property
    def path(self) -> str | None:
        """The version folder, else the archive."""
        place = self.raw[5] or self.raw[6]
        return place[0] if place else None

    @property
    def url(self) -> str | None:
        return self.raw[7][0] if self.raw[7] else None

    @property
    def sha256(self) -> str | None:
        """That of the archive: as read or recorded here, else on the remote, else expected."""
        for value, index in ((self.raw[6], 2), (self.raw[7], 3), (self.raw[8], 2)):
            if value and value[index]:
                return str(value[index])
        return None

    @property
    def sort_key(self) -> tuple[str, str, tuple[int, ...]]:
        if self._key is None:
            version = tuple(int(part) for part in self.raw[2].split(".")) if self.raw[2] else ()
            self._key = (self.raw[0], self.raw[1] or "", version)
        return self._key

    @property
    def presence(self) -> Presence:
        if self._presence is None:
            self._presence = _decoded(self.raw)
        return self._presence


def _decoded(raw: Raw) -> Presence:
    ref = Ref(raw[0], raw[1], raw[2])
    built, cached, remote, recorded = raw[5:9]
    return Presence(
        ref,
        Built(*built[:6]) if built else None,
        Cached(cached[0], cached[1], cached[2], cached[3], tuple(cached[4]), cached[5])
        if cached
        else None,
        OnRemote(*remote[:5]) if remote else None,
        Entry(ref, recorded[0], recorded[1], recorded[2], tuple(recorded[3]), recorded[4])
        if recorded
        else None,
        raw[9],
        raw[10],
    )
