"""A program: records of random examples of TFDS's own builders, made by dsmanager or by TFDS.

``records_at_random.py ours|theirs PART/PARTS``: of the builders' names every PARTS-th. The last
line that it prints is an object of JSON: for each name and config the sha256 of every record, or
why there is none. The same examples are made in every process.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets import features as kinds

MOST_CONFIGS = 2
EXAMPLES = 2
LEFT_OUT = ("rlu_rwrl", "colorectal_histology_large")
"""Like the importers one that asks a bucket what it has; and images of 75 MB, which take as long as
all others together."""
ITEMS = 3
"""So many are in what may have any number of them."""


def features_of(name: str) -> Iterator[tuple[str, Any]]:
    """Features of a few configs, each with the name of the config; from first to last."""
    cls = tfds.builder_cls(name)
    is_importer = any(base.__name__.endswith("ImporterBuilder") for base in cls.__mro__)
    if is_importer or name in LEFT_OUT:
        return
    configs = cls.BUILDER_CONFIGS or [None]
    step = -(-len(configs) // MOST_CONFIGS)
    with tempfile.TemporaryDirectory() as folder:
        for config in configs[::step]:
            builder = cls(config=config, data_dir=folder)
            yield f"{name}/{config.name}" if config else name, builder.info.features


def value(feature: Any, random: np.random.Generator) -> Any:
    """What a builder might yield for a feature."""
    if isinstance(feature, kinds.TranslationVariableLanguages):
        return {feature.languages[0]: ["one", "two"], feature.languages[-1]: "three"}
    if isinstance(feature, kinds.FeaturesDict):
        return {name: value(inner, random) for name, inner in sorted(feature.items())}
    is_many = isinstance(feature, (kinds.Sequence, kinds.Dataset))
    if is_many and not isinstance(feature, kinds.Video):
        length = getattr(feature, "_length", None) or ITEMS
        return [value(feature.feature, random) for _ in range(length)]
    if isinstance(feature, kinds.BBoxFeature):
        ymin, xmin, ymax, xmax = random.random(4) / 2 + (0, 0, 0.5, 0.5)
        return kinds.BBox(ymin, xmin, ymax, xmax)
    if isinstance(feature, kinds.ClassLabel):
        return int(random.integers(feature.num_classes or ITEMS))
    if isinstance(feature, kinds.Audio) and feature._lazy_decode:
        return io.BytesIO(b"sound that is stored as it is")
    return tensor(feature, random)


def tensor(feature: Any, random: np.random.Generator) -> Any:
    info = feature.get_tensor_info()
    shape = [int(random.integers(2, 9)) if size is None else size for size in info.shape]
    dtype = np.dtype(info.np_dtype)
    if dtype.kind in "iu":
        return random.integers(0, 100, shape).astype(dtype)
    if dtype.kind == "f":
        return random.random(shape).astype(dtype)
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    texts = [f"text {each}" for each in random.integers(0, 10**9, np.prod(shape, dtype=int))]
    return np.array(texts, object).reshape(shape) if shape else texts[0]


def examples(key: str, features: Any) -> list[Any]:
    random = np.random.default_rng(zlib.crc32(key.encode()))
    return [value(features, random) for _ in range(EXAMPLES)]


def theirs(features: Any, given: list[Any]) -> Iterator[bytes]:
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    serializer = ExampleSerializer(features.get_serialized_info())
    for example in given:
        made = serializer.get_tf_example(features.encode_example(example))
        yield made.SerializeToString(deterministic=True)


def ours(features: Any, given: list[Any]) -> Iterator[bytes]:
    from dsmanager.building.writing.filling import fill
    from dsmanager.building.writing.spill import Places, Spill
    from dsmanager.progress import Progress

    with tempfile.TemporaryFile(buffering=0) as file:
        spill = Spill(file)
        pairs = enumerate(given)
        fill(spill, features, "all", pairs, keep_order=True, beside=True, progress=Progress())
        yield from Places([spill]).records(0, len(given))


def main() -> None:
    side, (part, parts) = sys.argv[1], map(int, sys.argv[2].split("/"))
    records: Callable[[Any, list[Any]], Iterator[bytes]] = theirs
    if side == "ours":
        from dsmanager.building.child import seams
        from dsmanager.progress import Progress

        seams.install(Progress())
        records = ours
    found: dict[str, Any] = {}
    for name in sorted(tfds.list_builders(with_community_datasets=False))[part::parts]:
        key = name
        try:
            for key, features in features_of(name):
                made = records(features, examples(key, features))
                found[key] = [hashlib.sha256(record).hexdigest() for record in made]
        except Exception as error:
            found[key] = f"{type(error).__name__}: {error}"
    print()  # TFDS may have written to the line
    print(json.dumps(found))


if __name__ == "__main__":
    main()
