"""Archives in S3 stores: the client, transfers, the check of a remote, and the embedded server.

Importing this package is cheap; botocore loads when a :class:`Remote` first talks to its server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsmanager.remotes.checks import CheckStep
    from dsmanager.remotes.remote import Remote, RemoteObject

__all__ = ["CheckStep", "Remote", "RemoteObject"]

_HOMES = {"Remote": "remote", "RemoteObject": "objects", "CheckStep": "checks"}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
