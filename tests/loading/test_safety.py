"""Nothing in a version folder can make loading run code or read files elsewhere."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.loading import check_dataset_info, check_features, load_directory, preview_examples
from dsmanager.loading.allowlist import CONTENT_FIELDS, FEATURE_CLASSES, PROTO_CLASSES
from dsmanager.refs import Ref

CORE = "tensorflow_datasets.core.features"
DICT, SEQUENCE = f"{CORE}.features_dict.FeaturesDict", f"{CORE}.sequence_feature.Sequence"
TENSOR, LABEL = f"{CORE}.tensor_feature.Tensor", f"{CORE}.class_label_feature.ClassLabel"
IMAGE = f"{CORE}.image_feature.Image"

number = {"pythonClassName": TENSOR, "tensor": {"shape": {}, "dtype": "int64"}}
older_number = {"type": TENSOR, "content": {"shape": [], "dtype": "int64"}}


def dict_of(**features: Any) -> dict[str, Any]:
    return {"pythonClassName": DICT, "featuresDict": {"features": features}}


def evil(name: str = "evil_module.Feature") -> dict[str, Any]:
    return {"pythonClassName": name, "jsonFeature": {"json": "{}"}}


def deep(levels: int) -> dict[str, Any]:
    feature: dict[str, Any] = number
    for _ in range(levels):
        feature = {"pythonClassName": SEQUENCE, "sequence": {"feature": feature, "length": "-1"}}
    return feature


def as_json(class_name: str, content: Any) -> dict[str, Any]:
    return {"pythonClassName": class_name, "jsonFeature": {"json": json.dumps(content)}}


HOSTILE: dict[str, Any] = {
    "the root": evil(),
    "a child": dict_of(x=evil()),
    "in a sequence": dict_of(
        x={"pythonClassName": SEQUENCE, "sequence": {"feature": evil(), "length": "-1"}}
    ),
    "in a nested dataset": {
        "pythonClassName": f"{CORE}.dataset_feature.Dataset",
        "sequence": {"feature": dict_of(x=evil())},
    },
    "in the older form": {"type": "evil_module.Feature", "content": {}},
    "an older child": {"type": DICT, "content": {"x": {"type": "evil_module.F", "content": {}}}},
    "older, inside a message": {
        "type": DICT,
        "proto_cls": "tensorflow_datasets.FeaturesDict",
        "content": {"features": {"x": evil()}},
    },
    "older, a message as text": {
        "type": DICT,
        "proto_cls": "tensorflow_datasets.FeaturesDict",
        "content": json.dumps({"features": {"x": evil()}}),
    },
    "in JSON as text": as_json(DICT, {"x": {"type": "evil_module.Feature", "content": {}}}),
    "in JSON as text, new form": as_json(SEQUENCE, {"feature": evil(), "length": None}),
    "JSON as text in JSON as text": as_json(
        DICT, {"x": as_json(SEQUENCE, {"feature": evil(), "length": None})}
    ),
    "both forms at once": {**number, "type": "evil_module.Feature", "content": {}},
    "protobuf's other spelling": {"python_class_name": "evil_module.F", "tensor": {}},
    "both spellings": {**number, "python_class_name": "evil_module.F"},
    "other spellings below": dict_of(
        x={"pythonClassName": DICT, "features_dict": {"features": {"y": evil()}}}
    ),
    "two contents": {**dict_of(x=number), "sequence": {"feature": evil()}},
    "no content": {"pythonClassName": DICT},
    "a submodule of tensorflow_datasets": evil("tensorflow_datasets.scripts.cli.main.Feature"),
    "a class that is not public": evil(f"{CORE}.feature.FeatureConnector"),
    "a prefix that looks alike": evil("tensorflow_datasets.core.features_evil.X"),
    "a relative name": evil(f"{CORE}...evil_module.Feature"),
    "a name with a newline": evil(f"{TENSOR}\n"),
    "a name with a null": evil(f"{TENSOR}\x00"),
    "another case": evil(TENSOR.upper()),
    "no dot": evil("evil_module"),
    "no name": evil(""),
    "a list as name": {"pythonClassName": [TENSOR], "tensor": {}},
    "null as name": {"pythonClassName": None, "tensor": {}},
    "a number as name": {"type": 1, "content": {}},
    "a list as type": {"type": ["evil_module.F"], "content": {}},
    "a list as feature": dict_of(x=[number]),
    "text as feature": dict_of(x="evil_module.Feature"),
    "an unknown message": {"type": TENSOR, "proto_cls": "google.protobuf.Any", "content": {}},
    "an unknown field": {**number, "module": "evil_module"},
    "a file with names": as_json(LABEL, {"names_file": "/etc/passwd"}),
    "a file with labels": as_json(f"{CORE}.labeled_image.LabeledImage", {"labels": "/etc/passwd"}),
    "older, a file with names": {"type": LABEL, "content": {"names_file": "../../secret"}},
    "an object as argument": as_json(
        f"{CORE}.translation_feature.Translation",
        {"languages": ["en"], "encoder_config": {"encoder_cls": "evil_module.E"}},
    ),
    "a dtype for a parser": {"pythonClassName": TENSOR, "tensor": {"dtype": "evil_module.T"}},
    "a list of dtypes": as_json(TENSOR, {"shape": [], "dtype": [["x", "O"]]}),
    "an optional giant": {
        "pythonClassName": TENSOR,
        "tensor": {
            "shape": {"dimensions": ["99999", "99999", "99999"]},
            "dtype": "int64",
            "optional": True,
        },
    },
    "unreadable JSON as text": {"pythonClassName": DICT, "jsonFeature": {"json": "{"}},
    "a key twice in JSON as text": {
        "pythonClassName": DICT,
        "jsonFeature": {"json": '{"x": {"type": "evil_module.F"}, "x": {"type": "evil_module.G"}}'},
    },
    "very deep": deep(40),
    "deep in text": as_json(DICT, {"x": deep(40)}),
    "brackets without end": {
        "pythonClassName": DICT,
        "jsonFeature": {"json": "[" * 100_000},
    },
}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a file behind when somebody imports it."""
    modules, sprung = tmp_path / "modules", tmp_path / "sprung"
    modules.mkdir()
    (modules / "evil_module.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(modules))
    yield sprung
    sys.modules.pop("evil_module", None)


def test_the_trap_springs_when_tfds_reads_such_features_unchecked(trap: Path) -> None:
    from tensorflow_datasets.core.features.feature import FeatureConnector

    with pytest.raises(ValueError, match="evil_module"):
        FeatureConnector.from_json(evil())
    assert trap.exists()


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_features_are_refused_before_any_import(
    what: str, trap: Path, plain_dataset: Callable[..., Path]
) -> None:
    with pytest.raises(VerificationError) as raised:
        check_features(HOSTILE[what])
    assert "\n" not in raised.value.message
    assert len(raised.value.message) < 400
    folder = plain_dataset(features=HOSTILE[what])
    for framework in ("numpy", "tf"):
        with pytest.raises(VerificationError):
            load_directory(folder, framework=framework)
    with pytest.raises(VerificationError):
        preview_examples(BuiltDataset(Ref("small", None, "1.0.0"), folder), split=None, count=1)
    assert not trap.exists()
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    "what",
    [name for name, value in HOSTILE.items() if name != "very deep" and "evil" in str(value)],
)
def test_hostile_features_hidden_in_dataset_info_are_refused(
    what: str, trap: Path, plain_dataset: Callable[..., Path]
) -> None:
    folder = plain_dataset(info={"features": HOSTILE[what]})
    with pytest.raises(VerificationError):
        load_directory(folder, framework="numpy")
    assert not trap.exists()


