"""The ``dl_manager`` that builders get: TFDS's, with our transfers, checks and extraction inside.

Where files are kept, what they are called, when a file of the manual folder is used and that URLs
without a recorded checksum are allowed, all follow TFDS, whose download folder can be shared. What
is kept is hashed again before it is used.
"""

from __future__ import annotations

import enum
import json
import lzma
import os
import secrets
import shutil
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from etils import epath
from tensorflow_datasets.core import units
from tensorflow_datasets.core.download import checksums, download_manager, extractor
from tensorflow_datasets.core.download import resource as resource_lib
from tensorflow_datasets.core.utils.lazy_imports_utils import promise

from dsmanager.building.child.tars import files_of
from dsmanager.errors import NotFoundError, VerificationError
from dsmanager.files import remove_path, require_free_bytes
from dsmanager.partial import allocated_bytes, discard_part
from dsmanager.progress import Progress
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.building.child.fetch import Fetched

__all__ = ["Downloads", "KnownUrls", "ManualFolderError"]

_PARALLEL_DOWNLOADS = 8
_BROKEN = (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class OwnMethod(enum.Enum):
    """What TFDS cannot unpack; beside its ``ExtractMethod``."""

    XZ = enum.auto()


class KnownUrls(dict[str, Any]):
    """UrlInfo by URL; what TFDS knows of the URLs of its own datasets comes when it is asked for.

    That is in a hundred files, and reading them takes as long as a small build.
    """

    def __init__(self, all_of_tfds: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._all_of_tfds = all_of_tfds

    def get(self, url: str, default: Any = None) -> Any:
        self._look_up(url)
        return super().get(url, default)

    def __contains__(self, url: object) -> bool:
        self._look_up(url)
        return super().__contains__(url)

    def _look_up(self, url: object) -> None:
        if not super().__contains__(url) and url in (known := self._all_of_tfds()):
            self[str(url)] = known[str(url)]


class ManualFolderError(NotFoundError, AssertionError):
    """The manual folder is not there or empty; TFDS's builders expect an AssertionError."""


@contextmanager
def _known_urls_on_demand() -> Iterator[None]:
    """TFDS's manager takes what it knows of all URLs when it is made."""
    whole = checksums.get_all_url_infos
    checksums.get_all_url_infos = lambda: KnownUrls(whole)
    try:
        yield
    finally:
        checksums.get_all_url_infos = whole


class Downloads(download_manager.DownloadManager):  # type: ignore[misc]  # TFDS has no types
    """Adds to ``progress``.

    Unfinished files are in ``partial_dir`` only, and in ``arriving_dir`` those that the next build
    goes on with: their checksums are recorded.
    """

    def __init__(
        self, *, partial_dir: Path, arriving_dir: Path, progress: Progress, **kwargs: Any
    ) -> None:
        with _known_urls_on_demand():
            super().__init__(**kwargs)
        self._partial_dir = partial_dir
        self._arriving_dir = arriving_dir
        self._progress = progress
        self._pool = ThreadPoolExecutor(_PARALLEL_DOWNLOADS)
        self._extracting = threading.Lock()
        self._extracted: dict[Path, Path] = {}
        self._used: set[Path] = set()
        self._fetching: dict[str, Future[Any]] = {}

    @property
    def sources(self) -> dict[str, Any]:
        """TFDS's UrlInfo (size, checksum) of every URL that was used."""
        return dict(sorted(self._recorded_url_infos.items()))

    def drop_unused(self, urls: Collection[str]) -> None:
        """Removes what was kept of ``urls`` for this dataset alone and was not used this time."""
        folder = Path(self._download_dir) / self._dataset_name
        for about in folder.rglob("*.INFO") if urls else ():
            path = about.with_suffix("")
            with suppress(OSError, ValueError):
                kept = json.loads(about.read_text())
                is_ours = set(kept.get("dataset_names") or ()) <= {self._dataset_name}
                if path not in self._used and is_ours and set(kept.get("urls") or ()) <= set(urls):
                    self._drop(path, about)

    def _drop(self, path: Path, about: Path) -> None:
        path.unlink(missing_ok=True)
        about.unlink()
        for unpacked in Path(self._extract_dir).glob(f"*.{path.name}"):
            remove_path(unpacked)

    @property
    def _downloader(self) -> Any:
        return _Silent()

    _extractor = _downloader

    @cached_property
    def _meter(self) -> Any:
        from dsmanager.building.child.fetch import Meter

        return Meter(self._progress)

    @cached_property
    def manual_dir(self) -> Any:
        folder = self._manual_dir
        if folder.is_dir() and any(folder.iterdir()):
            return folder
        wanted = " ".join((self._manual_dir_instructions or "").split())
        raise ManualFolderError(
            f"{self._dataset_name} is built from files that you fetch yourself, and {folder} "
            f"has none. {plain(wanted)}".strip(),
            hint="dsmanager build NAME --manual-dir FOLDER",
        )

    def iter_archive(self, resource: Any) -> Iterator[tuple[str, BinaryIO]]:
        """Yields (relative path, file) of each file in an archive; unsafe names are left out."""
        if not isinstance(resource, resource_lib.Resource):
            resource = resource_lib.Resource(path=resource)
        return _members(resource.path, _method(resource))

    def _get_checksum_dl_result(self, resource: Any, legacy_mode: bool = False) -> Any:
        return self._whole(super()._get_checksum_dl_result(resource, legacy_mode))

    def _get_url_dl_result(self, resource: Any, legacy_mode: bool = False) -> Any:
        with suppress(ValueError, KeyError, TypeError):  # an INFO file that cannot be read
            return self._whole(super()._get_url_dl_result(resource, legacy_mode))
        return None

    def _whole(self, result: Any) -> Any:
        """A kept download if it still is what was recorded, else None: it is fetched again."""
        if result is None or checksums.compute_url_info(result.path) != result.url_info:
            return None
        self._used.add(Path(result.path))
        return result

    def _download(self, resource: Any) -> Any:
        fetching = self._fetching.get(resource.url)
        if fetching is None or (fetching.done() and fetching.exception() is not None):
            fetching = self._fetching[resource.url] = self._pool.submit(self._fetch, resource)
        return promise.Promise.resolve(fetching)

    def _fetch(self, resource: Any) -> Any:
        url = resource.url
        fetched = self._fetched(url)
        info = checksums.UrlInfo(
            size=units.Size(fetched.size_bytes), checksum=fetched.sha256, filename=fetched.filename
        )
        try:
            self._register_or_validate_checksums(url=url, url_info=info, path=fetched.path)
        except BaseException:
            discard_part(fetched.path)
            raise
        known = info.checksum if self._is_checksum_registered(url=url) else None
        final = self._get_dl_path(resource, known)
        final.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # what an older file said of itself
            resource_lib.get_info_path(final).unlink()
        os.replace(fetched.path, final)
        discard_part(fetched.path)
        self._used.add(Path(final))
        resource_lib.write_info_file(
            url=url,
            path=final,
            dataset_name=self._dataset_name,
            original_fname=fetched.filename,
            url_info=info,
        )
        return final

    def _fetched(self, url: str) -> Fetched:
        """From its URL, and from what an interrupted build has of it, if that is any good."""
        from dsmanager.building.child.fetch import (  # with requests: only what fetches waits
            fetch,
            kept_path,
        )

        known = self._url_infos.get(url)
        if known is None or self._register_checksums:
            return fetch(url, self._partial_dir, meter=self._meter)
        there = allocated_bytes(kept_path(url, self._arriving_dir))
        require_free_bytes(self._arriving_dir, int(known.size) - there, redact(url))
        fetched = fetch(url, self._arriving_dir, keep=True, meter=self._meter)
        if fetched.found_bytes and fetched.sha256 != known.checksum:
            discard_part(fetched.path)
            self._meter.add(-fetched.size_bytes, -fetched.size_bytes, -fetched.found_bytes)
            fetched = fetch(url, self._arriving_dir, keep=True, meter=self._meter)
        return fetched

    def _register_or_validate_checksums(self, url: str, url_info: Any, path: Any) -> None:
        try:
            super()._register_or_validate_checksums(url=url, url_info=url_info, path=path)
        except download_manager.NonMatchingChecksumError as error:
            expected = self._url_infos[url]
            ours = (self._partial_dir, self._arriving_dir)
            where = "" if Path(path).parent in ours else f" (as {path})"
            raise VerificationError(
                f"{redact(url)}{where} is not what checksums.tsv records: sha256 "
                f"{url_info.checksum} of {int(url_info.size):,} bytes instead of "
                f"{expected.checksum} of {int(expected.size):,}",
                hint="fetch a good copy, then: dsmanager build NAME --manual-dir FOLDER",
            ) from error

    def _extract(self, resource: Any) -> Any:
        """What was unpacked of a download is used again; a manual archive is unpacked each time,
        because nothing tells that it has not changed.
        """
        if not isinstance(resource, resource_lib.Resource):
            resource = resource_lib.Resource(path=resource)
        method, path = _method(resource), Path(resource.path)
        if method == resource_lib.ExtractMethod.NO_EXTRACT:
            return promise.Promise.resolve(resource.path)
        ours = path.is_relative_to(self._download_dir) and self._manual_dir not in path.parents
        name = f"{method.name}.{path.name}"
        target = self._kept_folder(name) / name if ours else self._partial_dir / "manual" / name
        with self._extracting:
            if target not in self._extracted:
                if self._force_extraction or not target.exists():
                    _unpack(path, method, target, self._partial_dir)
                self._extracted[target] = target
        return promise.Promise.resolve(epath.Path(target))

    def _kept_folder(self, name: str) -> Path:
        """Where what is unpacked of a download stays; ``name`` is the tree's or the file's."""
        return Path(self._extract_dir)


_OF_ONE_FILE = (
    resource_lib.ExtractMethod.GZIP,
    resource_lib.ExtractMethod.BZIP2,
    OwnMethod.XZ,
)
_STREAMS = (resource_lib.ExtractMethod.TAR_STREAM, resource_lib.ExtractMethod.TAR_GZ_STREAM)
_TARS = (resource_lib.ExtractMethod.TAR, resource_lib.ExtractMethod.TAR_GZ, *_STREAMS)


class _Silent:
    """Takes the place of TFDS's downloader and extractor, whose bars are all that is called."""

    @contextmanager
    def tqdm(self) -> Iterator[None]:
        yield

    def increase_tqdm(self, url_info: Any) -> None:
        """A kept file needs no transfer, and counts as none."""


def _method(resource: Any) -> Any:
    """As TFDS tells by the name of the file that was fetched; it does not know xz."""
    method = resource.extract_method
    if method != resource_lib.ExtractMethod.NO_EXTRACT or resource._extract_method is not None:
        return method
    about = resource_lib.read_info_file(resource.path)
    name = about.get("original_fname") or resource.path.name
    if name.endswith((".tar.xz", ".txz")):
        return resource_lib.ExtractMethod.TAR
    return OwnMethod.XZ if name.endswith(".xz") else method


def _unpack(archive: Path, method: Any, target: Path, partial_dir: Path) -> None:
    """Unpacks file by file, and shows the whole tree (or the one file) at once."""
    staged = partial_dir / secrets.token_hex(8)
    partial_dir.mkdir(parents=True, exist_ok=True)
    if method not in _OF_ONE_FILE:
        staged.mkdir()
    for name, file in _members(archive, method):
        path = staged / name if name else staged
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as copy, _named(archive):
            shutil.copyfileobj(file, copy, 1 << 20)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        os.rename(target, partial_dir / secrets.token_hex(8))
    os.rename(staged, target)


def _members(path: Any, method: Any) -> Iterator[tuple[str, BinaryIO]]:
    """TFDS's walk through an archive: no absolute, climbing or hidden names, links by content."""
    with _named(path):
        if method is OwnMethod.XZ:
            with lzma.open(path) as file:
                yield "", cast(BinaryIO, file)
        elif method in _TARS:
            yield from files_of(path, is_stream=method in _STREAMS)
        else:
            yield from extractor.iter_archive(path, method)


@contextmanager
def _named(path: Any) -> Iterator[None]:
    """Whatever a broken archive raises leaves as one error that names it."""
    try:
        yield
    except FileExistsError:
        raise
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise VerificationError(
            f"{path} cannot be unpacked: {error or type(error).__name__}",
            hint="fetch a good copy, then: dsmanager build NAME --manual-dir FOLDER",
        ) from error
