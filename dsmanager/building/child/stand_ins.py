"""The ``dl_manager`` of a trial: it fetches nothing, and notes what would have been fetched.

What is kept in the download folder or lies in the manual folder is used and checked as in a build.
Of anything else, what ``dummy_data`` beside the builder holds under the same name stands in; else
``dummy_data`` as a whole, as in TFDS's own tests; else a path at which nothing is.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from etils import epath
from tensorflow_datasets.core.download import resource as resource_lib
from tensorflow_datasets.core.utils.lazy_imports_utils import promise

from dsmanager.building.child.downloads import Downloads, ManualFolderError
from dsmanager.errors import NotFoundError
from dsmanager.progress import Progress
from dsmanager.text import redact

__all__ = ["Sources"]

_MANUAL = "what the manual folder should hold"


class Sources:
    """Where a trial's sources come from, and which were asked for."""

    def __init__(self, builder: Any, request: dict[str, Any], progress: Progress) -> None:
        folder = Path(request["file"]).parent / "dummy_data"
        self.dummy_data = folder if folder.is_dir() else None
        self.urls: list[str] = []
        """All that the builder wants to be fetched."""
        self.absent: list[str] = []
        """Those that nothing certain stands for: how the trial ends says little then."""
        self.used_manual_dir = False
        self._builder, self._request, self._progress = builder, request, progress

    def manager(self, **_: Any) -> Any:
        """In place of ``DatasetBuilder._make_download_manager``."""
        request, builder = self._request, self._builder
        download_dir, stage = Path(request["download_dir"]), Path(request["stage"])
        kept = download_dir if download_dir.is_dir() else stage / "downloads"
        return _Rehearsed(
            self,
            partial_dir=stage / "sources",
            arriving_dir=stage / "sources",
            extract_dir=stage / "sources",
            progress=self._progress,
            download_dir=kept,
            manual_dir=request["manual_dir"] or download_dir / "manual",
            manual_dir_instructions=builder.MANUAL_DOWNLOAD_INSTRUCTIONS,
            url_infos=builder.url_infos,
            dataset_name=builder.name,
        )


class _Rehearsed(Downloads):
    def __init__(self, sources: Sources, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sources = sources

    @property
    def manual_dir(self) -> Any:
        self._sources.used_manual_dir = True
        try:
            return super().manual_dir
        except ManualFolderError:
            self._note(_MANUAL)
            if self._sources.dummy_data is None:
                raise
            return epath.Path(self._sources.dummy_data)

    def download_kaggle_data(self, competition_or_dataset: str) -> Any:
        self._note(competition_or_dataset)
        raise NotFoundError(f"Kaggle's {competition_or_dataset} is not fetched for a trial")

    def _download_or_get_cache(self, resource: Any) -> Any:
        url = resource.url if isinstance(resource, resource_lib.Resource) else resource
        if url not in self._sources.urls:
            self._sources.urls.append(url)
        return super()._download_or_get_cache(resource)

    def _download(self, resource: Any) -> Any:
        return promise.Promise.resolve(epath.Path(self._in_place_of(resource.url)))

    def _in_place_of(self, url: str) -> Path:
        known = self._url_infos.get(url)
        own = PurePosixPath(urlsplit(url).path).name
        names: list[str | None] = [known.filename if known is not None else None, own]
        dummies = self._sources.dummy_data
        for name in names:
            if dummies is not None and name and (dummies / name).exists():
                return dummies / name
        self._note(redact(url))
        return dummies or self._partial_dir / "absent" / (own or "file")

    def _note(self, what: str) -> None:
        if what not in self._sources.absent:
            self._sources.absent.append(what)

    def _extract(self, resource: Any) -> Any:
        path = resource.path if isinstance(resource, resource_lib.Resource) else resource
        if not Path(path).is_file():  # it stands for something that is not here
            return promise.Promise.resolve(epath.Path(path))
        return super()._extract(resource)

    def _kept_folder(self, name: str) -> Path:
        """What a build has unpacked is used; nothing is added to it."""
        kept = Path(self._download_dir) / "extracted"
        return kept if (kept / name).exists() else super()._kept_folder(name)
