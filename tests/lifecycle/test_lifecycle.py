"""One dataset through its whole life, with real processes and a real S3 server."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import pytest

ARCHIVE = "tiny__1.0.0__cache.tar.gz"
SHARED = Path(__file__).parents[3] / "shared" / "data"
DIGIT_ZIP = SHARED / "free-spoken-digit-dataset-1.0.8.zip"

needs_digit = pytest.mark.skipif(
    not DIGIT_ZIP.exists(), reason="the real digit source is not at ../shared/data"
)


def test_a_dataset_lives_from_build_to_load_on_another_machine(
    built_machine, other_machine, remote_config
):
    built_machine.use(remote_config)
    other_machine.use(remote_config)

    packed = built_machine.json("package", "tiny")["data"][0]
    archive = Path(packed["path"])
    assert packed["outcome"] == "packaged"
    assert packed["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert built_machine.json("verify", "tiny")["data"][0]["against"] == [
        "the manifest",
        "the sidecar",
    ]
    sent = built_machine.json("upload", "tiny")["data"][0]
    assert sent["outcome"] == "uploaded"
    assert built_machine.row("tiny:1.0.0")["state"] == "ok"
    assert built_machine.json("upload", "tiny")["data"][0]["outcome"] == "unchanged"

    fetched = other_machine.json("download", "tiny")["data"][0]
    assert fetched["sha256"] == packed["sha256"]
    assert fetched["verified"] is True
    assert other_machine.json("download", "tiny")["data"][0]["outcome"] == "unchanged"
    other_machine.run("extract", "tiny")
    loaded = other_machine.json("load", "tiny", "--take", "1")["data"]
    assert {row["split"]: row["examples"] for row in loaded} == {"train": 300, "test": 20}
    assert set(loaded[0]["first"][0]) == {"number", "word"}
    row = other_machine.row("tiny:1.0.0")
    assert row["state"] == "not-recorded"
    assert row["remote"]["sha256"] == row["cached"]["sha256"] == packed["sha256"]
    for machine in (built_machine, other_machine):
        assert machine.leftovers() == []


def test_load_fetches_what_is_not_here(built_machine, other_machine, remote_config):
    for machine in (built_machine, other_machine):
        machine.use(remote_config)
    (published,) = built_machine.library.publish("tiny")
    info, splits = other_machine.library.load("tiny", framework="numpy")
    assert info.splits["train"].num_examples == len(splits["train"]) == 300
    first = next(iter(splits["test"]))
    assert first["word"] == f"word {first['number']} ".encode() * 100
    assert published.uploaded.url.endswith(ARCHIVE)
    assert (other_machine.cache / ARCHIVE).exists()


def test_the_same_source_gives_the_same_archive_anywhere(
    machine, other_machine, builders, tmp_path
):
    """Different folders, one with a space and a letter beyond ASCII; different times."""
    elsewhere = tmp_path / "büilders of mine"
    shutil.copytree(builders, elsewhere)
    hashes = set()
    for each, folder in ((machine, builders), (other_machine, elsewhere)):
        each.run("build", "--path", str(folder / "tiny"))
        hashes.add(each.json("package", "tiny")["data"][0]["sha256"])
    assert len(hashes) == 1


def test_the_archive_is_an_ordinary_tar(built_machine, tmp_path):
    built_machine.run("package", "tiny")
    archive = built_machine.cache / ARCHIVE
    if shutil.which("tar"):
        listed = subprocess.run(
            ["tar", "tzf", str(archive)], capture_output=True, text=True, check=True
        )
        assert "tiny/1.0.0/dataset_info.json" in listed.stdout.splitlines()
        subprocess.run(["tar", "xzf", str(archive), "-C", str(tmp_path)], check=True)
        assert _files(tmp_path / "tiny") == _files(built_machine.data_dir / "tiny")
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert {member.mtime for member in members} == {0}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}


@pytest.mark.parametrize("compression", ["gz", "zst", "none"])
def test_every_compression_comes_back(built_machine, compression):
    before = _files(built_machine.data_dir / "tiny")
    built_machine.run("package", "tiny", "--compression", compression)
    shutil.rmtree(built_machine.data_dir / "tiny")
    built_machine.run("extract", "tiny")
    assert _files(built_machine.data_dir / "tiny") == before


def test_configs_are_packed_apart_and_together(built_machine):
    packed = built_machine.json("package", "several")["data"]
    assert [row["ref"] for row in packed] == ["several/all:2.1.0", "several/rgb:2.1.0"]
    together = built_machine.json("package", "several", "--together")["data"]
    assert [row["ref"] for row in together] == ["several:2.1.0"]
    assert built_machine.row("several:2.1.0")["state"] == "ok"
    shutil.rmtree(built_machine.data_dir / "several")
    built_machine.run("extract", "several:2.1.0")
    assert (built_machine.data_dir / "several/.config/metadata.json").exists()
    loaded = built_machine.json("load", "several/all")["data"]
    assert [row["examples"] for row in loaded] == [5]


def test_clean_builds_afresh_and_a_built_one_is_left_alone(built_machine, builders):
    path = str(builders / "tiny")
    marker = built_machine.data_dir / "tiny/1.0.0/mine.txt"
    marker.write_text("mine")
    again = built_machine.json("build", "tiny", "--path", path)["data"][0]
    assert again["outcome"] == "unchanged"
    assert marker.exists()
    clean = built_machine.json("build", "tiny", "--path", path, "--clean")["data"][0]
    assert clean["outcome"] == "built"
    assert not marker.exists()
    assert built_machine.leftovers() == []


@needs_digit
def test_digit_from_its_real_source_holds_every_recording(machine):
    machine.run("build", "digit", "--manual-dir", str(SHARED))
    info, splits = machine.library.load("digit", framework="numpy")
    assert {name: len(split) for name, split in splits.items()} == {"train": 1350, "test": 150}
    names = info.features["label"].names
    seen = set()
    with zipfile.ZipFile(DIGIT_ZIP) as source:
        for split, examples in splits.items():
            for example in examples:
                name = example["filename"].decode()
                digit, user, number = name.removesuffix(".wav").split("_")
                member = f"free-spoken-digit-dataset-1.0.8/recordings/{name}"
                with wave.open(io.BytesIO(source.read(member))) as recording:
                    samples = memoryview(recording.readframes(recording.getnframes())).cast("h")
                assert example["audio"].tolist() == samples.tolist()
                assert names[example["label"]] == digit
                assert example["user"].decode() == user
                assert (int(number) < 5) == (split == "test")
                seen.add(name)
    assert len(seen) == 1500


@needs_digit
def test_tensorflow_opens_digit_where_it_is_installed(machine):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    machine.run("build", "digit", "--manual-dir", str(SHARED))
    script = (
        "import sys, tensorflow_datasets as tfds\n"
        "builder = tfds.builder_from_directory(sys.argv[1])\n"
        "print({k: sum(1 for _ in v) for k, v in builder.as_dataset().items()})\n"
    )
    folder = str(machine.data_dir / "digit/1.0.8")
    done = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1].replace("'", '"')) == {
        "train": 1350,
        "test": 150,
    }


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
