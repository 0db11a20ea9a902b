"""load_directory and open_info: one entry, clear errors, TensorFlow only where asked for."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import DsmanagerError, NotFoundError, UsageError, VerificationError
from dsmanager.loading import load_directory, open_info

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


@pytest.fixture
def version_dir(built: Any, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    folder = tmp_path / "everything" / "1.0.0"
    shutil.copytree(built.version_dir(), folder)
    return folder


def test_without_a_split_there_is_one_dataset_each(built: Any) -> None:
    info, splits = load_directory(built.version_dir(), framework="numpy")
    assert info.full_name == "everything/1.0.0"
    assert {name: len(split) for name, split in splits.items()} == {"test": 5, "train": 23}


def test_the_info_is_tfds_own(built: Any) -> None:
    info = open_info(built.version_dir())
    assert info.features["label"].names == ["zero", "one", "two"]
    assert info.features["audio"].sample_rate == 8000
    assert info.splits["train"].num_examples == 23
    assert info.supervised_keys == ("image", "label")


def test_everything_loads_where_tensorflow_cannot_be_imported(
    built: Any, without_tensorflow: Callable[[str], str]
) -> None:
    printed = without_tensorflow(f"""
import sys
from pathlib import Path
from dsmanager.loading import load_directory
for file_format in ("tfrecord", "array_record"):
    folder = Path({str(built.folder)!r}, file_format, "everything", "1.0.0")
    info, splits = load_directory(folder, framework="numpy")
    print(sum(1 for example in splits["train"]), splits["test"][-1]["image"].shape,
          info.features["audio"].np_dtype, info.features["video"].shape)
assert "tensorflow" not in sys.modules
""")
    assert printed == 2 * "23 (6, 5, 3) int64 (None, 6, 5, 3)\n"


def test_the_same_path_is_taken_where_tensorflow_is_installed(built: Any) -> None:
    program = f"""
import sys
from pathlib import Path
from dsmanager.loading import load_directory
_, split = load_directory(Path({str(built.version_dir())!r}), split="train", framework="numpy")
assert len(list(split)) == 23
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tf_framework_names_the_command_that_installs_it(
    built: Any, without_tensorflow: Callable[[str], str]
) -> None:
    printed = without_tensorflow(f"""
from pathlib import Path
from dsmanager.errors import DsmanagerError
from dsmanager.loading import load_directory
try:
    load_directory(Path({str(built.version_dir())!r}))
except DsmanagerError as error:
    print(int(error.exit_code), error.hint)
""")
    assert printed == "1 use framework=\"numpy\", or: pip install 'dsmanager[tf]'\n"


@needs_tensorflow
def test_the_tf_framework_gives_tf_data(built: Any) -> None:
    program = f"""
from pathlib import Path
import tensorflow as tf
from dsmanager.errors import NotFoundError
from dsmanager.loading import load_directory
folder = Path({str(built.version_dir())!r})
info, splits = load_directory(folder)
assert {{name: len(split) for name, split in splits.items()}} == {{"test": 5, "train": 23}}
info, split = load_directory(folder, split="train[:10%]")
assert isinstance(split, tf.data.Dataset)
assert split.element_spec["audio"].dtype == tf.int64
assert split.element_spec["video"].dtype == tf.uint8
assert info.features["audio"].dtype == tf.int64
assert len(list(split)) == 2
try:
    load_directory(folder, split="nope")
except NotFoundError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "see: dsmanager info everything" in done.stdout


def test_an_unknown_framework_is_a_usage_error(built: Any) -> None:
    with pytest.raises(UsageError, match="'jax' is no framework") as raised:
        load_directory(built.version_dir(), framework="jax")
    assert "tf, numpy" in str(raised.value.hint)


def test_a_folder_without_a_dataset_is_not_found(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFoundError, match="no built dataset"):
            load_directory(folder, framework="numpy")


@pytest.mark.parametrize("framework", ["numpy", "tf"])
def test_a_missing_or_empty_shard_is_found_before_any_iteration(
    version_dir: Path, framework: str
) -> None:
    shard = version_dir / "everything-train.tfrecord-00001-of-00003"
    shard.write_bytes(b"")
    with pytest.raises(VerificationError, match=f"{shard.name} is empty"):
        load_directory(version_dir, split="test", framework=framework)
    shard.unlink()
    with pytest.raises(VerificationError, match=f"{shard.name} is missing") as raised:
        load_directory(version_dir, split="test", framework=framework)
    assert "dsmanager build everything:1.0.0 --clean" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_unreadable_json_is_named(version_dir: Path, name: str, content: bytes) -> None:
    (version_dir / name).write_bytes(content)
    with pytest.raises(VerificationError, match=name):
        load_directory(version_dir, framework="numpy")


def test_what_tfds_cannot_open_is_one_clear_line(version_dir: Path) -> None:
    features = json.loads((version_dir / "features.json").read_text())
    image = features["featuresDict"]["features"]["image"]["image"]
    image["shape"]["dimensions"] = ["3"]
    (version_dir / "features.json").write_text(json.dumps(features))
    with pytest.raises(VerificationError, match=r"TFDS cannot open everything:1\.0\.0") as raised:
        open_info(version_dir)
    assert "\n" not in raised.value.message


def test_audio_decoded_when_read_needs_tensorflow_and_says_so(
    plain_dataset: Callable[..., Path], without_tensorflow: Callable[[str], str]
) -> None:
    base = "tensorflow_datasets.core.features"
    audio = {"shape": {"dimensions": ["-1"]}, "dtype": "int64", "encoding": "NONE"}
    audio = {**audio, "fileFormat": "mp3", "lazyDecode": True}
    features = {"n": {"pythonClassName": f"{base}.audio_feature.Audio", "audio": audio}}
    folder = plain_dataset(
        features={
            "pythonClassName": f"{base}.features_dict.FeaturesDict",
            "featuresDict": {"features": features},
        }
    )
    program = f"""
from pathlib import Path
from dsmanager.errors import DsmanagerError
from dsmanager.loading import load_directory
try:
    load_directory(Path({str(folder)!r}), framework="numpy")
except DsmanagerError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'dsmanager[tf]'" in done.stdout, done.stderr
    assert "pip install 'dsmanager[tf]'" in without_tensorflow(program)


def test_a_moved_folder_loads(version_dir: Path, tmp_path: Path) -> None:
    moved = tmp_path / "ordner mit ü" / "anything"
    moved.parent.mkdir()
    version_dir.rename(moved)
    _, split = load_directory(moved, split="test", framework="numpy")
    assert len(list(split)) == 5


def test_importing_the_package_is_cheap() -> None:
    program = (
        "import sys, dsmanager.loading, dsmanager.loading.safety, dsmanager.loading.preview;"
        "print(sorted({'numpy', 'tensorflow_datasets', 'tensorflow', 'PIL', 'array_record'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_formats_that_are_not_read_without_tensorflow_say_so(
    plain_dataset: Callable[..., Path],
) -> None:
    folder = plain_dataset(info={"fileFormat": "riegeli"})
    shard = folder / "small-train.tfrecord-00000-of-00001"
    shard.rename(folder / "small-train.riegeli-00000-of-00001")
    with pytest.raises(DsmanagerError, match="riegeli"):
        load_directory(folder, split="train", framework="numpy")
