"""Which refs a request means, among those that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dsmanager.errors import NotFoundError
from dsmanager.refs import Ref, RefPattern

if TYPE_CHECKING:
    from dsmanager.built import BuiltDataset
    from dsmanager.library.places import LibraryPlaces

__all__ = [
    "newest",
    "refs_to_download",
    "refs_to_extract",
    "refs_to_package",
    "refs_to_record",
    "refs_to_upload",
    "refs_to_verify",
    "select",
]


def select(
    requests: Sequence[str],
    candidates: Iterable[Ref],
    *,
    newest_only: bool,
    what: str,
    hint: str,
    others: Iterable[Ref] = (),
) -> list[Ref]:
    """The candidates that ``requests`` mean, sorted, each once.

    ``newest_only`` keeps, for requests without a version, the newest version of each config.
    Raises UsageError for what is no ref, and NotFoundError with near names (among the candidates
    and ``others``) for a request that means nothing; ``what`` says what there is none of, such as
    "cached archive".
    """
    there = sorted(set(candidates))
    chosen: set[Ref] = set()
    for text in requests:
        pattern = RefPattern.parse(text)
        matching = [ref for ref in there if pattern.matches(ref)]
        if not matching:
            raise _nothing(text, pattern, there, others, what, hint)
        if newest_only and pattern.version is None:
            matching = newest(matching)
        is_plain = pattern.config is None and not pattern.is_glob
        if is_plain and any(ref.config is None for ref in matching):
            # An archive of all configs and archives of single ones: the plain name is the former.
            matching = [ref for ref in matching if ref.config is None]
        chosen.update(matching)
    return sorted(chosen)


def newest(refs: Iterable[Ref]) -> list[Ref]:
    """Of each name and config the newest version."""
    best: dict[tuple[str, str | None], Ref] = {}
    for ref in sorted(refs):
        best[ref.name, ref.config] = ref
    return sorted(best.values())


def _nothing(
    text: str,
    pattern: RefPattern,
    there: Sequence[Ref],
    others: Iterable[Ref],
    what: str,
    hint: str,
) -> NotFoundError:
    known = {str(ref) for ref in (*there, *others)} | {ref.name for ref in (*there, *others)}
    same_name = [str(ref) for ref in there if ref.name == pattern.name]
    near = same_name or difflib.get_close_matches(text, sorted(known), n=3, cutoff=0.6)
    near = [name for name in near if name != text][:3]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return NotFoundError(f"there is no {what} of {text}{meant}", hint=hint, ref=text)


def refs_to_package(
    library: LibraryPlaces, requests: Sequence[str], *, together: bool = False
) -> list[Ref]:
    """Built refs; with ``together`` one ref a name and version."""
    refs = select(
        requests,
        [built.ref for built in _found_built(library)],
        newest_only=False,
        what="built dataset",
        hint=f"build it: dsmanager build {requests[0]}",
    )
    return sorted({Ref(ref.name, None, ref.version) for ref in refs}) if together else refs


def refs_to_verify(
    library: LibraryPlaces, requests: Sequence[str], places: Sequence[str], *, deep: bool = False
) -> list[tuple[Ref, str]]:
    """Pairs of ref and place; without ``places`` cached where there is an archive, else built.

    ``deep`` reads records, which only a build has: it prefers builds.
    """
    rows = library.survey(local_only="remote" not in places)
    if "remote" in places and rows.remote_error:
        raise rows.remote_error
    here: dict[Ref, list[str]] = {}
    for row in rows.rows:
        present = {"built": row.built, "cached": row.cached, "remote": row.remote}
        order = ("built", "cached", "remote") if deep else ("cached", "built", "remote")
        found = [place for place in order if present[place]]
        here[row.ref] = [place for place in found if place in places] if places else found[:1]
    refs = select(
        requests,
        [ref for ref, found in here.items() if found],
        newest_only=False,
        what=f"{' or '.join(places) or 'cached or built'} dataset",
        hint="see what there is: dsmanager list",
    )
    return [(ref, place) for ref in refs for place in here[ref]]


def refs_to_extract(library: LibraryPlaces, requests: Sequence[str]) -> list[Ref]:
    """The newest cached archives."""
    return _cached(library, requests, newest_only=True)


def refs_to_upload(library: LibraryPlaces, requests: Sequence[str]) -> list[Ref]:
    """All cached archives."""
    return _cached(library, requests, newest_only=False)


refs_to_record = refs_to_upload


def refs_to_download(library: LibraryPlaces, requests: Sequence[str]) -> list[Ref]:
    """The newest archives that the manifest records or the remote lists.

    The remote is not listed when the manifest alone answers with exact versions.
    """
    recorded = list(library.manifest.entries)
    patterns = [RefPattern.parse(text) for text in requests]
    exact = [Ref(p.name, p.config, p.version) for p in patterns if p.version and not p.is_glob]
    if len(exact) == len(requests) and set(exact) <= set(recorded):
        return sorted(set(exact))
    library.settings.require_remote()
    survey = library.survey()
    if survey.remote_error:
        raise survey.remote_error
    return select(
        requests,
        [row.ref for row in survey.rows if row.remote or row.recorded],
        newest_only=True,
        what="recorded or remote archive",
        hint="see what the remote has: dsmanager list",
    )


def _cached(library: LibraryPlaces, requests: Sequence[str], *, newest_only: bool) -> list[Ref]:
    from dsmanager.library.survey import cached_archives

    found = cached_archives(library.settings.cache_dir, library.manifest, library.looks, [])
    return select(
        requests,
        found,
        newest_only=newest_only,
        what="cached archive",
        hint=f"make one: dsmanager package {requests[0]}, "
        f"or fetch one: dsmanager download {requests[0]}",
    )


def _found_built(library: LibraryPlaces) -> list[BuiltDataset]:
    from dsmanager.library.survey import built_datasets

    return built_datasets(library.data_dir, [])
