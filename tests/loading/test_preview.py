"""Previews show values shortly, and need neither TFDS nor NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.built import BuiltDataset
from dsmanager.errors import NotFoundError, VerificationError
from dsmanager.loading import preview_examples
from dsmanager.refs import Ref

BASE = "tensorflow_datasets.core.features"


def opened(folder: Path, name: str = "everything") -> BuiltDataset:
    return BuiltDataset(Ref(name, None, "1.0.0"), folder)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_values_are_shown_as_people_read_them(built: Any, file_format: str) -> None:
    dataset = opened(built.version_dir(file_format))
    shown = preview_examples(dataset, split="train", count=4)
    assert len(shown) == 4
    for example, expected in zip(shown, built.expected["train"], strict=False):
        label = int(expected["label"])
        assert example["label"] == f"{label} ({['zero', 'one', 'two'][label]})"
        assert example["unnamed"] == str(expected["unnamed"])
        assert example["text"] == expected["text"].decode()
        assert example["bytes"] == "<7 bytes>"
        assert example["int64"] == str(expected["int64"])
        assert example["uint64"] == str(expected["uint64"])
        assert example["bool"] == str(bool(expected["bool"])).lower()
        assert example["box"] == "[0.25, 0, 1, 0.75]"
        assert example["fixed"].startswith("[")
        assert example["maybe"] == ("" if expected["maybe"] < 0 else str(expected["maybe"]))
        assert example["zlib"] == "<float64 [2, 2]>"
        assert example["dynamic"] == f"<int32 [{len(expected['dynamic'])}, 2, 1]>"
        assert example["nested/a/b"] == str(expected["nested"]["a/b"])
        no_or_yes = ["0 (no)", "1 (yes)"][int(expected["nested"]["inner"]["label"])]
        assert example["nested/inner/label"] == no_or_yes
        assert example["translation/de"].startswith("eins ")
        assert "5\N{MULTIPLICATION SIGN}6, " in example["image"]
        samples = len(expected["audio"])
        assert example["audio"] == (f"<int64 [{samples}]>" if samples else "[]")
        frames = len(expected["video"])
        assert example["video"].startswith(f"[{frames}] <PNG" if frames > 1 else "<PNG")
        assert "\n" not in example["ragged"]
        assert all(len(text) < 300 for text in example.values())


def test_the_first_split_is_shown_where_none_is_asked_for(built: Any) -> None:
    dataset = opened(built.version_dir())
    first = next(iter(dataset.splits))
    assert preview_examples(dataset, count=1) == preview_examples(dataset, split=first, count=1)
    assert len(preview_examples(dataset, split="test", count=50)) == 5


def test_an_unknown_split_is_not_found(built: Any) -> None:
    with pytest.raises(NotFoundError, match="no split 'nope'"):
        preview_examples(opened(built.version_dir()), split="nope", count=1)


def test_a_preview_loads_neither_tfds_nor_numpy(built: Any) -> None:
    program = f"""
import sys
from pathlib import Path
from dsmanager.built import BuiltDataset
from dsmanager.loading import preview_examples
from dsmanager.refs import Ref
for file_format in ("tfrecord", "array_record"):
    folder = Path({str(built.folder)!r}, file_format, "everything", "1.0.0")
    print(len(preview_examples(BuiltDataset(Ref("everything", None, "1.0.0"), folder), count=2)))
print(sorted({{"numpy", "tensorflow_datasets", "tensorflow", "PIL"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "2\n2\n[]\n", done.stderr


def test_the_older_form_of_features_is_shown_too(plain_dataset: Callable[..., Path]) -> None:
    label = {"type": f"{BASE}.class_label_feature.ClassLabel", "content": {"num_classes": 3}}
    for features in (
        {"type": f"{BASE}.features_dict.FeaturesDict", "content": {"n": label}},
        {
            "pythonClassName": f"{BASE}.features_dict.FeaturesDict",
            "jsonFeature": {"json": json.dumps({"n": label})},
        },
        {
            "type": f"{BASE}.features_dict.FeaturesDict",
            "proto_cls": "tensorflow_datasets.FeaturesDict",
            "content": json.dumps(
                {
                    "features": {
                        "n": {"pythonClassName": label["type"], "classLabel": {"numClasses": "3"}}
                    }
                }
            ),
        },
    ):
        folder = plain_dataset(features=features)
        (folder / "n.labels.txt").write_text("cat\ndog\n\nbird\n")
        shown = preview_examples(opened(folder, "small"), split="train", count=9)
        assert shown == [{"n": "0 (cat)"}, {"n": "1 (dog)"}, {"n": "2 (bird)"}]
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.parent.rmdir()


def test_a_damaged_record_is_an_error(plain_dataset: Callable[..., Path]) -> None:
    folder = plain_dataset()
    shard = folder / "small-train.tfrecord-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[15] ^= 1
    shard.write_bytes(data)
    with pytest.raises(VerificationError):
        preview_examples(opened(folder, "small"), split=None, count=1)
