"""``features.json``: nothing passes that names a class outside the allowlist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dsmanager.errors import VerificationError
from dsmanager.loading.allowlist import FEATURE_CLASSES
from dsmanager.loading.safety import check_features
from fuzz.checks import refusing_with
from fuzz.structure import json_text

_CORE = "tensorflow_datasets.core.features"
_DICT, _LABEL = f"{_CORE}.features_dict.FeaturesDict", f"{_CORE}.class_label_feature.ClassLabel"
_SEQUENCE, _TENSOR = f"{_CORE}.sequence_feature.Sequence", f"{_CORE}.tensor_feature.Tensor"
_NUMBER = {"pythonClassName": _TENSOR, "tensor": {"shape": {"dimensions": ["2"]}, "dtype": "int64"}}
_OLD_NUMBER = {"type": _TENSOR, "content": {"shape": [], "dtype": "int64"}}
_LIST = {"pythonClassName": _SEQUENCE, "sequence": {"feature": _NUMBER, "length": "-1"}}
_TEXT = {"pythonClassName": _DICT, "jsonFeature": {"json": json.dumps({"x": _OLD_NUMBER})}}
NEW = {
    "pythonClassName": _DICT,
    "featuresDict": {"features": {"n": _NUMBER, "s": _LIST, "j": _TEXT}},
}
OLD = {
    "type": _DICT,
    "content": {"n": _OLD_NUMBER, "l": {"type": _LABEL, "content": {"num_classes": 10}}},
    "proto_cls": "",
}
EVIL = "evil_module.Feature"
WORDS = (
    *(EVIL, _DICT, _TENSOR, _SEQUENCE, "pythonClassName", "python_class_name", "type", "content"),
    *("featuresDict", "features", "jsonFeature", "json", "sequence", "feature", "proto_cls"),
    *("tensorflow_datasets.FeaturesDict", "optional", "names_file", "dtype", "dimensions"),
    *(_NUMBER, _OLD_NUMBER, {"type": EVIL, "content": {}}, {"pythonClassName": EVIL, "tensor": {}}),
    *(json.dumps({"x": {"type": EVIL, "content": {}}}), json.dumps(_OLD_NUMBER)),
    *(["999999", "999999"], ["9" * 90] * 9),
)


def run(data: bytes) -> None:
    try:
        value = json.loads(json_text(data, (NEW, OLD), WORDS))
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        return
    with refusing_with(VerificationError):
        check_features(value)
        assert value.get("pythonClassName", value.get("type")) in FEATURE_CLASSES
        for name in _class_names(value):
            assert name in FEATURE_CLASSES, name


def _class_names(feature: Any) -> Iterator[str]:
    """What TFDS would import: the classes of this feature and of all that it holds."""
    if "type" in feature:
        yield feature["type"]
        content = feature.get("content")
        content = json.loads(content) if isinstance(content, str) else content
        if feature.get("proto_cls"):
            inside = [*(content.get("features") or {}).values(), content.get("feature")]
        else:
            inside = _arguments(feature["type"], content)
    else:
        yield feature["pythonClassName"]
        json_feature = feature.get("jsonFeature")
        if json_feature is not None:
            inside = _arguments(feature["pythonClassName"], json.loads(json_feature["json"]))
        else:
            inside = list(((feature.get("featuresDict") or {}).get("features") or {}).values())
            inside.append((feature.get("sequence") or {}).get("feature"))
    for each in inside:
        if each is not None:
            yield from _class_names(each)


def _arguments(class_name: str, content: Any) -> list[Any]:
    if class_name == _DICT:
        return list(content.values())
    short = FEATURE_CLASSES[class_name]
    return [content.get("feature")] if short in ("Sequence", "Dataset") else []


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "new", json.dumps(NEW).encode()
    yield "old", json.dumps(OLD).encode()
    yield "evil", json.dumps({"pythonClassName": EVIL, "tensor": {}}).encode()
    yield "list-for-a-feature", json.dumps({**_LIST, "sequence": {"feature": [[[]]]}}).encode()
    deep = json.dumps({**_LIST, "sequence": {"feature": "DEEP"}})
    yield "deep-list-for-a-feature", deep.replace('"DEEP"', "[" * 900 + "]" * 900).encode()
    many = {"shape": {"dimensions": ["9" * 4000] * 9}, "dtype": "int64", "optional": True}
    yield "endless-product", json.dumps({"pythonClassName": _TENSOR, "tensor": many}).encode()
    infinite = {**many, "shape": {"dimensions": ["1", "INF"]}}
    text = json.dumps({"pythonClassName": _TENSOR, "tensor": infinite})
    yield "infinite-shape", text.replace('"INF"', "1e999").encode()
    yield "script-evil", bytes([0xFE, 9, 0, 0, 33])
    yield "script-nested", bytes([0xFE, 2, 0, 5, 0, 0])
