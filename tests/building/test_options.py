"""What ``build`` can be told: through the library, and through the command line."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Zygote

from dsmanager.built import BuiltDataset
from dsmanager.cli.arguments import normalised
from dsmanager.errors import AlreadyExistsError, VerificationError
from dsmanager.library.building import BuildResult
from dsmanager.library.library import Library

Write = Callable[..., Path]
Command = Callable[..., subprocess.CompletedProcess[str]]
DOWNLOADING = {
    "features": "{'text': tfds.features.Text()}",
    "splits": "{'train': self._generate_examples(dl_manager.download(URL))}",
    "body": "yield 0, {'text': dl_manager.read_text()}",
}


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BuildResult]:
    monkeypatch.setenv("DSMANAGER_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("DSMANAGER_STATE_DIR", str(tmp_path / "state"))
    library = Library(data_dir=tmp_path / "data")

    def run(home: Path, **options: Any) -> BuildResult:
        return library.build(home.name, path=home, **options)[0]

    return run


@pytest.fixture
def command(tmp_path: Path, zygote: Zygote) -> Command:
    """Runs dsmanager, which fetches nothing from anywhere."""
    machine = zygote.new_machine(tmp_path / "machine")
    machine.extra["https_proxy"] = "http://127.0.0.1:9"
    return functools.partial(machine.run, code=None)


def test_checksums_are_registered_beside_the_builder(
    build: Any, write_builder: Write, server: Any
) -> None:
    server.files["/a.txt"] = b"content"
    home = write_builder(top=f"URL = '{server.url}/a.txt'", checksums="", **DOWNLOADING)
    build(home, register_checksums=True)
    (line,) = (home / "checksums.tsv").read_text().splitlines()
    assert line.split("\t")[:2] == [f"{server.url}/a.txt", "7"]
    server.files["/a.txt"] = b"changed"
    with pytest.raises(VerificationError, match="is not what checksums"):
        build(home, clean=True)


def test_clean_drops_the_downloads_of_the_earlier_build(
    build: Any, write_builder: Write, server: Any, tmp_path: Path
) -> None:
    server.files |= {"/old.txt": b"old", "/new.txt": b"new", "/other.txt": b"other"}
    home = write_builder(top=f"URL = '{server.url}/old.txt'", **DOWNLOADING)
    build(home)
    other = write_builder(name="other", top=f"URL = '{server.url}/other.txt'", **DOWNLOADING)
    build(other)
    write_builder(top=f"URL = '{server.url}/new.txt'", **DOWNLOADING)
    build(home, clean=True)
    downloads = tmp_path / "data" / "downloads"
    kept = [path.read_bytes() for path in downloads.rglob("*") if path.is_file()]
    assert b"new" in kept
    assert b"other" in kept
    assert b"old" not in kept


def test_a_number_of_examples_counts_as_that_build_only(build: Any, write_builder: Write) -> None:
    home = write_builder(body="for i in range(50):\n    yield i, {'x': i}")
    first = build(home, max_examples=10)
    assert (first.examples, first.was_built) == (10, False)
    assert build(home, max_examples=10).was_built
    whole = build(home)
    assert (whole.examples, whole.was_built) == (50, False)
    assert "max_examples" not in BuiltDataset(whole.ref, whole.path).provenance


def test_another_format_needs_clean(build: Any, write_builder: Write) -> None:
    home = write_builder()
    build(home)
    assert build(home, file_format="tfrecord").was_built
    with pytest.raises(AlreadyExistsError, match="built as tfrecord already"):
        build(home, file_format="array_record")
    pytest.importorskip("array_record", reason="array_record is for Linux only")
    assert not build(home, file_format="array_record", clean=True).was_built


def test_all_goes_on_after_a_failure_and_ends_with_a_table(
    command: Command, write_builder: Write
) -> None:
    home = write_builder(name="first")
    write_builder(name="broken", body="raise KeyError('oh')\nyield")
    write_builder(name="third", body="for i in range(1500):\n    yield i, {'x': i}")
    done = command("build", "--all", "--path", str(home.parent))
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    start = lines.index(next(line for line in lines if line.split()[:2] == ["ref", "outcome"]))
    table = [line.split() for line in lines[start + 1 : start + 4]]
    assert [row[:3] for row in table[:2]] == [
        ["first:1.0.0", "built", "1"],
        ["third:1.0.0", "built", "1,500"],
    ]
    assert table[2][:2] == ["broken:1.0.0", "failed"]
    assert "KeyError: 'oh'" in lines[start + 3]


def test_all_means_the_catalogue_and_the_users_folders(
    command: Command, write_builder: Write, tmp_path: Path
) -> None:
    home = write_builder(name="mine")
    (tmp_path / "machine" / "config.toml").write_text(f'builders = ["{home.parent}"]\n')
    done = command("build", "--all", "--manual-dir", str(tmp_path / "none"), "--json")
    answer = json.loads(done.stdout)
    assert [row["ref"] for row in answer["data"]] == ["mine:1.0.0"]
    refs = {error["ref"] for error in answer["errors"]}
    assert {"imagenet2012:5.1.0"} <= refs
    assert not any(ref.startswith("mnist") for ref in refs)


@pytest.mark.parametrize(
    "arguments",
    [("--all", "digit"), ("digit", "--format", "parquet"), ("digit", "--workers", "0"), ()],
)
def test_requests_that_mean_nothing_are_usage_errors(
    command: Command, arguments: tuple[str, ...]
) -> None:
    assert command("build", *arguments).returncode == 2


def test_armorys_spellings_mean_the_same() -> None:
    assert normalised(["build", "-ds", "all", "--json"]) == ["--json", "build", "--all"]
    assert normalised(["build", "-ds", "a", "all"]) == ["build", "a", "all"]


def test_armorys_spelling_registers_checksums(command: Command, write_builder: Write) -> None:
    home = write_builder(checksums="")
    done = command("build", "-lcs", str(home), "--register_checksums")
    assert done.returncode == 0, done.stderr


def test_what_has_no_use_for_a_cluster_or_beam_ends_with_2(
    command: Command, write_builder: Write
) -> None:
    home = str(write_builder())
    for options, said in (
        (("--cluster", "here"), "no address of a Dask scheduler"),
        (("--cluster", "tcp://127.0.0.1:1"), "sample has no partitions"),
        (("--beam-option", "--runner=x"), "no option of a Beam pipeline"),
        (("--beam-option", "runner=x", "--beam-option", "y"), "uses no Beam"),
    ):
        done = command("build", "--path", home, *options)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
