"""Names from a template, as bash expands braces: ``train-{0..7}.tar.gz``, ``{train,val}-{00..3}``.

Owns the rules of bash: a range counts up or down, with a step where there is one; a leading zero
pads to the longest of both ends, the sign included; letters count, too; lists hold anything, more
braces included; several groups multiply, the last fastest; braces that are neither list nor range
stay as they are. Nothing is looked up: a name that does not exist is for the caller to notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise

from dsmanager.errors import UsageError
from dsmanager.text import plain, redact

__all__ = ["MAX_NAMES", "expand", "stem_of"]

MAX_NAMES = 100_000
_MAX_LETTERS = 4096
_MAX_BRACES = 64
_NUMBERS = re.compile(r"([+-]?\d{1,18})\.\.([+-]?\d{1,18})(?:\.\.([+-]?\d{1,18}))?", re.ASCII)
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.([+-]?\d{1,18}))?", re.ASCII)
_SUFFIX = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst)(\.[A-Za-z0-9]+)?$")
_FORMAT = ".tfrecord"
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


def expand(template: str) -> list[str]:
    """Every name that ``template`` means, in bash's order.

    Raises UsageError for a template that is too long, has too many braces, or means more than
    ``MAX_NAMES``.
    """
    if len(template) > _MAX_LETTERS:
        raise _refused(template, f"is longer than {_MAX_LETTERS:,} letters")
    if template.count("{") > _MAX_BRACES:
        raise _refused(template, f"has more than {_MAX_BRACES} braces")
    names = list(islice(_expanded(template), MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise _refused(template, f"means more than {MAX_NAMES:,} names")
    return names


def stem_of(template: str) -> str:
    """What the shards of ``template`` are called: ``train`` of ``s3://b/x/train-{0..7}.tar.gz``."""
    whole, spans = template.split("://", 1)[-1], []
    for start, end, _ in _groups(whole):
        spans.append((start, end))
    for start, end in reversed(spans):
        whole = whole[:start] + "\0" + whole[end + 1 :]
    base = _SUFFIX.sub("", whole.rstrip("/").rpartition("/")[2].partition("?")[0])
    words = [word.strip("-_.") for word in base.split("\0")]
    name = _ODD.sub("_", "-".join(word for word in words if word))
    while _FORMAT in name:  # where it stands in a shard's name, its readers end the dataset's
        name = name.replace(_FORMAT, "")
    return name.strip("-_.") or "data"


def _expanded(text: str) -> Iterator[str]:
    for start, end, commas in _groups(text):
        before, body, after = text[:start], text[start + 1 : end], text[end + 1 :]
        if commas:
            cuts = [start, *commas, end]
            pieces = [text[a + 1 : b] for a, b in pairwise(cuts)]
            middles: Iterator[str] = (name for piece in pieces for name in _expanded(piece))
        else:
            middles = _range(body)
        ends = list(islice(_expanded(after), MAX_NAMES + 1))
        yield from (before + middle + end for middle in middles for end in ends)
        return
    yield text


def _groups(text: str) -> Iterator[tuple[int, int, list[int]]]:
    """Start, end and commas of each group that is a list or a range, outermost, left to right."""
    start = text.find("{")
    while start >= 0:
        end, commas = _close(text, start)
        if end > 0 and (commas or _is_range(text[start + 1 : end])):
            yield start, end, commas
            start = text.find("{", end + 1)
        else:
            start = text.find("{", start + 1)


def _close(text: str, start: int) -> tuple[int, list[int]]:
    """Where the brace at ``start`` is closed, and its own commas; 0 where it is not."""
    depth, commas = 0, []
    for position in range(start, len(text)):
        letter = text[position]
        if letter == "{":
            depth += 1
        elif letter == "," and depth == 1:
            commas.append(position)
        elif letter == "}":
            depth -= 1
            if not depth:
                return position, commas
    return 0, []


def _is_range(body: str) -> bool:
    return bool(_NUMBERS.fullmatch(body) or _LETTERS.fullmatch(body))


def _range(body: str) -> Iterator[str]:
    if match := _NUMBERS.fullmatch(body):
        first, last, step = match.groups()
        padded = any(re.match(r"[+-]?0\d", end) for end in (first, last))
        width = max(len(first.lstrip("+")), len(last.lstrip("+"))) if padded else 0
        for number in _count(int(first), int(last), step):
            yield f"{number:0{width}d}" if width else str(number)
    elif match := _LETTERS.fullmatch(body):
        first, last, step = match.groups()
        for number in _count(ord(first), ord(last), step):
            yield chr(number)


def _count(first: int, last: int, step: str | None) -> range:
    size = abs(int(step or 1)) or 1
    return range(first, last + 1, size) if first <= last else range(first, last - 1, -size)


def _refused(template: str, problem: str) -> UsageError:
    return UsageError(
        f"the template '{plain(redact(template))[:120]}' {problem}",
        hint="name fewer at once: dsmanager convert 'train-{0..7}.tar.gz' OUT",
    )
