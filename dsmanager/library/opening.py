"""Loading a dataset, fetching it first where it has to be; publishing one in a single step."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsmanager.built import BuiltDataset
from dsmanager.errors import AlreadyExistsError, NotFoundError
from dsmanager.library.extraction import CONFIG_FOLDER, METADATA, extract
from dsmanager.library.packaging import PackageResult, package, result_of_existing
from dsmanager.library.presence import Presence, ref_of_subdir
from dsmanager.library.recording import record
from dsmanager.library.scope import newest, select
from dsmanager.library.survey import Survey
from dsmanager.library.transfer import UploadResult, download, upload
from dsmanager.library.verification import verify
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref, RefPattern

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["PublishResult", "ensure", "load", "publish"]


@dataclass(frozen=True, slots=True)
class PublishResult:
    packaged: PackageResult
    uploaded: UploadResult


def load(
    library: LibraryPlaces,
    request: str,
    *,
    split: str | None = None,
    framework: str = "tf",
    fetch: bool = True,
    stream: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
    progress: Progress,
    cancel: CancelToken,
) -> tuple[Any, Any]:
    """Opens ``request``: built here, else cached, else on the remote.

    With ``stream`` records are read from the remote as they are needed, whatever is here, through
    a cache of blocks at ``cache_dir`` of at most ``cache_bytes``.

    Returns ``(info, ds)``: TFDS's DatasetInfo, and a dict of splits or the one ``split``. Raises
    NotFoundError that says how to build what is nowhere.
    """
    from dsmanager.loading import load_directory

    if stream:
        from dsmanager.library.streaming import load_stream

        return load_stream(
            library,
            request,
            split=split,
            framework=framework,
            cache_dir=cache_dir,
            cache_bytes=cache_bytes,
            cancel=cancel,
        )
    built = ensure(library, request, fetch=fetch, progress=progress, cancel=cancel)
    state_dir = library.settings.state_dir
    return load_directory(built.path, split=split, framework=framework, state_dir=state_dir)


def ensure(
    library: LibraryPlaces,
    request: str,
    *,
    fetch: bool = True,
    progress: Progress,
    cancel: CancelToken,
) -> BuiltDataset:
    """Makes ``request`` built here: downloads, verifies and extracts what is missing.

    What is built and complete already is used without a look at the remote. Several processes may
    ask at once: one fetches, the others use what it fetched. Without ``fetch`` nothing is changed.
    """
    pattern = RefPattern.parse(request)
    ref = _built_here(library, pattern)
    if ref is None and not fetch:
        raise NotFoundError(
            f"{request} is not built here, and nothing may be fetched",
            hint=f"without --read-only: dsmanager load {request}",
            ref=request,
        )
    if ref is None:
        try:
            ref = _fetch(library, request, pattern, progress, cancel)
        except AlreadyExistsError:
            ref = _built_here(library, pattern)  # another process was quicker
            if ref is None:
                raise
    return BuiltDataset(ref, library.version_folder(ref))


def _fetch(
    library: LibraryPlaces,
    request: str,
    pattern: RefPattern,
    progress: Progress,
    cancel: CancelToken,
) -> Ref:
    """Downloads and extracts; returns what is built then."""
    archive = _obtainable(library, request, pattern, library.survey())
    downloaded_sha256 = None
    if archive.cached is None or archive.cached.problem:
        downloaded_sha256 = download(
            library,
            archive.ref,
            overwrite=archive.cached is not None,
            progress=progress,
            cancel=cancel,
        ).sha256
    is_damaged = archive.built is not None and archive.built.problem is not None
    extracted = extract(
        library,
        archive.ref,
        overwrite=is_damaged or archive.is_partly_built,
        downloaded_sha256=downloaded_sha256,
        progress=progress,
        cancel=cancel,
    )
    subdirs = [str(path.relative_to(library.data_dir)) for path in extracted.paths]
    return _default_of(library, [ref_of_subdir(subdir) for subdir in subdirs])


def _built_here(library: LibraryPlaces, pattern: RefPattern) -> Ref | None:
    """The newest version, the default config, of what is built and complete."""
    rows = library.survey(local_only=True).rows
    return _choose(library, pattern, [row for row in rows if row.built and not row.problem])


def _choose(library: LibraryPlaces, pattern: RefPattern, rows: Sequence[Presence]) -> Ref | None:
    """The built ref that is meant: the newest version, the default config."""
    refs = [row.ref for row in rows if library.version_folder(row.ref).is_dir()]
    matching = [ref for ref in refs if pattern.matches(ref)]
    if not matching:
        return None
    last = max(ref.version_key for ref in matching)
    return _default_of(library, [ref for ref in matching if ref.version_key == last])


def _default_of(library: LibraryPlaces, refs: list[Ref]) -> Ref:
    """Of several configs the one that ``.config/metadata.json`` names, else the first."""
    metadata = library.data_dir / refs[0].name / CONFIG_FOLDER / METADATA
    try:
        default = json.loads(metadata.read_bytes())["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        default = None
    return next((ref for ref in refs if ref.config == default), sorted(refs)[0])


def _obtainable(
    library: LibraryPlaces, request: str, pattern: RefPattern, survey: Survey
) -> Presence:
    """The newest archive of ``request`` that is cached or on the remote."""
    rows = {row.ref: row for row in survey.rows if row.cached or row.remote}
    try:
        found = select([request], rows, newest_only=True, what="dataset", hint="")
    except NotFoundError as error:
        if survey.remote_error is not None:
            raise survey.remote_error from error
        raise NotFoundError(
            error.message.replace("there is no dataset of", "nothing built, cached or remote of"),
            hint=f"build it: dsmanager build {request}",
            ref=request,
        ) from error
    return rows[newest(found)[0]]


def publish(
    library: LibraryPlaces,
    ref: Ref,
    *,
    public: bool = False,
    overwrite: bool = False,
    compression: str = "gz",
    progress: Progress,
    cancel: CancelToken,
) -> PublishResult:
    """Packages, records, verifies and uploads ``ref``.

    An archive that was packed before is used unless ``overwrite``.
    """
    archive = library.settings.cache_dir / ref.archive_name(compression)
    if overwrite or not archive.exists():
        packaged = package(
            library,
            ref,
            compression=compression,
            overwrite=overwrite,
            progress=progress,
            cancel=cancel,
        )
    else:
        record(library, ref, progress=progress, cancel=cancel)
        packaged = result_of_existing(ref, archive)
    verify(library, ref, "cached", progress=progress, cancel=cancel)
    uploaded = upload(
        library, ref, public=public, overwrite=overwrite, progress=progress, cancel=cancel
    )
    return PublishResult(packaged, uploaded)
