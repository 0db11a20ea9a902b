"""The digit dataset: what is built equals what ``wave`` reads, from every form of the source."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build, describe
from dsmanager.built import BuiltDataset
from dsmanager.catalog.find import find_builder
from dsmanager.demo.source import TREE, make_digit_source
from dsmanager.errors import DsmanagerError, VerificationError
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.tfrecord import read_records
from dsmanager.refs import Ref

REAL = Path(__file__).parents[2].parent / "shared" / "data" / f"{TREE}.zip"
Build = Callable[[Path | None], BuiltDataset]


@pytest.fixture
def build_digit(tmp_path: Path) -> Build:
    def run(manual_dir: Path | None) -> BuiltDataset:
        stage = tmp_path / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        staged = build(
            find_builder("digit"),
            config=None,
            options=BuildOptions(manual_dir=manual_dir),
            data_dir=tmp_path / "data",
            stage=stage,
            log_path=tmp_path / "log.txt",
            progress=Progress(),
            cancel=CancelToken(),
        )
        staged.remove_partitions()
        assert staged.ref == Ref("digit", None, "1.0.8")
        return BuiltDataset(staged.ref, staged.tree)

    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digit_source(tmp_path_factory.mktemp("digit"))


def _examples(built: BuiltDataset, split: str) -> Iterator[dict[str, Any]]:
    from tensorflow_datasets.proto import tf_example_pb2

    for name in built.splits[split].shard_names("digit", "tfrecord"):
        for record in read_records(built.path / name):
            feature = tf_example_pb2.Example.FromString(record).features.feature
            yield {
                "audio": np.array(feature["audio"].int64_list.value),
                "label": feature["label"].int64_list.value[0],
                "user": feature["user"].bytes_list.value[0].decode(),
                "filename": feature["filename"].bytes_list.value[0].decode(),
            }


def _bytes(built: BuiltDataset) -> dict[str, bytes]:
    return {name: (built.path / name).read_bytes() for name in built.files}


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real recordings are not at {REAL}")
def test_the_real_source_gives_what_wave_reads(build_digit: Build) -> None:
    built = build_digit(REAL.parent)
    seen = set()
    with zipfile.ZipFile(REAL) as archive:
        for split, count in (("train", 1350), ("test", 150)):
            examples = list(_examples(built, split))
            assert len(examples) == built.splits[split].examples == count
            for example in examples:
                name = example["filename"]
                content = archive.read(f"{TREE}/recordings/{name}")
                with wave.open(io.BytesIO(content)) as recording:
                    frames = recording.readframes(recording.getnframes())
                assert np.array_equal(example["audio"], np.frombuffer(frames, "<i2"))
                digit, user, number = re.fullmatch(r"(\d)_(\w+)_(\d+)\.wav", name).groups()  # type: ignore[union-attr]
                assert (example["label"], example["user"]) == (int(digit), user)
                assert (int(number) < 5) == (split == "test")
                seen.add(name)
    assert len(seen) == 1500


def test_all_forms_of_the_source_give_the_same_files(
    build_digit: Build, source: Path, tmp_path: Path
) -> None:
    tree = source / TREE
    forms = {name: tmp_path / name for name in ("zip", "tar", "tree", "bare tree of ä")}
    for folder in forms.values():
        folder.mkdir()
    shutil.make_archive(str(forms["zip"] / TREE), "zip", source, TREE)
    shutil.make_archive(str(forms["tar"] / TREE), "gztar", source, TREE)
    (forms["tree"] / TREE).symlink_to(tree)
    shutil.copytree(tree / "recordings", forms["bare tree of ä"] / "recordings")
    built = [_bytes(build_digit(folder)) for folder in forms.values()]
    assert built[0] == built[1] == built[2] == built[3]


def test_a_missing_recording_is_named(build_digit: Build, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "manual")
    recordings = tmp_path / "manual" / TREE / "recordings"
    (recordings / "3_theo_17.wav").unlink()
    with pytest.raises(DsmanagerError, match=r"lacks recordings/3_theo_17\.wav$"):
        build_digit(tmp_path / "manual")
    (recordings / "4_theo_17.wav").unlink()
    with pytest.raises(DsmanagerError, match=r"lacks recordings/3_theo_17\.wav and 1 more"):
        build_digit(tmp_path / "manual")


def test_a_recording_in_another_form_is_named(
    build_digit: Build, source: Path, tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "manual")
    with wave.open(str(tmp_path / "manual" / TREE / "recordings" / "3_theo_17.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(400))
    with pytest.raises(DsmanagerError, match=r"3_theo_17\.wav is not mono"):
        build_digit(tmp_path / "manual")


def test_armorys_archive_is_accepted_by_its_checksum_only(
    build_digit: Build, source: Path, tmp_path: Path
) -> None:
    manual = tmp_path / "manual"
    manual.mkdir()
    with tarfile.open(manual / "digit-1.0.8.tar.gz", "w:gz") as tar:
        tar.add(source / TREE / "recordings", "recordings")
    with pytest.raises(VerificationError, match="046bb9a7b30cef1a"):
        build_digit(manual)


def test_the_builder_describes_itself_as_armory_has_it() -> None:
    description = describe(find_builder("digit"), cancel=CancelToken())
    assert str(description.ref()) == "digit:1.0.8"
    assert description.license == "CC BY-SA 4.0"
    assert "digit-1.0.8.tar.gz" in description.manual_instructions


def test_features_are_armorys(build_digit: Build, source: Path) -> None:
    built = build_digit(source)
    features = built.features["featuresDict"]["features"]
    assert set(features) == {"audio", "label", "user", "filename"}
    assert features["audio"]["audio"]["dtype"] == "int64"
    assert (built.path / "label.labels.txt").read_text().split() == list("0123456789")


def test_the_synthetic_source_is_the_same_every_time(tmp_path: Path, source: Path) -> None:
    again = make_digit_source(tmp_path / "again")
    names = sorted(path.name for path in (source / TREE / "recordings").iterdir())
    assert len(names) == 1500
    for name in names[::97]:
        one, two = (folder / TREE / "recordings" / name for folder in (source, again))
        assert one.read_bytes() == two.read_bytes()
        with wave.open(str(one)) as recording:
            assert recording.getparams()[:3] == (1, 2, 8000)
            assert 1148 <= recording.getnframes() < 1500
