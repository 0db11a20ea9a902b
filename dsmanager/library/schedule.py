"""Verification spread over days: which refs are read on which day, and which were never read.

A ref falls into one of n subsets by the hash of its name, on every machine and for ever, so that
``--subset 1/7`` to ``7/7`` read everything once a week without anybody keeping a list.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmanager.errors import UsageError
from dsmanager.library.survey import cached_archives
from dsmanager.refs import Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["Readings", "Subset", "readings"]

_MOST_SUBSETS = 10_000


@dataclass(frozen=True, slots=True)
class Subset:
    """Number ``number`` (from 1) of ``count`` subsets."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def __contains__(self, ref: Ref) -> bool:
        digest = hashlib.sha256(str(ref).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    @classmethod
    def parse(cls, text: str) -> Subset:
        """Reads ``1/7``. Raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count <= _MOST_SUBSETS:
            raise UsageError(
                f"'{ascii(text)[1:-1][:40]}' is no subset: it is not of the form k/n with k from "
                f"1 to n and n at most {_MOST_SUBSETS:,}",
                hint="for the first of seven: dsmanager verify --all --subset 1/7",
            )
        return cls(number, count)


@dataclass(frozen=True, slots=True)
class Readings:
    """When the cached archives were last read in full and found right."""

    archives: int
    never: tuple[Ref, ...]
    oldest: tuple[Ref, str] | None
    """The one whose last reading is longest ago, and when that was (ISO 8601 in UTC)."""


def readings(library: LibraryPlaces) -> Readings:
    """Looks at what is remembered; reads no archive."""
    found = cached_archives(library.settings.cache_dir, library.manifest, library.looks, [])
    read = [(each.verified_at, ref) for ref, each in found.items() if each.verified_at]
    never = tuple(sorted(ref for ref, each in found.items() if not each.verified_at))
    oldest = min(read, key=lambda pair: (pair[0], pair[1].sort_key), default=None)
    return Readings(len(found), never, (oldest[1], oldest[0]) if oldest else None)
