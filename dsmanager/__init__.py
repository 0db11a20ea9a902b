"""dsmanager: owns the life of a machine-learning dataset.

    import dsmanager
    info, ds = dsmanager.load("digit", framework="numpy")

Every verb takes the ref first, ``name[/config][:version]``, and works in the data dir, manifest and
remote of the settings; :class:`Library` does the same with explicit places. Importing this package
imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsmanager.api import (
        build,
        download,
        ensure,
        extract,
        from_directory,
        load,
        package,
        publish,
        record,
        sync,
        upload,
        verify,
    )
    from dsmanager.errors import DsmanagerError
    from dsmanager.library.library import Library
    from dsmanager.library.tar_dataset import AisDataset, TarDataset, default_record_parser

__all__ = [
    "AisDataset",
    "DsmanagerError",
    "Library",
    "TarDataset",
    "build",
    "default_record_parser",
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

_ELSEWHERE = {
    "AisDataset": "dsmanager.library.tar_dataset",
    "TarDataset": "dsmanager.library.tar_dataset",
    "default_record_parser": "dsmanager.library.tar_dataset",
    "DsmanagerError": "dsmanager.errors",
    "Library": "dsmanager.library.library",
}


def __getattr__(name: str) -> Any:
    """Finds a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'dsmanager' has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "dsmanager.api")), name)


def __dir__() -> list[str]:
    return __all__
