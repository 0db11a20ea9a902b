"""What is known of a dataset, as lines: places, splits, features, licence, provenance, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from dsmanager.archives.sidecar import Sidecar
from dsmanager.cli.output import size_text
from dsmanager.errors import DsmanagerError
from dsmanager.library.describing import Description
from dsmanager.library.presence import Presence
from dsmanager.loading.schema import Leaf
from dsmanager.screens.previews.lines import Line, Piece, bounded, line, pair, shortened, wrapped
from dsmanager.text import redact

__all__ = ["Facts", "about_lines", "error_lines", "files_lines", "how_to_get"]

_MOST_FILES = 500
_MOST_FEATURES = 200
_MOST_SPLITS = 100
_MOST_TEXT_LINES = 40
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at everything but the examples."""

    description: Description
    sidecar: Sidecar | None = None
    leaves: tuple[Leaf, ...] = ()
    errors: tuple[DsmanagerError, ...] = ()

    @property
    def row(self) -> Presence:
        return self.description.presence


def error_lines(error: DsmanagerError, width: int) -> list[Line]:
    """The message, and what helps, below it."""
    lines = list(wrapped(redact(error.message), width, "bad"))
    if error.hint:
        lines += wrapped(redact(error.hint), width, "muted")
    return lines


def about_lines(facts: Facts, width: int) -> list[Line]:
    """All but the files, folded to ``width`` columns."""
    row, known = facts.row, facts.description.facts
    lines = list(pair("ref", str(row.ref), width))
    lines += pair("state", row.state, width, role="good" if row.state == "ok" else "text")
    if why := row.problem or row.difference:
        lines += wrapped(why, width, "bad")
    for error in (*facts.description.errors, *facts.errors):
        lines += error_lines(error, width)
    lines += _section("Where", _places(row, width))
    lines += _section("Splits", bounded(_splits(facts.description), _MOST_SPLITS))
    lines += _section("Features", bounded(_features(facts, width), _MOST_FEATURES))
    texts = (
        ("licence", known.get("license")),
        ("homepage", known.get("homepage")),
        ("citation", known.get("citation")),
    )
    licence = [each for name, text in texts for each in pair(name, text or "", width)]
    lines += _section("Licence", bounded(licence, _MOST_TEXT_LINES))
    lines += _section("Provenance", _provenance(facts, width))
    description = list(wrapped((known.get("description") or "").strip(), width))
    if known.get("description"):
        lines += _section("Description", bounded(description, _MOST_TEXT_LINES))
    return lines


def files_lines(facts: Facts, width: int) -> list[Line]:
    """Every file with its size, and its sha256 where a sidecar tells it."""
    hashes = _hashes(facts.sidecar)
    files = facts.description.files
    told = f"{len(files):,} files, {size_text(sum(files.values()))}"
    lines = [line(f"{told}, each with its sha256" if hashes else told, "title")]
    if files and not hashes:
        told = f"no checksums yet; they come with an archive: dsmanager package {facts.row.ref}"
        lines += wrapped(told, width, "muted")
    for name, size_bytes in list(files.items())[:_MOST_FILES]:
        sha256 = hashes.get(name) or hashes.get(name.rpartition("/")[2], "")
        size = f"{size_text(size_bytes):>9}  "
        lines.append((Piece(size, "muted"), Piece(shortened(name, max(8, width - len(size))))))
        lines += wrapped(sha256, width, "muted", indent=4) if sha256 else ()
    if len(files) > _MOST_FILES:
        lines.append(line(f"… and {len(files) - _MOST_FILES:,} more files", "muted"))
    return lines if files else [line("no files are known", "muted")]


def how_to_get(row: Presence) -> str:
    """How a dataset that is not built here comes to be."""
    if row.problem and row.built:
        return f"it is damaged; build or fetch it again: dsmanager build {row.ref} --clean"
    if row.cached:
        return f"it is not built here; unpack its archive: dsmanager extract {row.ref}"
    if row.remote:
        return f"it is not here; fetch it: dsmanager download {row.ref} --extract"
    if row.recorded:
        return (
            "the manifest records it, and neither this machine nor the remote has it; "
            f"build it: dsmanager build {row.ref.name}"
        )
    return f"build it: dsmanager build {row.ref}"


