"""The first examples of a split as short text, for ``info --preview``.

Owns how a value looks in a line. Reads records and JSON itself: neither TFDS nor NumPy is needed,
and images are measured by their headers, never decoded. Text is returned as it is stored; front
ends show it with :func:`dsmanager.text.plain`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from dsmanager.built import BuiltDataset, Split
from dsmanager.errors import NotFoundError
from dsmanager.loading.imagesize import image_size
from dsmanager.loading.safety import check_dataset_info, check_features, check_folder
from dsmanager.loading.schema import Leaf, leaves
from dsmanager.loading.shards import open_shard
from dsmanager.records.example import RawFeature, scan_example
from dsmanager.text import plain

__all__ = ["label_names", "preview_examples", "shown_value"]

_MAX_VALUES = 8
_MAX_LETTERS = 200
_TIMES = "\N{MULTIPLICATION SIGN}"

_Example = Mapping[str, RawFeature]


def preview_examples(
    built: BuiltDataset, *, split: str | None = None, count: int = 3
) -> list[dict[str, str]]:
    """The first ``count`` examples of ``split`` (else the first split): feature path to text.

    ``7 (seven)`` for a label, ``<JPEG 500x375, 110 KB>`` (with a multiplication sign) for an image,
    ``<int64 [4821]>`` for a long tensor. Raises NotFoundError for an unknown split and
    VerificationError for damaged or unsafe data.
    """
    check_folder(built.path)
    check_dataset_info(built.dataset_info)
    check_features(built.features)
    found = list(leaves(built.features))
    labels = {leaf: label_names(built.path, leaf) for leaf in found if leaf.kind == "ClassLabel"}
    examples = []
    for record in islice(_records(built, _split(built, split)), count):
        example = scan_example(record)
        shown = {leaf.key: shown_value(leaf, example, labels.get(leaf) or []) for leaf in found}
        examples.append(shown)
    return examples


def _split(built: BuiltDataset, name: str | None) -> Split:
    if name is None and built.splits:
        return next(iter(built.splits.values()))
    if name not in built.splits:
        raise NotFoundError(
            f"{built.ref} has no split '{plain(str(name))}'",
            hint=f"it has: {', '.join(map(plain, built.splits))}; see: dsmanager info {built.ref}",
        )
    return built.splits[name]


def _records(built: BuiltDataset, split: Split) -> Iterator[bytes]:
    names = split.shard_names(built.ref.name, built.file_format)
    for name, length in zip(names, split.shard_lengths, strict=True):
        yield from open_shard(built.path / name, built.file_format, length).records(0, length)


def label_names(folder: Path, leaf: Leaf) -> list[str]:
    """The names of a ClassLabel, in order; empty where TFDS wrote none."""
    try:
        text = (folder / leaf.labels_file).read_text("utf-8", "replace")
    except (OSError, ValueError):
        return []
    return [line.strip() for line in text.split("\n") if line.strip()]


def shown_value(leaf: Leaf, example: Mapping[str, RawFeature], labels: Sequence[str] = ()) -> str:
    """One feature of one example in a line; ``labels`` are the names of a ClassLabel."""
    feature = example.get(leaf.key)
    ragged = example.get(f"{leaf.key}/ragged_flat_values")
    if leaf.rank > 1 and ragged is not None:
        outer = example.get(f"{leaf.key}/ragged_row_lengths_0", RawFeature()).count
        return f"<{outer} sequences, {ragged.count} values of {leaf.dtype or leaf.kind}>"
    if leaf.packed:
        return _packed(leaf, example)
    if feature is None or not feature.chunks:
        return "[]" if leaf.rank or None in leaf.shape else ""
    if leaf.kind in ("Image", "LabeledImage"):
        return _listed([_image(bytes(chunk)) for chunk in feature.chunks[:_MAX_VALUES]], feature)
    if feature.kind == "bytes":
        return _texts(leaf, feature)
    return _numbers(leaf, feature, labels)


def _packed(leaf: Leaf, example: _Example) -> str:
    sizes = example.get(f"{leaf.key}/shape")
    shape = [str(size) if size is not None else "?" for size in leaf.shape]
    if sizes is not None and sizes.count == len(leaf.shape):
        shape = [str(size) for size in sizes.values()]
    return f"<{leaf.dtype} [{', '.join(shape)}]>"


def _texts(leaf: Leaf, feature: RawFeature) -> str:
    texts = [_text(bytes(chunk)) for chunk in feature.chunks[:_MAX_VALUES]]
    if not leaf.rank and not leaf.shape:
        return texts[0]
    more = ", …" if feature.count > _MAX_VALUES else ""
    return f"[{', '.join(texts)}{more}]"


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return f"<{_size(len(data))}>"
    return text if len(text) <= _MAX_LETTERS else text[:_MAX_LETTERS] + "…"


def _numbers(leaf: Leaf, feature: RawFeature, labels: Sequence[str]) -> str:
    if feature.count > _MAX_VALUES:
        return f"<{leaf.dtype} [{', '.join(_sizes(leaf, feature.count))}]>"
    shown = [_number(value, leaf.dtype, labels) for value in feature.values()]
    if not leaf.rank and not leaf.shape and len(shown) == 1:
        return shown[0]
    return f"[{', '.join(shown)}]"


def _number(value: bytes | float | int, dtype: str, labels: Sequence[str]) -> str:
    if isinstance(value, int):
        if dtype == "bool":
            return str(bool(value)).lower()
        if dtype == "uint64":
            return str(value % (1 << 64))
        return f"{value} ({labels[value]})" if 0 <= value < len(labels) else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sizes(leaf: Leaf, count: int) -> list[str]:
    """The shape with its one open size filled in."""
    shape = [*[None] * leaf.rank, *leaf.shape]
    known = math.prod(size for size in shape if size is not None)
    if shape.count(None) == 1 and known and count % known == 0:
        shape = [count // known if size is None else size for size in shape]
    return ["?" if size is None else str(size) for size in shape]


def _listed(shown: list[str], feature: RawFeature) -> str:
    if feature.count == 1:
        return shown[0]
    return f"[{feature.count}] {shown[0]}, …"


def _image(data: bytes) -> str:
    measured = image_size(data)
    if measured is None:
        return f"<image, {_size(len(data))}>"
    name, width, height = measured
    return f"<{name} {width}{_TIMES}{height}, {_size(len(data))}>"


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.0f} KB"
    return f"{size_bytes / 1_000_000:.1f} MB"
