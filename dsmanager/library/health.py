"""What ``doctor`` looks at: whether this machine can do what dsmanager needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.errors import DsmanagerError
from dsmanager.files import free_bytes
from dsmanager.remotes.weed import find_weed

if TYPE_CHECKING:
    from dsmanager.settings import Settings

__all__ = ["Finding", "examine"]

_LITTLE_SPACE_BYTES = 5 * 10**9
_PACKAGES = ("tensorflow-datasets", "boto3", "textual", "typer", "isal", "zstandard", "numpy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``status`` is ok, note or failed; ``hint`` ends in the command that helps."""

    name: str
    status: str
    text: str
    hint: str | None = None


def examine(settings: Settings) -> Iterator[Finding]:
    """Yields one finding after the other; a check that fails does not stop the next."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield from _packages()
    yield _folder("data dir", settings.data_dir)
    yield _folder("state dir", settings.state_dir)
    yield _space(settings.data_dir)
    yield _file("settings", settings.config_file)
    yield _checked("manifest", lambda: _manifest(settings))
    for folder in settings.builders:
        yield _builders(folder)
    yield _checked("remote", lambda: _remote(settings))


def _packages() -> Iterator[Finding]:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            hint = "install it: pip install dsmanager"
            yield Finding("packages", "failed", f"{package} is not installed", hint)
    yield Finding("packages", "ok", ", ".join(versions))
    if importlib.util.find_spec("tensorflow") is not None:
        yield Finding("tensorflow", "ok", "installed")
    else:
        text = 'not installed; only load(framework="tf") needs it'
        yield Finding("tensorflow", "note", text, "install it: pip install 'dsmanager[tf]'")
    try:
        yield Finding("s3-server", "ok", str(find_weed()))
    except DsmanagerError as error:
        yield Finding("s3-server", "note", error.message, error.hint)


def _folder(name: str, folder: Path) -> Finding:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return Finding(
            name, "failed", f"{existing} is not a folder", "use another: --data-dir FOLDER"
        )
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        text = f"{existing} cannot be written: {os.strerror(error.errno or 0)}"
        return Finding(name, "failed", text, "use another: --data-dir FOLDER")
    said = str(folder) if folder.exists() else f"{folder} (made when it is needed)"
    return Finding(name, "ok", said)


def _space(folder: Path) -> Finding:
    available = free_bytes(folder)
    status = "ok" if available >= _LITTLE_SPACE_BYTES else "note"
    return Finding("space", status, f"{available / 1e9:.1f} GB are free for {folder}")


def _file(name: str, path: Path) -> Finding:
    return Finding(name, "ok", str(path) if path.exists() else f"{path} (none)")


def _builders(folder: Path) -> Finding:
    if folder.is_dir():
        return Finding("builders", "ok", str(folder))
    return Finding("builders", "failed", f"{folder} is not a folder", "mend: dsmanager config")


def _checked(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", look())
    except DsmanagerError as error:
        return Finding(name, "failed", error.message, error.hint)


def _manifest(settings: Settings) -> str:
    from dsmanager.manifest import read_manifest

    path = settings.manifest_path
    manifest = read_manifest(path)
    if not path.exists():
        return f"{path} (none yet)"
    kind = "Armory's format, " if manifest.is_armory else ""
    return f"{path} ({kind}{len(manifest.entries)} entries)"


def _remote(settings: Settings) -> str:
    from dsmanager.remotes.remote import Remote

    config = settings.current_remote()
    if config is None:
        return "none is chosen"
    with Remote(config) as remote:
        count = len(remote.list())
    return f"{config.name} at {config.url}: {count} objects"
