"""The library: one data dir, its manifest and its remote, and the verbs on them.

The Python API and the front ends stand on this class. Each verb lives in a module of its own and
works on one exact ref; the methods here take what a user writes (a ref without version, a glob),
find the refs that it means (:mod:`dsmanager.library.scope`) and run the verb on each. A verb adds
to ``progress``, polls ``cancel``, returns a frozen dataclass, raises our errors, and never prints.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.library import scope
from dsmanager.library.places import LibraryPlaces
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.built import BuiltDataset
    from dsmanager.library.building import BuildResult
    from dsmanager.library.extraction import ExtractResult
    from dsmanager.library.opening import PublishResult
    from dsmanager.library.packaging import PackageResult
    from dsmanager.library.recording import RecordResult
    from dsmanager.library.transfer import DownloadResult, UploadResult
    from dsmanager.library.verification import VerifyResult

__all__ = ["Library"]


class Library(LibraryPlaces):
    """One data dir with its manifest and its remote, and every verb."""

    def build(
        self,
        request: str,
        *,
        path: str | os.PathLike[str] | None = None,
        config: str | None = None,
        clean: bool = False,
        manual_dir: str | os.PathLike[str] | None = None,
        download_dir: str | os.PathLike[str] | None = None,
        file_format: str | None = None,
        register_checksums: bool = False,
        max_examples: int | None = None,
        workers: int | None = None,
        cluster: str | None = None,
        beam_options: Sequence[str] = (),
        verify: bool = True,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[BuildResult]:
        """Builds ``name[/config][:version]``, one result for each config that is meant.

        ``cluster`` is the address of a Dask scheduler whose workers make the partitions;
        ``beam_options`` ("runner=…") are for the pipeline of a builder that uses Apache Beam.
        """
        from dsmanager.building.options import BuildOptions
        from dsmanager.library.building import build, plan_build

        run = _Run(progress, cancel)
        options = BuildOptions(
            clean=clean,
            manual_dir=Path(manual_dir) if manual_dir is not None else None,
            download_dir=Path(download_dir) if download_dir is not None else None,
            file_format=file_format,
            register_checksums=register_checksums,
            max_examples=max_examples,
            workers=workers,
            cluster=cluster,
            beam_options=beam_options,
            verify=verify,
        )
        options.require_possible()
        builder_path = Path(path) if path is not None else None
        plan = plan_build(self, request, path=builder_path, config=config, cancel=run.cancel)
        return [
            build(self, plan, ref, options=options, progress=run.progress, cancel=run.cancel)
            for ref in plan.refs
        ]

    def package(
        self,
        request: str,
        *,
        compression: str = "gz",
        together: bool = False,
        overwrite: bool = False,
        record: bool = True,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[PackageResult]:
        """Packs each built config and version of ``request``, or all configs ``together``."""
        from dsmanager.library.packaging import package

        run = _Run(progress, cancel)
        return [
            package(
                self,
                ref,
                compression=compression,
                together=together,
                overwrite=overwrite,
                record=record,
                progress=run.progress,
                cancel=run.cancel,
            )
            for ref in scope.refs_to_package(self, [request], together=together)
        ]

    def verify(
        self,
        request: str,
        *,
        places: tuple[str, ...] = (),
        deep: bool = False,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[VerifyResult]:
        """Reads the bytes of ``request`` again: in ``places``, else cached, else built."""
        from dsmanager.library.verification import verify

        run = _Run(progress, cancel)
        return [
            verify(self, ref, place, deep=deep, progress=run.progress, cancel=run.cancel)
            for ref, place in scope.refs_to_verify(self, [request], places, deep=deep)
        ]

    def extract(
        self,
        request: str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[ExtractResult]:
        """Unpacks the newest cached archive of ``request``."""
        from dsmanager.library.extraction import extract

        run = _Run(progress, cancel)
        return [
            extract(self, ref, overwrite=overwrite, progress=run.progress, cancel=run.cancel)
            for ref in scope.refs_to_extract(self, [request])
        ]

    def upload(
        self,
        request: str,
        *,
        public: bool = False,
        overwrite: bool = False,
        limit_rate: str | int | None = None,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[UploadResult]:
        """Sends the cached archives of ``request`` to the remote, private unless ``public``.

        ``limit_rate`` is in bytes a second, such as "10M".
        """
        from dsmanager.library.transfer import upload
        from dsmanager.remotes.rate import rate_limit

        run = _Run(progress, cancel)
        limit = rate_limit(limit_rate)
        return [
            upload(
                self,
                ref,
                public=public,
                overwrite=overwrite,
                limit=limit,
                progress=run.progress,
                cancel=run.cancel,
            )
            for ref in scope.refs_to_upload(self, [request])
        ]

    def download(
        self,
        request: str,
        *,
        overwrite: bool = False,
        verify: bool = True,
        limit_rate: str | int | None = None,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[DownloadResult]:
        """Fetches the newest archive of ``request`` into the cache.

        ``limit_rate`` is in bytes a second, such as "10M".
        """
        from dsmanager.library.transfer import download
        from dsmanager.remotes.rate import rate_limit

        run = _Run(progress, cancel)
        limit = rate_limit(limit_rate)
        return [
            download(
                self,
                ref,
                overwrite=overwrite,
                verify=verify,
                limit=limit,
                progress=run.progress,
                cancel=run.cancel,
            )
            for ref in scope.refs_to_download(self, [request])
        ]

    def record(
        self,
        request: str,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[RecordResult]:
        """Writes the cached archives of ``request`` into the manifest."""
        from dsmanager.library.recording import record

        run = _Run(progress, cancel)
        return [
            record(self, ref, progress=run.progress, cancel=run.cancel)
            for ref in scope.refs_to_record(self, [request])
        ]

    def load(
        self,
        request: str,
        *,
        split: str | None = None,
        framework: str = "tf",
        fetch: bool = True,
        stream: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Any, Any]:
        """Returns ``(info, ds)``; with ``fetch`` what is not built here is fetched first.

        Frameworks: ``tf`` and ``numpy``. With ``stream`` records are read from the remote as they
        are needed, through a cache at ``cache_dir`` (default: the user's cache folder) of at most
        ``cache_bytes`` (default: 20 GB, or half of what is free).
        """
        from dsmanager.library.opening import load

        run = _Run(progress, cancel)
        return load(
            self,
            request,
            split=split,
            framework=framework,
            fetch=fetch,
            stream=stream,
            cache_dir=cache_dir,
            cache_bytes=cache_bytes,
            progress=run.progress,
            cancel=run.cancel,
        )

    def ensure(
        self,
        request: str,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> BuiltDataset:
        """Downloads, verifies and extracts ``request`` unless it is built here."""
        from dsmanager.library.opening import ensure

        run = _Run(progress, cancel)
        return ensure(self, request, progress=run.progress, cancel=run.cancel)

    def publish(
        self,
        request: str,
        *,
        public: bool = False,
        overwrite: bool = False,
        compression: str = "gz",
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[PublishResult]:
        """Packages, records, verifies and uploads what is built of ``request``."""
        from dsmanager.library.opening import publish

        run = _Run(progress, cancel)
        return [
            publish(
                self,
                ref,
                public=public,
                overwrite=overwrite,
                compression=compression,
                progress=run.progress,
                cancel=run.cancel,
            )
            for ref in scope.refs_to_package(self, [request])
        ]


class _Run:
    """The counters and the token of one call, made where the caller gave none."""

    def __init__(self, progress: Progress | None, cancel: CancelToken | None) -> None:
        self.progress = progress or Progress()
        self.cancel = cancel or CancelToken()