def test_the_module_is_named(trap: Path) -> None:
    with pytest.raises(VerificationError, match=r"evil_module\.Feature"):
        check_features(HOSTILE["in a sequence"])


def test_a_duplicate_key_hides_nothing(trap: Path, plain_dataset: Callable[..., Path]) -> None:
    twice = json.dumps(evil())[:-1] + ", " + json.dumps(number)[1:]
    for text in (twice, json.dumps(number)[:-1] + ', "pythonClassName": "evil_module.F"}'):
        folder = plain_dataset(features=text)
        with pytest.raises(VerificationError):
            load_directory(folder, framework="numpy")
        assert not trap.exists()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.parent.rmdir()


@pytest.mark.parametrize(
    "template",
    [
        "../../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "/etc/passwd",
        "{SPLIT.__class__}",
        "{SPLIT[0]}",
        "{SPLIT!r}",
        "{SPLIT:>9999999999}",
        "{OTHER}",
        ".hidden",
        "a/b",
        "a\\b",
        "a\x00b",
        "a\n",
        "..",
        ["x"],
    ],
)
def test_a_template_stays_inside_the_folder(
    template: Any, plain_dataset: Callable[..., Path]
) -> None:
    folder = plain_dataset(split={"filepathTemplate": template})
    with pytest.raises(VerificationError, match="filepathTemplate"):
        load_directory(folder, framework="numpy")


