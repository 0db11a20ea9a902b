"""What the features of a conversion are: found while examples are made, written as TFDS reads it.

Owns ``features.json`` of converted tars. A feature is a dtype and a shape, where a size that
differs from example to example is open; parts that were made apart are merged. Only features of
tensorflow_datasets are ever named, and TFDS is not needed to write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["IMAGE", "Spec", "Specs", "features_json", "merged"]

IMAGE = "image"
"""The dtype of an encoded image; its shape is (height, width, channels)."""

Shape: TypeAlias = "tuple[int | None, ...]"

_BASE = "tensorflow_datasets.core.features"


@dataclass(frozen=True, slots=True)
class Spec:
    """One feature: its dtype, ``string`` or ``image`` where NumPy has none, and its shape."""

    dtype: str
    shape: Shape = ()


Specs: TypeAlias = "dict[str, Spec]"


def merged(one: Mapping[str, Spec], other: Mapping[str, Spec]) -> Specs:
    """What holds for both. Raises ValueError, naming the feature, where nothing does."""
    if one.keys() != other.keys():
        odd = sorted(one.keys() ^ other.keys())[0]
        raise ValueError(f"some examples have the feature '{odd}' and others have not")
    return {name: _merged(name, spec, other[name]) for name, spec in one.items()}


def _merged(name: str, one: Spec, other: Spec) -> Spec:
    if one == other:
        return one
    if one.dtype == other.dtype == IMAGE:
        return Spec(IMAGE, (None, None, 3))  # of mixed ones the reader makes colour
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        raise ValueError(
            f"the feature '{name}' is {_shown(one)} in some examples and {_shown(other)} in others"
        )
    sizes = zip(one.shape, other.shape, strict=True)
    shape = tuple(a if a == b else None for a, b in sizes)
    if shape.count(None) > 1:
        raise ValueError(f"the feature '{name}' differs in more than one dimension: flatten it")
    return Spec(one.dtype, shape)


def _shown(spec: Spec) -> str:
    return f"{spec.dtype}{list(spec.shape)}" if spec.shape else spec.dtype


def to_json(specs: Mapping[str, Spec]) -> dict[str, Any]:
    return {name: [spec.dtype, list(spec.shape)] for name, spec in specs.items()}


def from_json(value: Mapping[str, Sequence[Any]]) -> Specs:
    return {name: Spec(dtype, tuple(shape)) for name, (dtype, shape) in value.items()}


def features_json(specs: Mapping[str, Spec]) -> dict[str, Any]:
    """The content of ``features.json``, in the form that TFDS 4.9 writes."""
    features = {name: _feature(specs[name]) for name in sorted(specs)}
    return {
        "pythonClassName": f"{_BASE}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def _feature(spec: Spec) -> dict[str, Any]:
    dimensions = ["-1" if size is None else str(size) for size in spec.shape]
    shape = {"dimensions": dimensions} if dimensions else {}
    if spec.dtype == IMAGE:
        return {
            "pythonClassName": f"{_BASE}.image_feature.Image",
            "image": {"shape": shape, "dtype": "uint8"},
        }
    kind = "tensor_feature.Tensor" if spec.shape or spec.dtype == "string" else "scalar.Scalar"
    return {
        "pythonClassName": f"{_BASE}.{kind}",
        "tensor": {"shape": shape, "dtype": spec.dtype, "encoding": "none"},
    }
