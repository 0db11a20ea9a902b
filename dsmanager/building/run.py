"""Describing and building, as the rest of dsmanager asks for it. Never imports TFDS.

The caller holds the ref's lock, makes the stage and moves the finished tree into place; a build
writes below the stage and the download folder only.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmanager.building.attempts import made, run_attempts
from dsmanager.building.options import FORMATS, BuildOptions
from dsmanager.building.process import run_child
from dsmanager.catalog.find import BuilderSource
from dsmanager.cpus import available_cpus
from dsmanager.errors import os_errors
from dsmanager.files import final_name_of, make_folders, remove_path
from dsmanager.locks import is_alive
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

__all__ = [
    "BuilderDescription",
    "StagedBuild",
    "build",
    "describe",
    "scratch_folder",
]


@dataclass(frozen=True, slots=True)
class BuilderDescription:
    """What a builder says of itself. ``versions`` is by config, or under "" when it has none."""

    name: str
    default_config: str | None
    versions: Mapping[str, str]
    code_sha256: str
    description: str
    homepage: str
    citation: str
    license: str
    manual_instructions: str

    @property
    def configs(self) -> tuple[str, ...]:
        return tuple(config for config in self.versions if config)

    @property
    def version(self) -> str:
        """The version of the default config."""
        return self.versions[self.default_config or ""]

    def ref(self, config: str | None = None) -> Ref:
        """What a build of ``config`` (None: the default one) makes. KeyError for an unknown one."""
        config = config or self.default_config
        return Ref(self.name, config, self.versions[config or ""])


@dataclass(frozen=True, slots=True)
class StagedBuild:
    """A finished build, not yet in place."""

    ref: Ref
    tree: Path
    """The version folder, inside the stage."""
    default_config: str | None
    """What ``<name>/.config/metadata.json`` names; None without configs."""
    download_bytes: int
    data_dir: Path
    partitions: Path
    """The finished ones that it was made from, if any."""

    def remove_partitions(self) -> None:
        """They are of no more use. It takes a while, in which the tree may move into place."""
        with suppress(OSError):  # gc finds what is left
            remove_path(self.partitions)
        if self.partitions.parent.parent == self.data_dir:
            with suppress(OSError):  # it holds something, or an interrupted build did not make it
                self.partitions.parent.rmdir()


def describe(
    source: BuilderSource, *, cancel: CancelToken, log_path: Path | None = None
) -> BuilderDescription:
    """Asks a builder for name, version and configs, in a child process.

    Raises what the builder's code led to, as one line.
    """
    with scratch_folder(log_path) as folder:
        request = _request("describe", source, folder)
        result = run_child(
            request,
            scratch=folder,
            log_path=log_path or folder / "log.txt",
            progress=Progress(),
            cancel=cancel,
        )
    return BuilderDescription(**result)


def build(
    source: BuilderSource,
    *,
    config: str | None,
    options: BuildOptions,
    data_dir: Path,
    stage: Path,
    old_urls: Sequence[str] = (),
    log_path: Path,
    progress: Progress,
    cancel: CancelToken,
) -> StagedBuild:
    """Builds one config into ``stage``, in a child process, and reads it back unless told not to.

    The download folder is ``<data_dir>/downloads`` where ``options`` name no other; with
    ``options.clean`` what is kept there of ``old_urls`` and not fetched again goes in the end.

    Raises what the builder's code led to, as one line with the log's path in the hint; UsageError
    for options that are impossible, TemporaryError for a source that cannot be reached,
    VerificationError for one that is not what its checksum says.
    """
    options.require_possible()
    download_dir = (options.download_dir or data_dir / "downloads").absolute()
    manual_dir = options.manual_dir
    stage = stage.absolute()
    new_folders = make_folders(download_dir)
    partial_dir = _partial_folder(download_dir / Ref(source.name, config).stem, stage)
    arriving_dir = partial_dir / "arriving"
    _clear(partial_dir, but=None if options.clean else arriving_dir)
    request = _request("build", source, stage) | {
        "config": config,
        "download_dir": str(download_dir),
        "partial_dir": str(partial_dir),
        "arriving_dir": str(arriving_dir),
        "manual_dir": str(manual_dir.absolute()) if manual_dir is not None else None,
        "fresh_downloads": options.clean,
        "fresh_extraction": options.clean,
        "old_urls": list(old_urls),
        "register_checksums": options.register_checksums,
        "max_examples": options.max_examples,
        "workers": options.workers or (available_cpus() if options.cluster is None else None),
        "cpus": available_cpus(),
        "cluster": options.cluster,
        "beam_options": list(options.beam_options),
        "verify": options.verify,
        "file_format": options.file_format or FORMATS[0],
    }
    try:
        result = run_attempts(
            request, stage=stage, log_path=log_path, progress=progress, cancel=cancel
        )
        _clear(partial_dir)
    finally:
        _clear(partial_dir, but=arriving_dir)
        for folder in (download_dir / "extracted", *reversed(new_folders)):
            with suppress(OSError):  # it holds something, or never was
                folder.rmdir()
    built = made(result)
    return StagedBuild(
        built.ref,
        built.path,
        result["default_config"],
        result["download_bytes"],
        data_dir.absolute(),
        Path(result["kept"]),
    )


def _partial_folder(unfinished: Path, stage: Path) -> Path:
    """Where what is not whole lies; each folder that builds are staged for has its own.

    Whoever holds its lock finds what an interrupted build has left, and nobody else's.
    """
    final = stage.with_name(final_name_of(stage.name) or stage.name)
    token = hashlib.sha256(os.fsencode(final)).hexdigest()[:8]
    return unfinished.with_name(f".{unfinished.name}.{token}.tmp")


def _clear(folder: Path, but: Path | None = None) -> None:
    """Removes a folder, save ``but`` in it where that holds something."""
    with suppress(OSError):  # there may be none
        for path in folder.iterdir():
            if path != but:
                remove_path(path)
        if but is not None:
            but.rmdir()
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def scratch_folder(log_path: Path | None) -> Iterator[Path]:
    """A working folder for a child that builds nothing; removes those that killed processes left.

    It lies beside the log and carries the number of this process.
    """
    if log_path is None:
        with tempfile.TemporaryDirectory(prefix="dsmanager-") as name:
            yield Path(name)
        return
    with os_errors("make a working folder"):
        log_path.parent.mkdir(parents=True, exist_ok=True)
        for path in log_path.parent.glob(".scratch.*.tmp"):
            pid = path.name.split(".")[2]
            if not (pid.isdigit() and is_alive(int(pid))):
                remove_path(path)
        folder = Path(
            tempfile.mkdtemp(dir=log_path.parent, prefix=f".scratch.{os.getpid()}.", suffix=".tmp")
        )
    try:
        yield folder
    finally:
        remove_path(folder)


def _request(verb: str, source: BuilderSource, stage: Path) -> dict[str, Any]:
    return {
        "verb": verb,
        "origin": source.origin,
        "name": source.name,
        "file": str(source.file) if source.file is not None else None,
        "stage": str(stage),
    }
