"""Building into the library: find the builder, run it in its child, move the result into place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from dsmanager import files
from dsmanager.building.options import BuildOptions
from dsmanager.building.run import BuilderDescription, StagedBuild, describe
from dsmanager.building.run import build as run_builder
from dsmanager.built import BuiltDataset
from dsmanager.catalog.find import BuilderSource, find_builder, hints_reach
from dsmanager.errors import AlreadyExistsError, DsmanagerError, NotFoundError
from dsmanager.library.extraction import keep_config_metadata
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref, RefPattern

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["BuildPlan", "BuildResult", "build", "plan_build"]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A builder that was found and asked, and the refs that were requested of it."""

    source: BuilderSource
    description: BuilderDescription
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """``was_built`` says that it was there already and nothing was done."""

    ref: Ref
    path: Path
    size_bytes: int
    examples: int
    splits: dict[str, int]
    log: Path | None
    was_built: bool


def plan_build(
    library: LibraryPlaces,
    request: str,
    *,
    path: Path | None,
    config: str | None,
    cancel: CancelToken,
) -> BuildPlan:
    """Finds the builder that ``request`` names and asks it, in a child, what it makes.

    Without a config the default one is meant; globs mean all that match. Raises NotFoundError for
    an unknown name, config or version.
    """
    forced_tfds = request.startswith("tfds:")
    pattern = RefPattern.parse(request.removeprefix("tfds:"))
    name = f"tfds:{pattern.name}" if forced_tfds else pattern.name
    source = find_builder(name, folders=library.settings.builders, path=path)
    with hints_reach(source):
        log = _log_path(library, f"describe-{source.name}")
        description = describe(source, log_path=log, cancel=cancel)
        log.unlink(missing_ok=True)  # of interest when it failed
        made = [description.ref(each) for each in _configs(description, pattern.config or config)]
        refs = tuple(ref for ref in made if pattern.version in (None, ref.version))
        if not refs:
            raise NotFoundError(
                f"this builder makes {', '.join(map(str, made))}, not version {pattern.version}",
                hint=f"build what it makes: dsmanager build {made[0]}",
                ref=request,
            )
        return BuildPlan(source, description, refs)


def _configs(description: BuilderDescription, wanted: str | None) -> Sequence[str | None]:
    """The configs that are meant; None is the default one, or the only build of a builder."""
    if wanted is None or (wanted == "*" and not description.configs):
        return [None]
    if not description.configs:
        raise NotFoundError(
            f"{description.name} has no configs",
            hint=f"build it: dsmanager build {description.name}",
        )
    pattern = RefPattern(description.name, wanted)
    found = [each for each in description.configs if pattern.matches(Ref(description.name, each))]
    if not found:
        raise NotFoundError(
            f"{description.name} has no config {wanted}; it has {', '.join(description.configs)}",
            hint=f"build one: dsmanager build {description.name}/{description.configs[0]}",
        )
    return found


def build(
    library: LibraryPlaces,
    plan: BuildPlan,
    ref: Ref,
    *,
    options: BuildOptions,
    progress: Progress,
    cancel: CancelToken,
) -> BuildResult:
    """Builds ``ref`` and makes it visible when it is whole.

    What is built and complete already stays, unless ``options.clean``: then everything is
    downloaded and built afresh, and the earlier build stays until the new one takes its place. A
    build that was cut short by ``options.max_examples`` counts only for the same number.
    """
    final = library.version_folder(ref)
    download_dir = options.download_dir or library.settings.download_dir
    options = replace(options, download_dir=download_dir)

    def is_done() -> bool:
        if options.clean or options.register_checksums or not _is_built(ref, final):
            return False
        earlier = BuiltDataset(ref, final)
        return earlier.provenance.get("max_examples") == options.max_examples

    with hints_reach(plan.source):
        if is_done() and not files.leftovers(final):
            return _kept(BuiltDataset(ref, final), options.file_format)
        with library.locked(ref, "build", progress, cancel):
            files.remove_leftovers(final)
            if is_done():  # by the process that this one waited for
                return _kept(BuiltDataset(ref, final), options.file_format)
            earlier = BuiltDataset(ref, final)
            if _is_built(ref, final):
                what = f"a second copy of {ref}, beside the one that it replaces,"
                files.require_free_bytes(final, earlier.size_bytes, what)
            log = _log_path(library, f"build-{ref.stem}")
            with files.staged_folder(final) as stage:
                staged = run_builder(
                    plan.source,
                    config=ref.config,
                    options=options,
                    data_dir=library.data_dir,
                    stage=stage,
                    old_urls=_urls(earlier) if options.clean else (),
                    log_path=log,
                    progress=progress,
                    cancel=cancel,
                )
                cancel.check()
                if staged.default_config is not None:
                    keep_config_metadata(library.data_dir / ref.name, staged.default_config)
                _move_into_place(staged, final)
            return replace(_result(BuiltDataset(ref, final), log), was_built=False)


def _move_into_place(staged: StagedBuild, final: Path) -> None:
    """Flushes it, and removes what it was made from meanwhile."""
    removal = Thread(target=staged.remove_partitions)
    removal.start()
    try:
        files.move_tree_into_place(staged.tree, final)
    finally:
        removal.join()


def _kept(built: BuiltDataset, file_format: str | None) -> BuildResult:
    """What is there already. Raises AlreadyExistsError when another format was asked for."""
    if file_format not in (None, built.file_format):
        raise AlreadyExistsError(
            f"{built.ref} is built as {built.file_format} already",
            hint=f"replace it: dsmanager build {built.ref} --format {file_format} --clean",
            ref=str(built.ref),
        )
    return _result(built, None, was_built=True)


def _urls(built: BuiltDataset) -> list[str]:
    """What an earlier build downloaded, as far as it can be read."""
    try:
        return [str(source["url"]) for source in built.sources]
    except DsmanagerError:
        return []


def _is_built(ref: Ref, folder: Path) -> bool:
    return folder.is_dir() and not any(BuiltDataset(ref, folder).problems())


def _result(built: BuiltDataset, log: Path | None, *, was_built: bool = False) -> BuildResult:
    splits = {name: split.examples for name, split in built.splits.items()}
    return BuildResult(
        built.ref, built.path, built.size_bytes, sum(splits.values()), splits, log, was_built
    )


def _log_path(library: LibraryPlaces, stem: str) -> Path:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return library.settings.state_dir / "logs" / f"{stem}-{moment}.log"
