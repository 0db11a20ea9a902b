"""Opens a version folder as TFDS's DatasetInfo, after the checks of :mod:`.safety`.

Owns the order: checks first, then TFDS. Nothing else in dsmanager calls
``tfds.builder_from_directory``. Never imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.built import DATASET_INFO, FEATURES, BuiltDataset
from dsmanager.errors import DsmanagerError, NotFoundError, VerificationError
from dsmanager.loading import confined_imports, without_tensorflow
from dsmanager.loading.safety import check_dataset_info, check_features, check_folder
from dsmanager.refs import Ref
from dsmanager.text import plain

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["checked", "open_builder", "open_info"]


def open_info(version_dir: Path) -> tfds.core.DatasetInfo:
    """The DatasetInfo of a built version folder.

    Raises NotFoundError when there is none, VerificationError when it is damaged or not safe.
    """
    return open_builder(checked(version_dir)).info


def checked(version_dir: Path, elsewhere: Mapping[str, int] | None = None) -> BuiltDataset:
    """The folder, once it has passed every check: complete, and safe to hand to TFDS.

    ``elsewhere`` has the sizes in bytes of shards that are not in the folder, by name. Raises
    NotFoundError or VerificationError.
    """
    version_dir = version_dir.absolute()
    if not (version_dir / DATASET_INFO).exists():
        raise NotFoundError(
            f"{version_dir} is no built dataset: it has no {DATASET_INFO}",
            hint="name a version folder, such as DATA_DIR/digit/1.0.8; see: dsmanager list",
        )
    unnamed = BuiltDataset(Ref(version_dir.name), version_dir)
    info = unnamed.dataset_info
    check_folder(version_dir)
    check_dataset_info(info, DATASET_INFO)
    check_features(unnamed.features, FEATURES)
    built = BuiltDataset(_ref(info), version_dir)
    built.require_complete(elsewhere)
    return built


def open_builder(built: BuiltDataset) -> Any:
    """TFDS's read-only builder of a folder that :func:`checked` has returned."""
    confined_imports.install()
    import tensorflow_datasets as tfds

    without_tensorflow.install()
    try:
        builder = tfds.builder_from_directory(str(built.path))
    except ImportError as error:
        raise DsmanagerError(
            f"opening {built.ref} needs another package: {_one_line(error)}",
            hint="install it with: pip install 'dsmanager[tf]'",
            ref=str(built.ref),
        ) from error
    except Exception as error:
        raise VerificationError(
            f"TFDS cannot open {built.ref} at {built.path}: {_one_line(error)}",
            hint=f"build it again: dsmanager build {built.ref} --clean",
            ref=str(built.ref),
        ) from error
    return builder


def _ref(info: dict[str, Any]) -> Ref:
    config = f"/{info['configName']}" if info.get("configName") else ""
    try:
        return Ref.parse(f"{info['name']}{config}:{info.get('version')}")
    except DsmanagerError as error:
        raise VerificationError(f"{DATASET_INFO} names no dataset: {error.message}") from error


def _one_line(error: BaseException) -> str:
    return plain(" ".join(str(error).split())[:300]) or type(error).__name__
