"""What becomes of one record of a tar: the features of its example, and what they are.

Owns three ways: tar2tf's default record (``height, width, depth, label, image_raw``), extensions as
bytes, and a function of the user's. Nothing is decoded: the size of an image is in its header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from dsmanager.archives.paths import MalformedError
from dsmanager.errors import DsmanagerError, UsageError, VerificationError
from dsmanager.ingest.tars.functions import called, load_function
from dsmanager.ingest.tars.grouping import TarRecord
from dsmanager.ingest.tars.specs import IMAGE, Spec, Specs
from dsmanager.records.encoding import Feature, bytes_feature, float_feature, int64_feature
from dsmanager.records.example import parse_example
from dsmanager.sources.jpeg import frame_of

__all__ = ["IncompleteError", "Maker", "default_features", "make_maker", "seed_of"]

Made: TypeAlias = "tuple[dict[str, Feature], Specs]"

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class IncompleteError(ValueError):
    """A record lacks a file that its example needs; the text says which."""


class Maker(Protocol):
    """Makes the features of one record. ``wanted`` are the extensions that it reads, None all."""

    @property
    def wanted(self) -> frozenset[str] | None: ...

    def __call__(self, record: TarRecord) -> Made:
        """Raises IncompleteError, and MalformedError for a file that is not what it should be."""


def make_maker(record: Mapping[str, Any], source_name: str) -> Maker:
    """The way that a request names: ``{"kind": "default" | "fields" | "function" | "call", …}``.

    ``source_name`` is the base name of the tar, which a seed depends on. Raises UsageError for a
    function that cannot be found.
    """
    if record["kind"] == "default":
        return _Default()
    if record["kind"] == "fields":
        return _Fields(record["fields"])
    if record["kind"] == "call":
        function = called(record["call"])
    else:
        function = load_function(record["function"], record["folder"])
    return _Own(function, source_name, is_seeded=record.get("seeded", True))


def seed_of(source_name: str, key: str) -> int:
    """63 bits that depend on nothing but the names of the tar and of the record."""
    text = f"{source_name}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def default_features(record: TarRecord) -> tuple[bytes, int, tuple[int, int, int]]:
    """The image as it is, its label, and its height, width and channels. Raises as a Maker."""
    images = [name for name in IMAGE_EXTENSIONS if name in record.files]
    if not images:
        raise IncompleteError(f"it has no .{', .'.join(IMAGE_EXTENSIONS)}")
    if len(images) > 1:
        raise MalformedError(f"it has .{' and .'.join(images)}: one of them has to be the image")
    if "cls" not in record.files:
        raise IncompleteError("it has no .cls")
    content, text = record.files[images[0]], record.files["cls"].strip()
    if not text.removeprefix(b"-").isdigit() or len(text) > 18:
        raise MalformedError(f"its .cls is no whole number: {text[:40]!r}")
    size = _image_size(content)
    if size is None or not all(size):
        raise MalformedError(f"its .{images[0]} is no JPEG or PNG image")
    return content, int(text), size


def _image_size(content: bytes) -> tuple[int, int, int] | None:
    if content.startswith(_PNG) and len(content) > 25:
        width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        return height, width, _PNG_CHANNELS.get(content[25], 0)
    frame = frame_of(content)
    return None if frame is None else (frame.height, frame.width, frame.components)


class _Default:
    """tar2tf's record. The label is the number in ``cls``; the image stays as it is."""

    wanted = frozenset((*IMAGE_EXTENSIONS, "cls"))

    def __call__(self, record: TarRecord) -> Made:
        content, label, (height, width, depth) = default_features(record)
        features = {
            "height": int64_feature(height),
            "width": int64_feature(width),
            "depth": int64_feature(depth),
            "label": int64_feature(label),
            "image_raw": bytes_feature(content),
        }
        return features, _DEFAULT_SPECS[depth if depth == 1 else 3]


def _default_specs(channels: int) -> Specs:
    numbers = {name: Spec("int64") for name in ("height", "width", "depth", "label")}
    return {**numbers, "image_raw": Spec(IMAGE, (None, None, channels))}


_DEFAULT_SPECS = {channels: _default_specs(channels) for channels in (1, 3)}


class _Fields:
    """Every extension, or those that are named, as bytes.

    Without names the first record of the tar says which there are.
    """

    def __init__(self, fields: Sequence[str] | None) -> None:
        self._fields = None if fields is None else frozenset(fields)
        self.wanted = self._fields
        self._are_named = fields is not None

    def __call__(self, record: TarRecord) -> Made:
        if self._fields is None:
            self._fields = frozenset(record.files)
        missing = sorted(self._fields - record.files.keys())
        if missing:
            raise IncompleteError(f"it has no .{', .'.join(missing)}")
        more = sorted(record.files.keys() - self._fields)
        if more:
            raise MalformedError(
                f"it has .{', .'.join(more)}, which records before it have not; name what you "
                "want with --fields"
            )
        features = {name: bytes_feature(content) for name, content in record.files.items()}
        return features, dict.fromkeys(features, Spec("string"))


