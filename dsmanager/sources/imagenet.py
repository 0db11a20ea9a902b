"""ILSVRC 2012 as it is given out: recognised by looking, and listed without reading an image.

A split is one of three forms: a tar, a folder with a folder for each synset, or a flat folder. The
training tar holds a tar for each synset. Each image is a range of a file, so that nothing has to be
unpacked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from dsmanager.errors import VerificationError, os_errors
from dsmanager.progress import CancelToken
from dsmanager.sources.imagenet_labels import validation_synset
from dsmanager.sources.tar_index import Member, members

__all__ = [
    "SKIP_BAD",
    "TARS",
    "TREES",
    "Group",
    "Image",
    "ImageReader",
    "SplitSource",
    "data_roots",
    "find_splits",
    "groups",
    "images",
    "images_of",
    "size_of",
    "state_of",
]

Form = Literal["tar", "classes", "flat"]

TARS = {
    "train": "ILSVRC2012_img_train.tar",
    "validation": "ILSVRC2012_img_val.tar",
    "test": "ILSVRC2012_img_test.tar",
}
SKIP_BAD = "skip-bad"
"""A file of this name beside the splits has the builder leave out what cannot be read."""
TREES = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_KAGGLE = ("", "CLS-LOC", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
_SUFFIX = ".JPEG"
_TAR_SUFFIX = ".tar"
_THREADS = 8  # a header costs a wait for the disk, and hardly any work
_BATCH = 32


@dataclass(frozen=True, slots=True)
class SplitSource:
    """Where a split is and how it lies there."""

    split: str
    form: Form
    path: Path


class Image(NamedTuple):
    """One image: ``size`` bytes at ``offset`` of the split's tar, or a file of its own.

    ``synset`` is empty for the test split, whose labels were never published.
    """

    name: str
    synset: str
    offset: int
    size: int

    def path(self, source: SplitSource) -> Path:
        """The file that holds it."""
        if source.form == "tar":
            return source.path
        folder = source.path / self.synset if source.form == "classes" else source.path
        return folder / self.name


class Group(NamedTuple):
    """Images that are listed together: those of one synset, or (without a name) all of a split.

    In the training tar it is the tar of a synset: ``size`` bytes at ``offset``.
    """

    synset: str
    offset: int
    size: int


def data_roots(source: Path) -> list[Path]:
    """The folders that may hold the splits: ``source`` itself, and within it where Kaggle's are."""
    return [source / inner for inner in _KAGGLE]


def find_splits(source: Path) -> dict[str, SplitSource]:
    """The splits in a folder; ``source`` may also be one of the tars. Nothing found is no error."""
    found = {}
    for split, tar in TARS.items():
        if source.is_file():
            if source.name == tar:
                found[split] = SplitSource(split, "tar", source)
        elif (source / tar).is_file():
            found[split] = SplitSource(split, "tar", source / tar)
        elif (folder := _tree(source, split)) is not None:
            form: Form = "classes" if split != "test" and _folders(folder) else "flat"
            found[split] = SplitSource(split, form, folder)
    return found


def images(source: SplitSource, *, cancel: CancelToken | None = None) -> Iterator[list[Image]]:
    """All images, a list for each of :func:`groups`. Raises as :func:`images_of`."""
    waiting = iter(groups(source))

    def listed(group: Group) -> list[Image]:
        if cancel is not None:
            cancel.check()
        return images_of(source, group)

    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(islice(waiting, _BATCH)):
            yield from pool.map(listed, batch)


def groups(source: SplitSource) -> list[Group]:
    """The synsets, sorted, or one group of all. Raises as :func:`images_of`."""
    if source.form == "classes":
        _require_no_loose_images(source)
        return [Group(synset, 0, 0) for synset in _folders(source.path)]
    if source.form == "flat":
        return [Group("", 0, 0)]
    with ImageReader(source) as reader:
        if source.split != "train":
            return [Group("", 0, reader.size)]
        found: dict[str, Group] = {}
        for member in reader.members(0, reader.size, source.path.name):
            name = member.path.rpartition("/")[2]
            synset = name.removesuffix(_TAR_SUFFIX)
            if not name.endswith(_TAR_SUFFIX) or not synset or synset in found:
                what = "twice" if synset in found else "which is no tar of one synset"
                raise VerificationError(
                    f"{source.path.name} holds {name[:200]!a}, {what}",
                    hint="use the tar as image-net.org gives it out, or unpack it: train/<synset>/",
                )
            found[synset] = Group(synset, member.offset, member.size)
    return sorted(found.values())


