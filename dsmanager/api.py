"""The Python API: the verbs of :class:`~dsmanager.library.library.Library` on the settings' places.

Every function takes a ref and the options of the method of its name; counters and cancel token too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.library.library import Library

if TYPE_CHECKING:
    from dsmanager.built import BuiltDataset
    from dsmanager.library.building import BuildResult
    from dsmanager.library.extraction import ExtractResult
    from dsmanager.library.opening import PublishResult
    from dsmanager.library.packaging import PackageResult
    from dsmanager.library.recording import RecordResult
    from dsmanager.library.transfer import DownloadResult, UploadResult
    from dsmanager.library.verification import VerifyResult
    from dsmanager.progress import CancelToken
    from dsmanager.syncing.apply import SyncResult
    from dsmanager.syncing.board import Board

__all__ = [
    "build",
    "download",
    "ensure",
    "extract",
    "from_directory",
    "load",
    "package",
    "publish",
    "record",
    "sync",
    "upload",
    "verify",
]


def load(ref: str, *, split: str | None = None, framework: str = "tf", **options: Any) -> Any:
    """Returns ``(info, ds)``: built here, else from the cache, else from the remote.

    ``info`` is TFDS's DatasetInfo; ``ds`` is a dict of splits, or the one ``split`` ("train",
    "train[:10%]"). Frameworks: ``tf`` (tf.data) and ``numpy``. Raises NotFoundError that says how
    to build a dataset that is nowhere.
    """
    return Library().load(ref, split=split, framework=framework, **options)


def from_directory(
    version_dir: str | os.PathLike[str], *, split: str | None = None, framework: str = "tf"
) -> Any:
    """Returns ``(info, ds)`` of one version folder, such as ``…/digit/1.0.8``."""
    from dsmanager.loading import load_directory
    from dsmanager.settings import Settings

    state_dir = Settings.load().state_dir
    return load_directory(Path(version_dir), split=split, framework=framework, state_dir=state_dir)


def build(ref: str, **options: Any) -> list[BuildResult]:
    """Builds a dataset; see :meth:`Library.build`."""
    return Library().build(ref, **options)


def package(ref: str, **options: Any) -> list[PackageResult]:
    """Packs what is built into one archive each; see :meth:`Library.package`."""
    return Library().package(ref, **options)


def verify(ref: str, **options: Any) -> list[VerifyResult]:
    """Reads bytes again; see :meth:`Library.verify`."""
    return Library().verify(ref, **options)


def record(ref: str, **options: Any) -> list[RecordResult]:
    """Writes cached archives into the manifest; see :meth:`Library.record`."""
    return Library().record(ref, **options)


def upload(ref: str, **options: Any) -> list[UploadResult]:
    """Sends cached archives to the remote; see :meth:`Library.upload`."""
    return Library().upload(ref, **options)


def download(ref: str, **options: Any) -> list[DownloadResult]:
    """Fetches archives into the cache; see :meth:`Library.download`."""
    return Library().download(ref, **options)


def extract(ref: str, **options: Any) -> list[ExtractResult]:
    """Unpacks cached archives; see :meth:`Library.extract`."""
    return Library().extract(ref, **options)


def ensure(ref: str, **options: Any) -> BuiltDataset:
    """Downloads, verifies and extracts unless it is built; see :meth:`Library.ensure`."""
    return Library().ensure(ref, **options)


def publish(ref: str, **options: Any) -> list[PublishResult]:
    """Packages, records, verifies and uploads; see :meth:`Library.publish`."""
    return Library().publish(ref, **options)


def sync(
    *refs: str,
    push: bool = False,
    verify: bool = False,
    delete: bool = False,
    extract: bool = True,
    prefer: str | None = None,
    jobs: int = 4,
    library: Library | None = None,
    board: Board | None = None,
    cancel: CancelToken | None = None,
) -> SyncResult:
    """Brings this machine to what the manifest records (``push``: the remote); without refs all.

    Every line with its outcome is in ``rows`` of the result, and what went wrong with single refs
    in its ``errors``: they are not raised. Nobody is asked before ``delete`` deletes.
    """
    from dsmanager.syncing.plan import Options
    from dsmanager.syncing.sync import sync as run

    options = Options(push, verify, delete, extract, prefer)
    places = library or Library()
    return run(places, refs, options, jobs=jobs, board=board, cancel=cancel)
