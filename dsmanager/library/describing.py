"""Everything that is known of one dataset, without TFDS and without reading its archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.built import BuiltDataset
from dsmanager.errors import DsmanagerError
from dsmanager.library.presence import Presence
from dsmanager.library.scope import select

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["Description", "describe", "describe_row", "describe_sidecar"]


@dataclass(frozen=True)
class Description:
    """One row of presence with what the version folder and the sidecar tell beside it."""

    presence: Presence
    errors: tuple[DsmanagerError, ...] = ()
    splits: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    preview: tuple[Mapping[str, str], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Texts: format, description, homepage, license, citation, builder_sha256, tfds_version."""
    sources: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            **self.presence.to_json(),
            "problem": self.presence.problem or self.presence.difference,
            "splits": dict(self.splits),
            "features": dict(self.features),
            "files": dict(self.files),
            "sources": [dict(source) for source in self.sources],
            "preview": [dict(example) for example in self.preview],
            **{name: self.facts.get(name) for name in _FACTS},
        }


_FACTS = (
    "format",
    "description",
    "homepage",
    "license",
    "citation",
    "builder_sha256",
    "tfds_version",
)


def describe(library: LibraryPlaces, request: str, *, preview: int) -> Description:
    """Describes the newest version of ``request``; ``preview`` examples of each split, at most.

    Raises NotFoundError when nothing of it is built, cached, remote or recorded.
    """
    survey = library.survey()
    rows = {row.ref: row for row in survey.rows}
    chosen = select(
        [request],
        rows,
        newest_only=True,
        what="dataset",
        hint="see what could be built: dsmanager list --available",
    )
    return describe_row(library, rows[chosen[0]], errors=survey.errors, preview=preview)


def describe_row(
    library: LibraryPlaces,
    row: Presence,
    *,
    errors: tuple[DsmanagerError, ...] = (),
    preview: int = 0,
) -> Description:
    """As :func:`describe`, of a row of a survey; reads what is on this machine only."""
    sidecar = _sidecar(row)
    folder = library.version_folder(row.ref)
    if folder.is_dir():
        return _of_built(BuiltDataset(row.ref, folder), row, errors, sidecar, preview)
    if sidecar is not None:
        return describe_sidecar(sidecar, row, errors)
    return Description(row, errors)


def _sidecar(row: Presence) -> Sidecar | None:
    try:
        return read_sidecar(row.cached.path) if row.cached else None
    except DsmanagerError:
        return None


def _of_built(
    built: BuiltDataset,
    row: Presence,
    errors: tuple[DsmanagerError, ...],
    sidecar: Sidecar | None,
    preview: int,
) -> Description:
    try:
        info, features, provenance = built.dataset_info, built.features, built.provenance
    except DsmanagerError as error:
        return Description(row, (*errors, error), files=_files(built))
    examples: list[Mapping[str, str]] = []
    if preview and row.problem is None:
        from dsmanager.loading.preview import preview_examples

        for split in built.splits:
            examples += preview_examples(built, split=split, count=preview)
    return Description(
        row,
        errors,
        splits=row.built.splits if row.built else {},
        features=feature_kinds(features),
        files=_files(built),
        preview=tuple(examples),
        sources=_sources(provenance) or (sidecar.sources if sidecar else ()),
        facts={
            "format": built.file_format,
            "description": _text(info.get("description")),
            "homepage": _homepage(info),
            "license": _text(provenance.get("license")) or _licence(info),
            "citation": _text(provenance.get("citation")) or _text(info.get("citation")),
            "builder_sha256": _text(built.builder_sha256),
            "tfds_version": _text(provenance.get("tfds_version")),
        },
    )


def describe_sidecar(
    sidecar: Sidecar, row: Presence, errors: tuple[DsmanagerError, ...] = ()
) -> Description:
    """What a sidecar tells of an archive, here or on the remote."""
    return Description(
        row,
        errors,
        splits=sidecar.splits,
        files={member.path: member.size for member in sidecar.members},
        sources=sidecar.sources,
        facts={
            "license": sidecar.license,
            "citation": sidecar.citation,
            "builder_sha256": sidecar.builder_sha256,
            "tfds_version": sidecar.tfds_version,
        },
    )


def _files(built: BuiltDataset) -> Mapping[str, int]:
    try:
        return built.files
    except DsmanagerError:
        return {}


def _text(value: Any) -> str | None:
    """JSON from outside may hold anything where a text belongs."""
    return value if isinstance(value, str) else None


def _sources(provenance: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    listed = provenance.get("sources")
    found = listed if isinstance(listed, list) else []
    return tuple(source for source in found if isinstance(source, dict))


def _homepage(info: Mapping[str, Any]) -> str | None:
    location = info.get("location")
    urls = location.get("urls") if isinstance(location, dict) else None
    return _text(urls[0]) if isinstance(urls, list) and urls else None


def _licence(info: Mapping[str, Any]) -> str | None:
    redistribution = info.get("redistributionInfo")
    return _text(redistribution.get("license")) if isinstance(redistribution, dict) else None


def feature_kinds(features: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Each leaf of a ``features.json`` by its path, with the name of its class: ``ClassLabel``.

    Nothing is imported or trusted: the names are shown as they stand.
    """
    kinds: dict[str, str] = {}
    inner = features.get("featuresDict")
    if isinstance(inner, dict) and isinstance(inner.get("features"), dict):
        for name, feature in inner["features"].items():
            if isinstance(feature, dict):
                path = f"{prefix}/{name}" if prefix else str(name)
                kinds |= feature_kinds(feature, path)
        return kinds
    name = str(features.get("pythonClassName", "")).rpartition(".")[2]
    return {prefix: name or "unknown"}