def images_of(source: SplitSource, group: Group) -> list[Image]:
    """The images of a group, by name; there may be none.

    Raises VerificationError for a damaged tar, for two images of one name, and for an image whose
    synset is not known; one of dsmanager's errors when something cannot be read.
    """
    listed = sorted(_in_tar(source, group) if source.form == "tar" else _in_folder(source, group))
    for before, image in pairwise(listed):
        if before.name == image.name:
            raise VerificationError(f"{source.path.name} holds {image.name[:200]!a} twice")
    return listed


class ImageReader:
    """Reads images of one split; of a tar with a single descriptor, whatever it holds."""

    def __init__(self, source: SplitSource) -> None:
        self._source = source
        self._descriptor = -1
        self.size = 0

    def __enter__(self) -> ImageReader:
        if self._source.form == "tar":
            with os_errors("read ImageNet"):
                self._descriptor = os.open(self._source.path, os.O_RDONLY | os.O_CLOEXEC)
                self.size = os.fstat(self._descriptor).st_size
            if hasattr(os, "posix_fadvise"):  # ranges here and there: nothing is read ahead
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def members(self, offset: int, size: int, what: str) -> Iterator[Member]:
        with os_errors(f"read {what}"):
            yield from members(self._descriptor, offset, size, what=what)

    def expect(self, image: Image) -> None:
        """Has the system fetch what :meth:`read` will ask for soon."""
        if self._descriptor >= 0 and hasattr(os, "posix_fadvise"):
            advice = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(self._descriptor, image.offset, image.size, advice)

    def read(self, image: Image) -> bytes:
        """The bytes of an image. Raises VerificationError when it is not as long as it was."""
        with os_errors(f"read {image.name}"):
            if self._descriptor >= 0:
                content = os.pread(self._descriptor, image.size, image.offset)
            else:
                content = image.path(self._source).read_bytes()
        if len(content) != image.size:
            raise VerificationError(
                f"{image.name} has {len(content):,} bytes, and had {image.size:,} before",
                hint="leave the source alone while it is read, and run the same command again",
            )
        return content


def size_of(source: SplitSource, *, cancel: CancelToken | None = None) -> int:
    """Bytes of all files that it consists of."""
    return sum(os.stat(path).st_size for path in _files(source, cancel))


def state_of(source: SplitSource, *, cancel: CancelToken | None = None) -> str:
    """A sha256 that is another one when the source has changed: sizes, times and inodes of it."""
    digest = hashlib.sha256(f"{source.form} {source.path}".encode("utf-8", "surrogateescape"))
    for path in _files(source, cancel):
        status = os.stat(path)
        state = (status.st_size, status.st_mtime_ns, status.st_ino)
        digest.update(f"{path}\0{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _tree(source: Path, split: str) -> Path | None:
    for root in data_roots(source):
        for name in TREES[split]:
            if (root / name).is_dir():
                return root / name
    return None


def _in_tar(source: SplitSource, group: Group) -> Iterator[Image]:
    what = source.path.name
    if group.synset:
        what = f"{group.synset}{_TAR_SUFFIX} in {what}"
    with ImageReader(source) as reader:
        for member in reader.members(group.offset, group.size, what):
            synset = group.synset or _label(source, member.path.rpartition("/")[2])
            yield Image(member.path, synset, member.offset, member.size)


def _in_folder(source: SplitSource, group: Group) -> Iterator[Image]:
    with os_errors("list ImageNet"):
        for name, size in _image_files(source.path / group.synset):
            yield Image(name, group.synset or _label(source, name), 0, size)


def _label(source: SplitSource, name: str) -> str:
    """The synset of an image that lies in no folder of one."""
    if source.split == "train":
        raise VerificationError(
            f"the synset of the training image {name[:200]!a} is not known: it lies in no folder "
            "of one",
            hint="put images into a folder for each synset: train/n01440764/",
        )
    return "" if source.split != "validation" else validation_synset(name)


def _require_no_loose_images(source: SplitSource) -> None:
    with os_errors("list ImageNet"):
        loose = next(_image_files(source.path), None)
    if loose is not None:
        raise VerificationError(
            f"{source.path} holds folders of synsets and images beside them, such as "
            f"{loose[0][:200]!a}",
            hint="put all images into the folders, or none",
        )


def _files(source: SplitSource, cancel: CancelToken | None) -> Iterator[Path]:
    if source.form == "tar":
        yield source.path
        return
    folders: Sequence[Path] = [source.path]
    if source.form == "classes":
        folders = [source.path / synset for synset in _folders(source.path)]
    for folder in folders:
        if cancel is not None:
            cancel.check()
        for name, _ in sorted(_image_files(folder)):
            yield folder / name


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(each.name for each in entries if each.is_dir() and each.name[0] != ".")


def _image_files(folder: Path) -> Iterator[tuple[str, int]]:
    """(name, bytes) of each image; hidden files and others are none."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.upper().endswith(_SUFFIX) and name[0] != "." and entry.is_file():
                yield name, entry.stat().st_size
