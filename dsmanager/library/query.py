"""What ``list`` shows: words, globs and predicates, all of which must hold.

    digit  coco/*  state:not-built,damaged  in:cached  not:in:remote  size>1g  examples>=1000

A word is looked for anywhere in the ref; ``not:`` before a term turns it round. ``size`` is the
largest that is known of the row, in bytes with k, m, g, t for powers of 1000.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dsmanager.errors import UsageError
from dsmanager.library.presence import STATES, Presence

__all__ = ["Query"]

_COMPARISON = re.compile(r"(size|examples)(>=|<=|>|<|=)(\d+(?:\.\d+)?)([kmgt]?)b?", re.IGNORECASE)
_FIELD = re.compile(r"(state|in|name|config|version|format):(.*)")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_PLACES = ("built", "cached", "remote", "recorded")


class Query(NamedTuple):
    """Tests rows of ``list``."""

    tests: tuple[Callable[[Presence], bool], ...] = ()
    words: tuple[str, ...] = ()
    """The plain words, for things that have no more than a name."""

    @classmethod
    def parse(cls, terms: Sequence[str]) -> Query:
        """Reads terms; each may hold several, parted by spaces. Raises UsageError."""
        tests, words = [], []
        for term in " ".join(terms).split():
            body = term.removeprefix("not:")
            is_negated = body != term
            test = _test(body)
            if test is None:
                test = _has_word(body)
                if not is_negated:
                    words.append(body)
            tests.append(_not(test) if is_negated else test)
        return cls(tuple(tests), tuple(words))

    def matches(self, row: Presence) -> bool:
        return all(test(row) for test in self.tests)


def _test(term: str) -> Callable[[Presence], bool] | None:
    """The test of a predicate; None for a plain word."""
    if match := _COMPARISON.fullmatch(term):
        name, sign, number, unit = match.groups()
        value = float(number) * _UNITS[unit.lower()]
        measure = _size_bytes if name.lower() == "size" else _examples
        compare = _OPERATORS[sign]
        return lambda row: compare(measure(row), value)
    if match := _FIELD.fullmatch(term):
        return _field_test(match[1], match[2].split(","))
    if re.match(r"\w+([<>=]|:(?!\d+\.\d+\.\d+$))", term):
        hint = "for example: dsmanager list 'size>1g' state:not-built in:remote"
        raise UsageError(f"'{term}' is no predicate", hint=hint)
    return None


def _field_test(name: str, values: list[str]) -> Callable[[Presence], bool]:
    allowed = {"state": STATES, "in": _PLACES}.get(name)
    for value in values:
        if allowed and value not in allowed:
            raise UsageError(
                f"there is no {name} '{value}'; there are {', '.join(allowed)}",
                hint=f"for example: dsmanager list {name}:{allowed[0]}",
            )
    if name == "in":
        return lambda row: any(getattr(row, place) is not None for place in values)
    return lambda row: any(fnmatch.fnmatchcase(_text_of(row, name), value) for value in values)


def _text_of(row: Presence, name: str) -> str:
    if name == "state":
        return row.state
    if name == "format":
        return (row.built.format or "") if row.built else ""
    return str(getattr(row.ref, name) or "")


def _has_word(word: str) -> Callable[[Presence], bool]:
    if re.search(r"[*?\[]", word):
        return lambda row: (
            fnmatch.fnmatchcase(str(row.ref), word) or fnmatch.fnmatchcase(row.ref.name, word)
        )
    return lambda row: word.lower() in str(row.ref).lower()


def _not(test: Callable[[Presence], bool]) -> Callable[[Presence], bool]:
    return lambda row: not test(row)


def _size_bytes(row: Presence) -> float:
    known = (
        row.built.size_bytes if row.built else 0,
        row.cached.size_bytes if row.cached else 0,
        row.remote.size_bytes if row.remote else 0,
        row.recorded.size if row.recorded else 0,
    )
    return max(known)


def _examples(row: Presence) -> float:
    splits = row.built.splits if row.built else {}
    return sum(counts["examples"] for counts in splits.values())
