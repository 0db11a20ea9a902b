"""``dsmanager convert`` of ImageNet, as a shell runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import SYNSETS, Ilsvrc, contents, photo


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, envelope and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "dsmanager", "--json", "convert", *arguments],
        cwd=folder,
        env=os.environ | {"DSMANAGER_STATE_DIR": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_conversion_and_its_row(tars: Path, tmp_path: Path) -> None:
    code, envelope, said = run(tmp_path, str(tars), "out", "--to", "slim", "--workers", "2")
    assert code == 0, said
    (row,) = envelope["data"]
    assert (envelope["command"], row["outcome"]) == ("convert", "converted")
    assert row["path"] == str(tmp_path / "out")
    assert row["splits"]["train"]["images"] == 24
    assert row["splits"]["validation"]["shards"] == 128
    assert row["fixed"]["PNG"] == ["n02105855_4.JPEG"]
    assert "warning: image/class/text is empty" in said
    assert len(contents(tmp_path / "out")) == 1152
    code, envelope, _ = run(tmp_path, str(tars), "out", "--to", "slim")
    assert (code, envelope["errors"][0]["code"]) == (7, "already-exists")


def test_a_bad_image_by_exit_code_and_name(tmp_path: Path) -> None:
    made = Ilsvrc({SYNSETS[0]: {"good.JPEG": photo(1), "bad.JPEG": b"bad"}})
    made.write_tars(tmp_path / "in")
    wanted = ("in", "out", "--to", "tpu", "--only", "train")
    code, envelope, _ = run(tmp_path, *wanted)
    assert code == 4
    assert "bad.JPEG" in envelope["errors"][0]["message"]
    code, envelope, said = run(tmp_path, *wanted, "--skip-bad")
    assert (code, list(envelope["data"][0]["skipped"])) == (0, ["bad.JPEG"])
    assert "left out: bad.JPEG: it has no JPEG header" in said


def test_paths_of_options_are_found_as_those_of_arguments_are(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves the ~ in --option=~/file alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "words.txt").write_text("".join(f"{synset} words\n" for synset in SYNSETS))
    (tmp_path / "boxes").mkdir()
    wanted = (str(tars), "~/out", "--to", "slim", "--only", "train")
    options = ("--synset-text=~/words.txt", "--annotations=~/boxes")
    code, envelope, said = run(tmp_path, *wanted, *options)
    assert code == 0, said
    (row,) = envelope["data"]
    assert row["warnings"] == [f"no image has an annotation in {tmp_path / 'boxes'}"]
    assert len(contents(tmp_path / "out")) == 1024


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("in", "out", "--to", "tpu"), 6),
        (("in", "in", "out", "--to", "tpu"), 2),
        (("in", "out", "--to", "tpu", "--synset-text", "words.txt"), 2),
        (("in", "out", "--to", "tfds", "--shards", "4"), 2),
        (("in", "out", "--only", "train"), 2),
        (("in", "out", "--to", "tpu", "--only", "test"), 2),
        (("in", "out", "--to", "imagenet"), 2),
        (("nowhere", "out", "--to", "tpu"), 6),
        (("~nobody-of-this-name/in", "out", "--to", "tpu"), 6),
        (("file", "out", "--to", "tpu"), 6),
        (("in", "file", "--to", "tpu", "--overwrite"), 2),
        (("in", "file", "--to", "slim"), 2),
        (("in", "file", "--to", "tfds"), 2),
        (("in",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_cannot_be_asked_for(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_text("mine")
    found, envelope, _ = run(tmp_path, *arguments)
    assert found == code
    (error,) = envelope["errors"]
    assert error["message"]
    assert error["hint"]
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "file").read_text() == "mine"
