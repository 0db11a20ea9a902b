"""The child's two verbs: describe a builder, and build with it. Runs TFDS and builder code."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dsmanager.building import beam, forks
from dsmanager.building.child import loader, seams
from dsmanager.building.child.checks import decode_first, require_room
from dsmanager.building.child.construction import code_of, construct, fingerprint, load
from dsmanager.building.child.partitions import Partitions
from dsmanager.building.child.provenance import provenance
from dsmanager.building.writing import pending
from dsmanager.building.writing.assembly import ShardWriters
from dsmanager.building.writing.file_bytes import ChangedFileError
from dsmanager.building.writing.record_maker import record_maker
from dsmanager.built import PROVENANCE
from dsmanager.errors import (
    DsmanagerError,
    UsageError,
    VerificationError,
)
from dsmanager.files import leftovers, remove_path, write_json
from dsmanager.progress import Progress
from dsmanager.refs import Ref

__all__ = ["build", "check_features", "describe", "forget_accesses", "require_examples"]


def describe(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What a builder says of itself, without its data."""
    cls = load(request, progress)
    from tensorflow_datasets.core.dataset_builder import canonical_version_for_config

    builder = construct(cls, None, request["stage"])
    configs = {config.name: config for config in reversed(cls.BUILDER_CONFIGS)}
    return {
        "name": cls.name,
        "default_config": builder.builder_config_name,
        "versions": {
            name: str(canonical_version_for_config(cls, config))
            for name, config in reversed(configs.items())
        }
        or {"": str(builder.version)},
        "code_sha256": code_of(cls),
        "description": builder.info.description,
        "homepage": next(iter(builder.info.as_proto.location.urls), ""),
        "citation": builder.info.citation,
        "license": builder.info.redistribution_info.license,
        "manual_instructions": cls.MANUAL_DOWNLOAD_INSTRUCTIONS or "",
    }


def build(
    request: dict[str, Any], progress: Progress, when_loaded: Callable[[], None]
) -> dict[str, Any]:
    """Builds one config below ``request["stage"]``; nothing else but the downloads is written.

    The result says what was built, or, under "changed", which file that was to be read late did not
    hold what it should. ``when_loaded`` may start the first thread: before it this process forks.
    """
    earlier = request["earlier"]
    if earlier is not None:
        sys.stderr.write(f"{earlier['problem']}; now nothing is left to be read later\n")
    cls = load(request, progress)
    builder = construct(cls, request["config"], request["stage"])
    check_features(builder)
    workers = request["workers"] or request["cpus"]
    is_parted = _has_partitions(request, builder)
    pending.use_threads(workers)
    with (
        _partitions(request, builder, cls, is_parted, progress) as partitions,
        ShardWriters(
            workers=workers,
            progress=progress,
            dataset=Path(builder.data_dir),
            is_proven_later=request["verify"],
            earlier_counts=earlier["counts"] if earlier is not None else None,
        ) as shards,
        record_maker(
            builder.info.features, workers=1 if is_parted else workers, progress=progress
        ) as maker,
    ):
        when_loaded()
        seams.use_writer(progress, shards, partitions, defer_files=earlier is None, maker=maker)
        beam.use_options(request["beam_options"], request["max_examples"])  # may refuse the writer
        try:
            result = _build(request, builder, cls, progress, shards)
        except ChangedFileError as error:
            result = {"changed": error.message}
        return result | {
            "kept": str(partitions.folder),
            "counts": shards.counts,
            "has_unproven": shards.has_unproven,
        }


def _partitions(
    request: dict[str, Any], builder: Any, cls: Any, has_some: bool, progress: Progress
) -> Partitions:
    """Finished partitions lie where one built from the same code and config will find them."""
    ref = Ref(builder.name, builder.builder_config_name, str(builder.version))
    made_by = fingerprint(builder, cls)
    token = hashlib.sha256(made_by.encode()).hexdigest()[:8]
    final = Path(request["download_dir"]) / f"{ref.stem}.parts"
    folder = final.with_name(f".{final.name}.{token}.tmp")
    for path in leftovers(final):
        if path != folder or request["fresh_downloads"]:
            remove_path(path)
    file = request["file"]
    if request["origin"] == "catalogue":  # which may lie elsewhere on another machine
        file = str(Path(file).relative_to(loader.CODE))
    return Partitions(
        builder,
        {
            "origin": request["origin"],
            "name": request["name"],
            "file": file,
            "config": request["config"],
            "made_by": made_by,
        },
        folder,
        workers=request["workers"] if has_some else 1,
        cluster=request["cluster"],
        progress=progress,
    )


