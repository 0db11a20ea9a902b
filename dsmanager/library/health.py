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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.errors import DsmanagerError, from_os_error
from dsmanager.files import free_bytes
from dsmanager.library import hazards
from dsmanager.remotes.weed import find_weed

if TYPE_CHECKING:
    from dsmanager.settings import Settings

__all__ = ["Finding", "examine"]

_LITTLE_SPACE_BYTES = 5 * 10**9
_LONG_AGO_DAYS = 30
_PACKAGES = ("tensorflow-datasets", "boto3", "textual", "typer", "isal", "zstandard", "numpy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``status`` is ok, note or failed; ``hint`` ends in the command that helps."""

    name: str
    status: str
    text: str
    hint: str | None = None


def examine(settings: Settings, *, read_only: bool = False) -> Iterator[Finding]:
    """Yields one finding after the other; a check that fails does not stop the next.

    Writes a probe to the data dir and, unless ``read_only``, one to the remote, and removes both.
    """
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _tarfile()
    yield from _packages()
    yield _folder("data dir", settings.data_dir)
    yield _folder("state dir", settings.state_dir)
    yield _space(settings.data_dir)
    yield _file_system(settings.data_dir)
    yield _file("settings", settings.config_file)
    yield _checked("manifest", lambda: _manifest(settings))
    for folder in settings.builders:
        yield _builders(folder)
    yield _guarded("verified", lambda: _verified(settings))
    yield _guarded("leftovers", lambda: _leftovers(settings))
    yield from _servers(settings)
    yield from _remote(settings, read_only)


def _tarfile() -> Finding:
    """No archive of ours goes through it; builders that unpack their sources may use it."""
    if holes := hazards.tarfile_holes():
        text = f"the standard library's has {', '.join(holes)}; dsmanager reads with its own"
        hint = "for builders that use it, install the newest patch release, then: dsmanager doctor"
        return Finding("tarfile", "note", text, hint)
    return Finding("tarfile", "ok", "no known holes in the standard library's; ours reads archives")


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


def _file_system(folder: Path) -> Finding:
    """Looks at the folder that exists, or at the nearest above it that does."""
    existing = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    kind = hazards.file_system(existing)
    said = kind or "of unknown type"
    try:
        if not hazards.locks_work(existing):
            text = f"{said}: locks do not work; two processes on one dataset can harm each other"
            return Finding("file system", "failed", text, "use another: --data-dir FOLDER")
        if hazards.ignores_case(existing):
            text = f"{said}: it takes A and a for one name; datasets that differ so cannot both be"
            return Finding("file system", "note", text, "use another: --data-dir FOLDER")
    except OSError as error:
        return Finding("file system", "note", f"{said}: {from_os_error(error, 'try it').message}")
    if hazards.is_network(kind):
        text = f"{said}, over the network: locks of other machines may not be seen here"
        hint = "let one machine at a time work on it, or use another: --data-dir FOLDER"
        return Finding("file system", "note", text, hint)
    return Finding("file system", "ok", f"{said}: locks work, names keep their case")


def _verified(settings: Settings) -> Finding:
    from dsmanager.library.places import LibraryPlaces
    from dsmanager.library.schedule import readings

    found = readings(LibraryPlaces(settings=settings))
    said = []
    if found.never:
        first = f", {found.never[0]} first of them" if len(found.never) > 1 else ""
        names = f"{len(found.never)}{first}" if len(found.never) > 1 else str(found.never[0])
        said.append(f"never read in full here: {names}")
    is_old = False
    if found.oldest is not None:
        ref, moment = found.oldest
        days = (datetime.now(UTC) - datetime.fromisoformat(moment)).days
        is_old = days > _LONG_AGO_DAYS
        said.append(f"longest ago: {ref} on {moment[:10]}")
    if found.never or is_old:
        hint = "read a seventh of all each day: dsmanager verify --all --subset 1/7"
        return Finding("verified", "note", "; ".join(said), hint)
    return Finding("verified", "ok", "; ".join(said) or "no archive is cached")


def _leftovers(settings: Settings) -> Finding:
    from dsmanager.library.collecting import plan_collection
    from dsmanager.library.garbage import Request
    from dsmanager.library.places import LibraryPlaces

    plan = plan_collection(LibraryPlaces(settings=settings), Request(use_remote=False))
    if not plan.garbage:
        return Finding("leftovers", "ok", "none")
    kinds = sorted({each.kind for each in plan.garbage})
    text = f"{len(plan.garbage)} ({', '.join(kinds)}), {plan.size_bytes:,} bytes"
    return Finding("leftovers", "note", text, "remove them: dsmanager gc")


def _checked(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", look())
    except DsmanagerError as error:
        return Finding(name, "failed", error.message, error.hint)


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
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


def _servers(settings: Settings) -> Iterator[Finding]:
    """The embedded servers that run without keeping other users of this machine out."""
    from dsmanager.remotes.guard import OPEN_PORTS, how_to_guard
    from dsmanager.remotes.server import statuses

    for each in statuses(state_dir=settings.state_dir):
        if each.running and not each.guarded:
            yield Finding("server", "note", f"{each.name}: {OPEN_PORTS}", how_to_guard(each.name))


def _remote(settings: Settings, read_only: bool) -> Iterator[Finding]:
    """What ``remote check`` finds, in three lines: that it works, its clock, what it cannot do."""
    from dsmanager.remotes.checks import LIMITS, check_remote
    from dsmanager.remotes.remote import Remote

    try:
        config = settings.current_remote()
    except DsmanagerError as error:
        yield Finding("remote", "failed", error.message, error.hint)
        return
    if config is None:
        yield Finding("remote", "ok", "none is chosen")
        return
    with Remote(config) as remote:
        steps = {step.name: step for step in check_remote(remote, read_only=read_only)}
    clock = steps.pop("clock", None)
    failed = [step for step in steps.values() if step.status == "failed"]
    for step in failed:
        text = f"{config.name} at {config.url}: {step.text}"
        yield Finding("remote", "failed", text, step.hint)
    if not failed:
        yield Finding("remote", "ok", f"{config.name} at {config.url}: {steps['list'].text}")
    if clock is not None:
        status = {"ok": "ok", "failed": "failed"}.get(clock.status, "note")
        yield Finding("clock", status, clock.text, clock.hint)
    for name in LIMITS:
        if name in steps and steps[name].status == "skipped":
            yield Finding("limit", "note", f"{name}: {steps[name].text}")