class _Own:
    """``function(record, seed)``: what it returns are the features."""

    wanted = None

    def __init__(
        self, function: Callable[..., Any], source_name: str, *, is_seeded: bool = True
    ) -> None:
        self._function = function
        self._source_name = source_name
        self._is_seeded = is_seeded

    def __call__(self, record: TarRecord) -> Made:
        given = {"__key__": record.key, **record.files}
        seed = [seed_of(self._source_name, record.key)] if self._is_seeded else []
        try:
            values = self._function(given, *seed)
            if hasattr(values, "SerializeToString"):  # a tf.train.Example
                values = _values_of(values.SerializeToString())
        except DsmanagerError:
            raise
        except Exception as error:
            raise MalformedError(
                f"the record function raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(values, Mapping) or not values:
            raise MalformedError("the record function returned no dict of features")
        features: dict[str, Feature] = {}
        specs: Specs = {}
        for name, value in values.items():
            try:
                features[str(name)], specs[str(name)] = feature_of(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise MalformedError(f"the feature '{name}' cannot be stored: {error}") from error
        return features, specs


def _values_of(example: bytes) -> dict[str, Any]:
    """The values of an Example; a list of one is that one."""
    parsed = parse_example(example)
    return {name: values[0] if len(values) == 1 else values for name, values in parsed.items()}


def feature_of(value: Any) -> tuple[Feature, Spec]:
    """A value, a list or an array of NumPy's as a feature.

    Raises TypeError for what is none of them, ValueError and OverflowError for numbers that an
    example cannot hold.
    """
    if hasattr(value, "dtype"):
        return _array_feature(value)
    if isinstance(value, (bytes, str)):
        return bytes_feature(_bytes(value)), Spec("string")
    if isinstance(value, bool):
        return int64_feature(int(value)), Spec("bool")
    if isinstance(value, int):
        return int64_feature(_int64(value)), Spec("int64")
    if isinstance(value, float):
        return float_feature([value]), Spec("float32")
    if isinstance(value, (list, tuple)) and all(isinstance(each, (bytes, str)) for each in value):
        if value:
            return bytes_feature(*map(_bytes, value)), Spec("string", (len(value),))
        raise TypeError("an empty list has no type; give an empty array of NumPy's")
    return _array_feature(value)


def _array_feature(value: Any) -> tuple[Feature, Spec]:
    import numpy as np

    array = np.asarray(value)
    if isinstance(value, (list, tuple)):  # Python's numbers, as single ones are stored
        array = array.astype({"i": "int64", "f": "float32"}.get(array.dtype.kind, array.dtype))
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{type(value).__name__} is no number, text, list of them or array")
    spec = Spec(str(array.dtype), array.shape)
    if array.dtype.kind == "f":
        return float_feature(array.ravel().tolist()), spec
    return int64_feature(*map(_int64, array.ravel().tolist())), spec


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _int64(value: int) -> int:
    value = int(value)
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value} does not fit into 64 bits")
    return value


def as_error(where: str, error: Exception) -> VerificationError:
    """The error of a record that stops a conversion."""
    return VerificationError(f"{where}: {error}", hint=_HINT)


_HINT = (
    "leave incomplete records out with --skip-incomplete, or say what a record is: "
    "dsmanager convert SRC OUT --fields … | --record module:function"
)


def record_request(fields: str | None, function: str | None, folder: str) -> dict[str, Any]:
    """What ``--fields`` and ``--record`` ask for, as :func:`make_maker` takes it.

    Raises UsageError for both at once, for names that are none, and for a function that is not
    there.
    """
    if fields and function:
        raise UsageError(
            "--fields and --record are two ways to say what a record is",
            hint="use one: dsmanager convert SRC OUT --fields all",
        )
    if function:
        load_function(function, folder)
        return {"kind": "function", "function": function, "folder": folder}
    if not fields or fields == "default":
        return {"kind": "default"}
    if fields == "all":
        return {"kind": "fields", "fields": None}
    names = sorted({name.strip().lstrip(".").lower() for name in fields.split(",")})
    if not all(names):
        raise UsageError(
            f"'{fields}' is no list of extensions",
            hint="for example: dsmanager convert SRC OUT --fields jpg,cls",
        )
    return {"kind": "fields", "fields": names}