def _has_partitions(request: dict[str, Any], builder: Any) -> bool:
    """Whether the build runs in partitions. Raises UsageError when a cluster has nothing to do."""
    from dsmanager.builders.partitioned import PartitionedBuilder

    why_not = None
    if not isinstance(builder, PartitionedBuilder):
        why_not = f"{builder.name} has no partitions, and runs in one process"
    elif builder.info.disable_shuffling:
        why_not = f"{builder.name} keeps the order of its examples, and runs in one process"
    elif request["max_examples"] is not None:
        why_not = "the first examples of a split are made one after the other, in one process"
    if why_not is not None and request["cluster"] is not None:
        raise UsageError(
            f"no use for a cluster: {why_not}",
            hint="leave it out: dsmanager build NAME",
        )
    return why_not is None


def _build(
    request: dict[str, Any], builder: Any, cls: Any, progress: Progress, shards: ShardWriters
) -> dict[str, Any]:
    downloads: list[Any] = []

    def make_downloads(**_: Any) -> Any:
        from dsmanager.building.child.downloads import Downloads

        downloads.append(_downloads(Downloads, builder, request, progress))
        return downloads[0]

    builder._make_download_manager = make_downloads
    forks.guard(builder)
    forget_accesses(builder.info)
    require_room(Path(request["stage"]), builder.info)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            try_download_gcs=False, max_examples_per_split=request["max_examples"]
        ),
        file_format=request["file_format"],
    )
    require_examples(builder.info.splits)
    manager = downloads[0]
    tree = Path(builder.data_dir)
    about = provenance(builder, code_of(cls), manager.sources, tfds.__version__)
    if request["max_examples"] is not None:
        about["max_examples"] = request["max_examples"]
    write_json(tree / PROVENANCE, about)
    if request["verify"]:
        decode_first(tree, builder.info, progress, skip_damaged=shards.has_unproven)
    manager.drop_unused(request["old_urls"])
    default = builder.get_default_builder_config()
    return {
        "name": builder.name,
        "config": builder.builder_config_name,
        "version": str(builder.version),
        "tree": str(tree),
        "default_config": default.name if default is not None else None,
        "download_bytes": int(manager.downloaded_size),
    }


def check_features(builder: Any) -> None:
    """Nothing is built that could not be loaded again."""
    from google.protobuf import json_format  # type: ignore[import-untyped]

    from dsmanager.loading import safety

    if builder.info.features is None:
        raise DsmanagerError(f"the builder of {builder.name} names no features")
    proto = builder.info.features.to_proto()
    try:
        safety.check_features(json.loads(json_format.MessageToJson(proto)))
    except VerificationError as error:
        raise DsmanagerError(
            f"what {builder.name} builds could not be loaded: {error.message}",
            hint="use features of tensorflow_datasets only; see docs/builders.md",
        ) from error


def _downloads(kind: Any, builder: Any, request: dict[str, Any], progress: Progress) -> Any:
    download_dir = Path(request["download_dir"])
    register = _checksums_file(builder) if request["register_checksums"] else None
    return kind(
        partial_dir=Path(request["partial_dir"]),
        arriving_dir=Path(request["arriving_dir"]),
        progress=progress,
        download_dir=download_dir,
        manual_dir=request["manual_dir"] or download_dir / "manual",
        manual_dir_instructions=builder.MANUAL_DOWNLOAD_INSTRUCTIONS,
        url_infos=builder.url_infos,
        dataset_name=builder.name,
        force_download=request["fresh_downloads"],
        force_extraction=request["fresh_extraction"],
        register_checksums=register is not None,
        register_checksums_path=register,
    )


def _checksums_file(builder: Any) -> Path:
    """Where ``--register-checksums`` writes. Raises UsageError where that cannot be."""
    path = Path(builder._checksums_path)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(
            f"checksums cannot be registered: {path} cannot be written",
            hint="copy the builder to a folder of yours, then: dsmanager build --path FOLDER",
        )
    path.touch()
    return path


def forget_accesses(info: Any) -> None:
    """TFDS would record when and at which path each source was read: not part of the data."""
    for name in ("add_file_data_source_access", "add_url_access", "add_sql_data_source_access"):
        setattr(info, name, lambda *_, **__: None)
    if hasattr(info, "add_tfds_data_source_access"):
        info.add_tfds_data_source_access = lambda *_, **__: None


def require_examples(splits: Any) -> None:
    empty = [name for name, split in splits.items() if not split.num_examples]
    if empty or not splits:
        raise DsmanagerError(
            f"split {empty[0]}: no examples" if empty else "the builder made no splits",
            hint="check what the builder reads, for example its --manual-dir",
        )