def _section(title: str, lines: Sequence[Line]) -> list[Line]:
    return [line(), line(title, "title"), *lines] if lines else []


def _places(row: Presence, width: int) -> list[Line]:
    lines: list[Line] = []
    if built := row.built:
        said = f"{size_text(built.size_bytes)} in {built.files:,} files, {built.format or '?'}"
        lines += [*pair("built", said, width), *_beneath(str(built.path), width)]
    elif row.is_partly_built:
        lines += pair("built", "some of its configs", width)
    if cached := row.cached:
        verified = (
            f", verified {cached.verified_at}" if cached.verified_at else ", not verified yet"
        )
        lines += pair("cached", f"{size_text(cached.size_bytes)}{verified}", width)
        lines += _beneath(str(cached.path), width)
        lines += _beneath(f"sha256 {cached.sha256}" if cached.sha256 else "", width)
    if remote := row.remote:
        said = f"{size_text(remote.size_bytes)}, modified {remote.last_modified}"
        lines += [*pair("remote", said, width), *_beneath(redact(remote.url), width)]
        lines += _beneath(f"sha256 {remote.sha256}" if remote.sha256 else "", width)
    if recorded := row.recorded:
        lines += pair("recorded", size_text(recorded.size), width)
        lines += _beneath(f"sha256 {recorded.sha256}", width)
    if not row.built:
        lines += wrapped(how_to_get(row), width, "muted")
    return lines


def _beneath(text: str, width: int) -> Iterator[Line]:
    return wrapped(text, width, "muted", indent=2) if text else iter(())


def _splits(description: Description) -> list[Line]:
    lines: list[Line] = []
    names = {name: shortened(name, 24) for name in description.splits}
    width = max(map(cell_len, names.values()), default=0)
    for name, counts in description.splits.items():
        shards = counts.get("shards", 0)
        said = f" {counts.get('examples', 0):>11,} examples in {shards:,} shard"
        shown = Piece(set_cell_size(names[name], width), "name")
        lines.append((shown, Piece(said + "s" * (shards != 1))))
    return lines


def _features(facts: Facts, width: int) -> Iterator[Line]:
    known = {leaf.key: leaf for leaf in facts.leaves}
    for name, kind in facts.description.features.items():
        leaf = known.get(name)
        yield from pair(name or "(value)", _kind(leaf) if leaf else kind, width, name_width=18)


def _kind(leaf: Leaf) -> str:
    """Class, dtype and shape: ``Sequence of Text``."""
    shape = _TIMES.join("?" if size is None else str(size) for size in leaf.shape)
    said = " ".join(part for part in (leaf.kind, leaf.dtype, shape) if part)
    return "Sequence of " * leaf.rank + said


def _provenance(facts: Facts, width: int) -> list[Line]:
    known, sidecar = facts.description.facts, facts.sidecar
    made = [
        ("format", known.get("format") or ""),
        ("TFDS", known.get("tfds_version") or ""),
    ]
    hashes = {"builder": known.get("builder_sha256")}
    if sidecar is not None:
        how = ", ".join(f"{key} {value}" for key, value in sidecar.compression.items())
        made += [
            ("packed", f"{sidecar.created} by dsmanager {sidecar.dsmanager_version}"),
            ("compression", how),
        ]
        hashes["tar stream"] = sidecar.tar_sha256
    lines = [each for name, value in made for each in pair(name, value, width)]
    for name, sha256 in hashes.items():
        lines += [line(name, "name"), *_beneath(f"sha256 {sha256}", width)] if sha256 else []
    for source in facts.description.sources:
        size = source.get("size")
        size = f", {size_text(size)}" if isinstance(size, int) else ""
        lines += pair("source", f"{redact(str(source.get('url', '')))}{size}", width)
        lines += _beneath(f"sha256 {source['sha256']}" if source.get("sha256") else "", width)
    return lines


def _hashes(sidecar: Sidecar | None) -> dict[str, str]:
    """sha256 by path in the archive, and by bare name where only one member has it."""
    hashes: dict[str, str] = {}
    for member in sidecar.members if sidecar is not None else ():
        hashes[member.path] = member.sha256
        bare = member.path.rpartition("/")[2]
        hashes[bare] = "" if bare in hashes else member.sha256
    return hashes
