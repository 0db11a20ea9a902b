"""Converting ImageNet: to the shards of the scripts, or to TFDS's dataset by its builder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsmanager.errors import AlreadyExistsError, UsageError
from dsmanager.files import require_free_bytes
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.library.converting import hinting_at_dest
from dsmanager.library.library import Library
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.ingest.imagenet.result import ImagenetResult
    from dsmanager.library.building import BuildResult
    from dsmanager.settings import Settings
    from dsmanager.sources.imagenet import SplitSource

__all__ = ["IMAGENET_FORMS", "ImagenetRequest", "convert_imagenet"]

IMAGENET_FORMS = ("tpu", "slim", "tfds")
_NAME = "imagenet2012"
_FIXED = re.compile(r"(?:train|validation|test): (.+) is (CMYK|PNG): stored as RGB JPEG")
_LEFT_OUT = re.compile(r"(?:train|validation|test): (.+) is left out: (.+)")
_COPIES = 2  # partitions, and the shards that they are put together to


def convert_imagenet(
    settings: Settings, request: ImagenetRequest, *, progress: Progress, cancel: CancelToken
) -> ImagenetResult:
    """Makes of the source what ``request`` asks for.

    Raises as :func:`dsmanager.ingest.imagenet.convert.convert_imagenet`, which see; for ``tfds`` as
    a build, and AlreadyExistsError where another build of imagenet2012 is in the way.
    """
    from dsmanager.ingest.imagenet import convert

    request = request.located(settings.working_dir)
    if request.dest.exists() and not request.dest.is_dir():
        raise UsageError(
            f"{request.dest} is no folder", hint="use another: dsmanager convert SRC DEST"
        )
    with hinting_at_dest():
        if request.to != "tfds":
            return convert.convert_imagenet(request, progress=progress, cancel=cancel)
        found, wanted = convert.require_splits(request.source, request.only)
        if request.only is None and "test" in found:
            wanted = [*wanted, found["test"]]
        _require_apart(request, wanted)
        return _build(settings, request, wanted, progress, cancel)


def _require_apart(request: ImagenetRequest, wanted: Sequence[SplitSource]) -> None:
    """Raises UsageError for a data dir in a tree of images, where it would look like a synset."""
    for each in wanted:
        if request.dest.resolve().is_relative_to(each.path.resolve()):
            raise UsageError(
                f"{request.dest} is where the {each.split} split is read from",
                hint="name another folder: dsmanager convert SRC DEST --to tfds",
            )


def _build(
    settings: Settings,
    request: ImagenetRequest,
    wanted: Sequence[SplitSource],
    progress: Progress,
    cancel: CancelToken,
) -> ImagenetResult:
    from dsmanager.sources.imagenet import size_of

    needed_bytes = _COPIES * sum(size_of(each, cancel=cancel) for each in wanted)
    hint = "free some space, or name another DEST"
    require_free_bytes(request.dest, needed_bytes, "twice the size of all images", hint=hint)
    with _manual_dir(wanted, request.skip_bad) as folder:
        (built,) = Library(settings=replace(settings, data_dir=request.dest)).build(
            _NAME,
            clean=request.overwrite,
            manual_dir=folder,
            workers=request.workers,
            cluster=request.cluster,
            progress=progress,
            cancel=cancel,
        )
    if built.was_built and set(built.splits) != {each.split for each in wanted}:
        raise AlreadyExistsError(
            f"{built.path} is there already, with {' and '.join(built.splits)}",
            hint="name another folder, or replace it: dsmanager convert … --to tfds --overwrite",
        )
    return _result(built)


@contextmanager
def _manual_dir(wanted: Sequence[SplitSource], skip_bad: bool) -> Iterator[Path]:
    """A folder that leads to these splits and no others: the builder takes what it finds."""
    from dsmanager.sources.imagenet import SKIP_BAD, TARS, TREES

    with tempfile.TemporaryDirectory(prefix="dsmanager-") as name:
        folder = Path(name)
        for each in wanted:
            link = TARS[each.split] if each.form == "tar" else TREES[each.split][0]
            (folder / link).symlink_to(each.path.resolve())
        if skip_bad:
            (folder / SKIP_BAD).touch()
        yield folder


def _result(built: BuildResult) -> ImagenetResult:
    from dsmanager.built import BuiltDataset
    from dsmanager.ingest.imagenet.result import ImagenetResult, SplitResult, scale_notes

    fixed: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for line in _log_lines(built.log):
        if match := _FIXED.fullmatch(line):
            fixed.setdefault(match[2], []).append(match[1])
        elif match := _LEFT_OUT.fullmatch(line):
            skipped[match[1]] = match[2]
    splits = {
        name: SplitResult(split.examples, len(split.shard_lengths), split.payload_bytes, None)
        for name, split in BuiltDataset(built.ref, built.path).splits.items()
    }
    notes = list(scale_notes({name: split.images for name, split in splits.items()}, {}))
    if built.was_built:
        notes.append("it is built already: nothing was done")
    left_out = f"{len(skipped):,} images cannot be used and were left out"
    return ImagenetResult(
        path=built.path,
        to="tfds",
        splits=splits,
        fixed={was: tuple(sorted(fixed[was])) for was in sorted(fixed)},
        skipped=dict(sorted(skipped.items())),
        boxed_images=0,
        notes=tuple(notes),
        warnings=(left_out,) if skipped else (),
        was_converted=built.was_built,
    )


def _log_lines(log: Path | None) -> Iterator[str]:
    if log is not None:
        with open(log, encoding="utf-8", errors="replace") as lines:
            yield from (line.rstrip("\n") for line in lines)