@pytest.mark.parametrize(
    "info",
    [
        {"name": "../small"},
        {"name": "a/b"},
        {"name": ""},
        {"name": None},
        {"configName": "../x"},
        {"configName": "/x"},
        {"configName": "a//b"},
        {"fileFormat": "../tfrecord"},
        {"file_format": "tfrecord"},
        {"splits": {"train": {}}},
        {"splits": ["train"]},
        {"splits": [{"name": "../train"}]},
        {"splits": [{"name": "train", "filepath_template": "../x"}]},
        {"splits": [{}]},
        {"[google.protobuf.Any]": {}},
        {"version": "../1.0.0"},
    ],
)
def test_names_that_could_leave_the_folder_are_refused(
    info: dict[str, Any], plain_dataset: Callable[..., Path]
) -> None:
    folder = plain_dataset(info=info)
    with pytest.raises(VerificationError):
        load_directory(folder, framework="numpy")


@pytest.mark.parametrize("name", ["label.labels.txt", "metadata.json", "x.text.subwords"])
def test_links_in_place_of_metadata_are_refused(
    name: str, plain_dataset: Callable[..., Path]
) -> None:
    folder = plain_dataset()
    (folder / name).symlink_to("/etc/passwd")
    with pytest.raises(VerificationError, match="ordinary file"):
        load_directory(folder, framework="numpy")


def test_every_form_that_tfds_writes_passes(plain_dataset: Callable[..., Path]) -> None:
    older = {"type": DICT, "content": {"n": older_number}, "proto_cls": ""}
    in_text = {
        "type": DICT,
        "proto_cls": "tensorflow_datasets.FeaturesDict",
        "content": json.dumps({"features": {"n": number}}),
    }
    for features in (older, in_text, as_json(DICT, {"n": older_number}), dict_of(n=number)):
        check_features(features)
    folder = plain_dataset(features=older)
    _, split = load_directory(folder, split="train", framework="numpy")
    assert [int(example["n"]) for example in split] == [0, 1, 2]
    check_features(deep(20))


def test_features_may_be_called_like_fields_of_tfds() -> None:
    names = ["type", "content", "pythonClassName", "python_class_name", "dtype", "json"]
    check_features(dict_of(**dict.fromkeys(names, number)))
    check_features({"type": DICT, "content": dict.fromkeys(names, older_number)})


def test_the_allowlist_is_what_tfds_exports() -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.features.feature import FeatureConnector

    exported = {
        value
        for value in vars(tfds.features).values()
        if inspect.isclass(value)
        and issubclass(value, FeatureConnector)
        and not inspect.isabstract(value)
    }
    names = {f"{cls.__module__}.{cls.__name__}": cls for cls in exported}
    for cls in exported:
        names.update(dict.fromkeys(cls.__dict__.get("ALIASES", []), cls))
    assert {name: cls.__name__ for name, cls in names.items()} == FEATURE_CLASSES


def test_the_content_fields_are_those_of_tfds_message() -> None:
    from tensorflow_datasets.core.proto import feature_pb2

    fields = feature_pb2.Feature.DESCRIPTOR.oneofs_by_name["content"].fields
    assert {f.json_name: f.message_type.name for f in fields} == CONTENT_FIELDS
    full_names = {f.message_type.full_name for f in fields} - {"tensorflow_datasets.JsonFeature"}
    assert set(PROTO_CLASSES) == full_names


def test_only_containers_hold_features_in_tfds_message() -> None:
    """The walk looks for features in these two messages only."""
    from tensorflow_datasets.core.proto import feature_pb2

    def holds_features(message: Any) -> bool:
        inner = [field.message_type for field in message.fields if field.message_type]
        return any(i.full_name == "tensorflow_datasets.Feature" or holds_features(i) for i in inner)

    fields = feature_pb2.Feature.DESCRIPTOR.oneofs_by_name["content"].fields
    containers = {f.message_type.name for f in fields if holds_features(f.message_type)}
    assert containers == {"FeaturesDict", "Sequence"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(TENSOR),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "pythonClassName", "featuresDict", "features", "x"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_any_json_passes_or_is_refused_with_our_error(value: dict[str, Any]) -> None:
    for check in (check_features, check_dataset_info):
        try:
            check(value)
        except VerificationError:
            continue
