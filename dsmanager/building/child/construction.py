"""From what a request says to a builder that can be used; and what it is made from.

In the process that builds, and in every one that makes partitions for it.
"""

from __future__ import annotations

import builtins
import difflib
import getpass
import json
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dsmanager.building import forks
from dsmanager.building.child import loader, seams
from dsmanager.building.child.provenance import code_sha256
from dsmanager.errors import DsmanagerError, NotFoundError
from dsmanager.progress import Progress
from dsmanager.refs import Ref
from dsmanager.text import plain

__all__ = ["code_of", "construct", "fingerprint", "load", "make", "rebuilt", "refuse_answers"]

_FORM = 3  # of the files of a partition


def refuse_answers() -> None:
    """Whatever asks on the terminal from now on is told that nobody is there."""
    builtins.input = getpass.getpass = _refuse


def _refuse(prompt: object = "", *_: object, **__: object) -> str:
    said = f"the builder asks for an answer, and nobody is there: {prompt}"
    raise DsmanagerError(said.rstrip(": "))


def load(request: dict[str, Any], progress: Progress) -> Any:
    """The builder's class, with our parts in TFDS."""
    seams.install(progress)
    file = loader.CODE / request["file"] if request["file"] else None
    with forks.one_process():
        return loader.load_class(request["origin"], request["name"], file)


def construct(cls: Any, config: str | None, stage: str) -> Any:
    """The builder of ``config`` (None: the default one). Raises NotFoundError with near names."""
    configs = [each.name for each in cls.BUILDER_CONFIGS]
    if config is not None and config not in configs:
        near = difflib.get_close_matches(config, configs, n=3) or configs[:5]
        known = f"has {', '.join(near)}" if configs else "has no configs"
        raise NotFoundError(
            f"{cls.name} has no config {plain(config)!r}; it {known}",
            hint=f"dsmanager build NAME{'/' + near[0] if near else ''}",
        )
    return make(cls, config, stage)


def make(cls: Any, config: str | None, stage: str) -> Any:
    """A builder and its ``info``, which TFDS makes when it is first used."""
    with forks.one_process():
        builder = cls(data_dir=stage, config=config)
        builder.info  # noqa: B018 - so that the builder's own code has run
    return builder


def rebuilt(setup: dict[str, Any], progress: Progress) -> Any:
    """The builder of ``setup``, ready to make partitions; it writes nothing to their folder.

    Raises DsmanagerError when it cannot be the one that the build began with.
    """
    refuse_answers()
    if setup["file"] is not None and not (loader.CODE / setup["file"]).is_file():
        raise DsmanagerError(
            f"the builder's file cannot be seen: {setup['file']}",
            hint="put it on storage that all workers share, then: dsmanager build --path FILE",
        )
    cls = load(setup, progress)
    builder = construct(cls, setup["config"], setup["folder"])
    if fingerprint(builder, cls) != setup["made_by"]:
        raise DsmanagerError(
            f"the builder of {cls.name} is another one than where the build began",
            hint="install the same dsmanager, tensorflow-datasets and builder on all machines",
        )
    return builder


def fingerprint(builder: Any, cls: Any) -> str:
    """What a partition's bytes depend on besides its description."""
    ref = Ref(builder.name, builder.builder_config_name, str(builder.version))
    return json.dumps([code_of(cls), str(ref), tfds.__version__, _FORM])


def code_of(cls: Any) -> str:
    """The sha256 of the builder's code and of its checksums."""
    checksums = cls._checksums_path
    known = Path(checksums) if checksums is not None and checksums.exists() else None
    return code_sha256(Path(cls.code_path), cls.name, known)
