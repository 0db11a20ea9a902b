"""Which image goes into which shard: decided once, and kept where every process finds it.

The index of a split is a line of JSON for each image; its order is two numbers for each, place and
length of the line, as the images are to be written. So a process that makes one shard reads only
what is of that shard, and no list of 1.28 million images is ever in memory.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

from dsmanager.errors import NotFoundError
from dsmanager.files import write_bytes
from dsmanager.ingest.imagenet.layouts import Layout
from dsmanager.progress import CancelToken, Progress
from dsmanager.sources.imagenet import Image, SplitSource, groups, images
from dsmanager.sources.imagenet_labels import synsets

__all__ = ["Plan", "PlannedImage", "SplitPlan", "numbering", "plan_split", "planned_images"]

_ENTRY_BYTES = 16
_LINES = 500
_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class PlannedImage:
    image: Image
    label: int


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """One split: where it is, and how much of it there is."""

    split: str
    form: str
    path: str
    count: int
    payload_bytes: int
    synsets: Sequence[str]
    """Those that have an image here, sorted."""

    @property
    def source(self) -> SplitSource:
        return SplitSource(self.split, self.form, Path(self.path))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole conversion, as it was decided. ``fingerprint`` is of all that it was decided from."""

    fingerprint: str
    to: str
    splits: Mapping[str, SplitPlan]
    texts: Mapping[str, str]
    annotations: str | None

    def save(self, folder: Path) -> None:
        """Written last: a folder with a plan has whole indexes."""
        write_bytes(folder / _FILE, json.dumps(asdict(self)).encode())

    @staticmethod
    def written(folder: Path) -> tuple[int, int] | None:
        """Inode and time of the plan in a folder: others, when there is another plan."""
        try:
            status = os.stat(folder / _FILE)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    @classmethod
    def load(cls, folder: Path) -> Plan | None:
        """None where there is no plan, or none that can be read."""
        try:
            found: dict[str, Any] = json.loads((folder / _FILE).read_bytes())
            splits = {name: SplitPlan(**each) for name, each in found.pop("splits").items()}
            return cls(splits=splits, **found)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def numbering(found: Iterable[SplitSource]) -> tuple[dict[str, int], bool]:
    """Label of each synset, from 1, and whether they are ILSVRC's.

    That is the place among its 1,000, however few there are here. Where there is another synset,
    those that are here are numbered in their order.
    """
    known = synsets()
    here: set[str] = set()
    for source in found:
        if source.split != "test":
            names = {group.synset for group in groups(source)}
            here |= set(known) if "" in names else names
    is_ilsvrc = here <= set(known)
    return {name: number for number, name in enumerate(known if is_ilsvrc else sorted(here), 1)}, (
        is_ilsvrc
    )


def plan_split(
    folder: Path,
    source: SplitSource,
    layout: Layout,
    labels: Mapping[str, int],
    *,
    progress: Progress,
    cancel: CancelToken,
) -> SplitPlan:
    """Lists a split and writes its index and its order into ``folder``.

    Raises NotFoundError for a split without images, and as ``sources.imagenet.images``.
    """
    progress.start_phase(f"list {source.split}", item_unit="images")
    lines = array("Q")
    classes: set[str] = set()
    payload_bytes = position = 0
    with open(_index(folder, source.split), "wb") as index:
        for listed in _in_order(source, layout, cancel):
            written = [_line(image, labels[image.synset]) for image in listed]
            index.write(b"".join(written))
            lengths = [len(line) for line in written]
            starts = accumulate(lengths, initial=position)
            lines.extend(chain.from_iterable(zip(starts, lengths, strict=False)))
            position += sum(lengths)
            payload_bytes += sum(image.size for image in listed)
            classes |= {image.synset for image in listed}
            progress.add_items(len(listed))
    count = len(lines) // 2
    if not count:
        raise NotFoundError(
            f"the {source.split} split in {source.path} holds no image",
            hint="look whether it was unpacked where it should be; names end in .JPEG",
        )
    order = array("Q")
    for place in layout.order(source.split, count):
        order.extend(lines[2 * place : 2 * place + 2])
    with open(_order(folder, source.split), "wb") as file:
        _little_endian(order).tofile(file)
    path = os.path.realpath(source.path)
    found = sorted(classes)
    return SplitPlan(source.split, source.form, path, count, payload_bytes, found)


def planned_images(folder: Path, split: str, start: int, end: int) -> Iterator[PlannedImage]:
    """The images from place ``start`` to ``end`` of a split's order."""
    with open(_order(folder, split), "rb") as order, open(_index(folder, split), "rb") as index:
        order.seek(start * _ENTRY_BYTES)
        places = array("Q")
        places.frombytes(order.read((end - start) * _ENTRY_BYTES))
        yield from _lines(index, _little_endian(places))


def _lines(index: BinaryIO, places: Sequence[int]) -> Iterator[PlannedImage]:
    """Parsed some at a time: one after the other takes as long as writing a small image."""
    for start in range(0, len(places), 2 * _LINES):
        lines = []
        for position, length in _pairs(places[start : start + 2 * _LINES]):
            index.seek(position)
            lines.append(index.read(length))
        for *image, label in json.loads(b"[" + b",".join(lines) + b"]"):
            yield PlannedImage(Image(*image), label)


def _pairs(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(values[::2], values[1::2], strict=True)


def _in_order(source: SplitSource, layout: Layout, cancel: CancelToken) -> Iterator[list[Image]]:
    """Before they are shuffled: by synset and name, or by name alone where they are not."""
    if source.split == "train":
        yield from images(source, cancel=cancel)
        return
    whole = [image for listed in images(source, cancel=cancel) for image in listed]
    by_synset = source.split in layout.shuffled
    yield sorted(whole, key=attrgetter("synset", "name") if by_synset else attrgetter("name"))


def _line(image: Image, label: int) -> bytes:
    """One image as JSON. Put together here: of a million, json.dumps would take half the time."""
    name, synset = encode_basestring_ascii(image.name), encode_basestring_ascii(image.synset)
    return f"[{name}, {synset}, {image.offset}, {image.size}, {label}]\n".encode("ascii")


def _index(folder: Path, split: str) -> Path:
    return folder / f"{split}.index"


def _order(folder: Path, split: str) -> Path:
    return folder / f"{split}.order"


def _little_endian(values: array[int]) -> array[int]:
    """The same file for machines of a cluster that are not alike."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
