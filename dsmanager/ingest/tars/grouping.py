"""Members of a tar grouped into records: files that follow each other and share a key.

Owns two rules. ``first-dot`` is WebDataset's: folder and base name up to the first dot are the key,
the rest, in lower case, is the extension (``a/b.seg.png`` → ``a/b``, ``seg.png``). ``last-dot`` is
tar2tf's: the key goes up to the last dot (``a/b.seg``, ``png``). As in WebDataset, files without an
extension and ``__meta__`` files belong to no record; so do hidden ones. They are counted, by kind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from dsmanager.archives.paths import MalformedError
from dsmanager.ingest.tars.stream import MAX_MEMBER_BYTES, LeftOut, Member, TarReader

__all__ = ["SPLIT_RULES", "TarRecord", "group", "split_name"]

SPLIT_RULES = ("first-dot", "last-dot")

_META = re.compile(r"__[^/]*__($|/)")


@dataclass(slots=True)
class TarRecord:
    """The files of one key: content by extension."""

    key: str
    files: dict[str, bytes] = field(default_factory=dict)


def group(
    tar: TarReader,
    split_at: str,
    left_out: LeftOut,
    *,
    wanted: Collection[str] | None = None,
) -> Iterator[TarRecord]:
    """The records of a tar, in order, one in memory at a time.

    With ``wanted`` only these extensions are read; a record without any of them still counts, and
    has no files. Raises MalformedError for two files of one name that follow each other, and for a
    file of 2 GiB or more: no record can hold it.
    """
    record: TarRecord | None = None
    seen: set[str] = set()
    for member in tar:
        split = split_name(member.name, split_at)
        if isinstance(split, str):
            left_out.add(split, member.name)
            continue
        key, extension = split
        if record is None or key != record.key:
            if record is not None:
                yield record
            record, seen = TarRecord(key), set()
        if extension in seen:
            raise MalformedError(f"{member.name!a} is there twice")
        seen.add(extension)
        if wanted is None or extension in wanted:
            record.files[extension] = _content(tar, member, record)
        else:
            left_out.add(f"files .{extension}", member.name)
    if record is not None:
        yield record


def _content(tar: TarReader, member: Member, record: TarRecord) -> bytes:
    size_bytes = member.size + sum(map(len, record.files.values()))
    if size_bytes > MAX_MEMBER_BYTES:
        raise MalformedError(
            f"{member.name!a} makes its record {size_bytes:,} bytes large, and a record takes "
            "2 GiB at most"
        )
    return tar.read()


def split_name(name: str, split_at: str) -> tuple[str, str] | str:
    """``(key, extension)`` of a file, or the kind of it, when it belongs to no record."""
    folder, slash, base = name.rpartition("/")
    if name.startswith("__") and _META.match(name):
        return "files named __…__"
    if base.startswith("."):
        return "hidden files"
    dot = base.find(".") if split_at == "first-dot" else base.rfind(".")
    if dot < 0 or dot == len(base) - 1:
        return "files without extension"
    return folder + slash + base[:dot], base[dot + 1 :].lower()
