"""One shard at a time, from the plan in the working folder alone: what runs in other processes.

A shard is made under a name of its own and becomes its part by a rename, so that two processes may
make the same one. Images that are no RGB JPEG are mended; of all others only the header is read.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsmanager.errors import NotFoundError, VerificationError, os_errors
from dsmanager.files import temporary_path
from dsmanager.ingest.imagenet.annotations import BadAnnotationError, Box, annotation_of, boxes
from dsmanager.ingest.imagenet.layouts import LAYOUTS, Labelled
from dsmanager.ingest.imagenet.plan import Plan, PlannedImage, planned_images
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.encoding import example_pieces
from dsmanager.records.tfrecord import PiecesWriter
from dsmanager.sources.imagenet import ImageReader
from dsmanager.sources.images import (
    MAX_IMAGE_BYTES,
    BadImageError,
    RgbJpeg,
    bad_image,
    rgb_jpeg,
)

__all__ = ["Made", "part_path", "write_shard"]

_AHEAD = 16  # images that the disk may fetch while one is written


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one shard; names are of images."""

    images: int = 0
    size_bytes: int = 0
    source_bytes: int = 0
    """Bytes of all its images as they were read, those that were skipped included."""
    boxed: int = 0
    """Images with an annotation."""
    fixed: list[list[str]] = field(default_factory=list)
    """[name, what it was]."""
    skipped: list[list[str]] = field(default_factory=list)
    """[name, why]."""


def part_path(folder: Path, split: str, shard: int) -> Path:
    """Where a shard lies until all are there; not a name that a shard could have."""
    return folder / f"{split}.{shard}.part"


def write_shard(
    setup: Mapping[str, Any], task: Any, progress: Progress, cancel: CancelToken
) -> dict[str, Any]:
    """Makes the part of ``task``: a split, the number of a shard, and where it starts and ends.

    ``setup`` is ``{"folder": …, "fingerprint": …, "skip_bad": …}``. Returns a :class:`Made`. Raises
    VerificationError for a bad image, unless those are skipped, and NotFoundError where the folder
    is not that of the plan.
    """
    folder, (split, shard, start, end) = Path(setup["folder"]), task
    plan = _plan(folder, setup["fingerprint"])
    part = part_path(folder, split, shard)
    temporary = temporary_path(part)
    with os_errors("write a shard"):
        try:
            with PiecesWriter(temporary) as writer:
                writing = _Shard(plan, split, bool(setup["skip_bad"]), writer)
                writing.add_all(planned_images(folder, split, start, end), progress, cancel)
            _plan(folder, setup["fingerprint"])  # the folder may serve another one by now
            os.replace(temporary, part)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return asdict(writing.made())


def _plan(folder: Path, fingerprint: str) -> Plan:
    written = Plan.written(folder)
    plan = None if written is None else _loaded(folder, *written)
    if plan is None or plan.fingerprint != fingerprint:
        raise NotFoundError(
            f"the working folder {folder} does not hold this conversion here",
            hint="let all workers see it under the same path, or run without --cluster",
        )
    return plan


@lru_cache(maxsize=1)
def _loaded(folder: Path, inode: int, mtime_ns: int) -> Plan | None:
    """The plan that was written then: each shard needs it, and it holds the words for synsets."""
    return Plan.load(folder)


class _Shard:
    """A shard that is being written."""

    def __init__(self, plan: Plan, split: str, skip_bad: bool, writer: PiecesWriter) -> None:
        self._plan = plan
        self._layout = LAYOUTS[plan.to]
        self._split = plan.splits[split]
        self._skip_bad = skip_bad
        self._writer = writer
        self._source_bytes = self._boxed = 0
        self._fixed: list[list[str]] = []
        self._skipped: list[list[str]] = []

    def add_all(
        self, planned: Iterable[PlannedImage], progress: Progress, cancel: CancelToken
    ) -> None:
        with ImageReader(self._split.source) as reader:
            for each in _announced(planned, reader):
                cancel.check()
                self._add(reader, each)
                self._source_bytes += each.image.size
                progress.add_bytes(each.image.size)
                progress.add_items()

    def made(self) -> Made:
        return Made(
            images=self._writer.count,
            size_bytes=self._writer.size_bytes,
            source_bytes=self._source_bytes,
            boxed=self._boxed,
            fixed=self._fixed,
            skipped=self._skipped,
        )

    def _add(self, reader: ImageReader, planned: PlannedImage) -> None:
        image = planned.image
        name = image.name.rpartition("/")[2]
        try:
            if image.size > MAX_IMAGE_BYTES:
                raise BadImageError(f"it has more than {MAX_IMAGE_BYTES:,} bytes")
            jpeg = rgb_jpeg(reader.read(image))
        except BadImageError as error:
            if not self._skip_bad:
                raise bad_image(self._split.split, name, error) from error
            self._skipped.append([name, str(error)])
            return
        if jpeg.was:
            self._fixed.append([name, jpeg.was])
        self._write(jpeg, name, planned)

    def _write(self, jpeg: RgbJpeg, name: str, planned: PlannedImage) -> None:
        synset = planned.image.synset
        about = Labelled(
            name,
            synset,
            planned.label,
            self._plan.texts.get(synset, ""),
            self._boxes(name, synset) if self._layout.has_boxes else [],
        )
        self._writer.write(example_pieces(self._layout.features(jpeg, about)))

    def _boxes(self, name: str, synset: str) -> list[Box]:
        if self._plan.annotations is None:
            return []
        folder, stem = Path(self._plan.annotations), name.rpartition(".")[0]
        try:
            content = annotation_of(folder, self._split.split, synset, stem)
            found = [] if content is None else boxes(content)
        except BadAnnotationError as error:
            if not self._skip_bad:
                raise VerificationError(
                    f"{self._split.split}: the annotation {stem[:200] + '.xml'!a} cannot be used: "
                    f"{error}",
                    hint="to do without such ones, and be told which: dsmanager convert … "
                    "--skip-bad",
                ) from error
            self._skipped.append([f"{stem}.xml", str(error)])
            return []
        self._boxed += content is not None
        return found


def _announced(planned: Iterable[PlannedImage], reader: ImageReader) -> Iterator[PlannedImage]:
    """The same, each of them announced to the disk a few images before its turn."""
    ahead: deque[PlannedImage] = deque()
    for each in planned:
        reader.expect(each.image)
        ahead.append(each)
        if len(ahead) > _AHEAD:
            yield ahead.popleft()
    yield from ahead
