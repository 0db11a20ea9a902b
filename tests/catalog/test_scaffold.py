"""``dsmanager new``: names, folders, and that what it makes builds at once without network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.catalog import scaffold as scaffolding
from dsmanager.catalog.find import builders_at
from dsmanager.catalog.scaffold import check_name, scaffold
from dsmanager.cli.main import main
from dsmanager.errors import AlreadyExistsError, ExitCode, UsageError


@pytest.mark.parametrize(
    "name",
    [
        *["", "Words", "my-words", "9x", "_x", "x_", "x__y", "x y", "x.y", "a/b", "../x", "é"],
        *["class", "cache", "downloads", "test", "x_test", "x_dataset_builder", "x_test_test"],
        *["mnist", "digit", "\x1b[31m", "x" * 101],
    ],
)
def test_a_bad_name_is_refused_with_one_that_would_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        scaffold(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
    check_name(str(refused.value.hint).rpartition(" ")[2])


@settings(deadline=None, max_examples=25)
@given(st.from_regex(scaffolding._NAME, fullmatch=True).filter(lambda name: len(name) < 60))
def test_any_good_name_gives_a_builder_that_is_found_by_it(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    try:
        check_name(name)
    except UsageError:
        return
    made = scaffold(name, tmp_path_factory.mktemp("scaffold"))
    for path in (made.folder, made.builder):
        (source,) = builders_at(path)
        assert source.name == name
    for path in made.files:
        if path.suffix == ".py":
            compile(path.read_text(), path.name, "exec")


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    for name, make in (("words", Path.mkdir), ("texts", Path.touch)):
        make(tmp_path / name)
        with pytest.raises(AlreadyExistsError):
            scaffold(name, tmp_path)
    (tmp_path / "links").symlink_to(tmp_path / "nowhere")
    with pytest.raises(AlreadyExistsError):
        scaffold("links", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["links", "texts", "words"]
    assert list((tmp_path / "words").iterdir()) == []


def test_new_says_what_it_made_and_exits_as_documented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSMANAGER_DATA_DIR", str(tmp_path / "data"))
    assert main(["new", "my_words", "--json"]) == ExitCode.DONE
    (row,) = json.loads(capsys.readouterr().out)["data"]
    assert row["builder"] == str(tmp_path / "my_words" / "my_words.py")
    assert all(Path(path).is_file() for path in row["files"])
    assert main(["new", "my_words"]) == ExitCode.ALREADY_EXISTS
    assert main(["new", "My Words"]) == ExitCode.USAGE
    assert main(["new", "others", "--read-only"]) == ExitCode.USAGE
    assert main(["new", "others", "--dir", str(tmp_path / "deep" / "er")]) == ExitCode.DONE
    assert (tmp_path / "deep" / "er" / "others" / "others.py").is_file()


def test_what_new_makes_builds_at_once_and_passes_its_own_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network (no proxy is reached) and where importing TensorFlow fails."""
    poisoned = tmp_path / "without" / "tensorflow"
    poisoned.mkdir(parents=True)
    (poisoned / "__init__.py").write_text("raise ImportError('TensorFlow was imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(poisoned.parent))
    monkeypatch.setenv("DSMANAGER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DSMANAGER_STATE_DIR", str(tmp_path / "state"))
    for key in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(key, "http://127.0.0.1:9")
    made = scaffold("x_1", tmp_path)  # no class name alone gives this name
    command = [sys.executable, "-m", "dsmanager", "build", "--path", str(made.builder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "x_1" / "1.0.0" / "dataset_info.json").is_file()
    test = [sys.executable, "-m", "unittest", "x_1_test"]
    done = subprocess.run(test, cwd=made.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
