"""``check``: the rules that take running a builder, what a trial is made from, what is left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.building.checking import CheckResult, check
from dsmanager.catalog.scaffold import scaffold
from dsmanager.demo.source import make_digit_source
from dsmanager.errors import CancelledError
from dsmanager.progress import CancelToken, Progress

pytestmark = pytest.mark.usefixtures("no_tensorflow")
Write = Callable[..., Path]
Check = Callable[..., CheckResult]
CATALOGUE = Path(__file__).parents[2] / "builders"
ARCHIVE = {
    "features": "{'text': tfds.features.Text()}",
    "splits": "{'train': self._generate_examples(dl_manager.download_and_extract(URL))}",
    "body": "yield 0, {'text': (dl_manager / 'a.txt').read_text()}",
    "top": "URL = 'https://example.org/a.zip'",
}


@pytest.fixture
def run(tmp_path: Path) -> Check:
    def run(file: Path, **options: Any) -> CheckResult:
        places = {"download_dir": tmp_path / "downloads", "log_path": tmp_path / "log" / "log.txt"}
        means = {"progress": Progress(), "cancel": CancelToken()}
        return check(file, **{**places, **means, **options})

    return run


def _file(home: Path) -> Path:
    return home / f"{home.name}.py"


def _rules(result: CheckResult) -> list[tuple[str, str]]:
    return [(each.severity, each.rule) for each in result.findings]


def _zip(path: Path) -> str:
    """Writes an archive with ``a.txt`` and returns its line of checksums.tsv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "content")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"https://example.org/a.zip\t{path.stat().st_size}\t{digest}\ta.zip\n"


def test_what_new_makes_passes_without_a_word(run: Check, tmp_path: Path) -> None:
    made = scaffold("x_1", tmp_path)  # no class name alone gives this name
    before = sorted(tmp_path.rglob("*"))
    result = run(made.builder)
    assert result.findings == ()
    assert result.tried == {"": {"train": 2, "test": 1}}
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [result.log.parent, result.log]


BROKEN = {
    "has no version": ({"extra": "VERSION = None"}, "version", "no VERSION"),
    "has no notes": ({"extra": "RELEASE_NOTES = {}"}, "release-notes", "nothing of version 1.0.0"),
    "does not import": ({"top": "import cv2_of_nobody"}, "import", "No module named 'cv2_of_n"),
    "has a foreign feature": (
        {"top": "class Mine(tfds.features.Text): pass", "features": "{'x': Mine()}"},
        "features",
        "Mine",
    ),
    "has an odd config": (
        {"extra": "BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='a b')]"},
        "config",
        "cannot be a config's name",
    ),
    "yields a wrong shape": (
        {"body": "yield 0, {'x': np.zeros(3, np.int64)}"},
        "trial",
        "does not match",
    ),
    "yields nothing": ({"body": "yield from ()"}, "trial", "split train: no examples"),
    "dies": ({"body": "import os; os._exit(7)\nyield"}, "trial", "ended with exit code 7"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_rule_is_one_finding_with_its_place(
    run: Check, write_builder: Write, what: str
) -> None:
    options, rule, text = BROKEN[what]
    file = _file(write_builder(**options))
    (finding,) = run(file).findings
    assert (finding.severity, finding.rule, finding.file) == ("error", rule, file)
    assert text in finding.message
    assert "\n" not in str(finding)
    if what != "dies":
        assert finding.line


def test_a_failure_is_placed_where_the_builder_was(run: Check, write_builder: Write) -> None:
    home = write_builder(top="from . import near", body="yield 0, {'x': near.wrong()}")
    (home / "near.py").write_text("import json\n\ndef wrong():\n    return json.loads('{')\n")
    (finding,) = run(_file(home)).findings
    assert (finding.file, finding.line) == (home / "near.py", 4)
    assert "JSONDecodeError" in finding.message


def test_classes_that_are_none_one_or_several(run: Check, write_builder: Write) -> None:
    home = write_builder()
    file = _file(home)
    code = file.read_text()
    again = code[code.index("class Sample") :].replace("class Sample", "class Other")
    file.write_text(code + again)
    (finding,) = run(file).findings
    assert finding.rule == "one-builder"
    assert "Sample, Other" in finding.message
    file.write_text(code.replace("_generate_examples(self, dl", "_generate(self, dl"))
    (finding,) = run(file).findings
    assert finding.rule == "one-builder"
    assert "Sample is not concrete: it lacks _generate_examples" in finding.message


def test_a_source_without_a_line_in_checksums_is_named(run: Check, write_builder: Write) -> None:
    result = run(_file(write_builder(**ARCHIVE)))
    assert _rules(result) == [("error", "checksums"), ("note", "trial")]
    error, note = result.findings
    assert "https://example.org/a.zip has no line in checksums.tsv" in error.message
    assert "its sources are not here (https://example.org/a.zip)" in note.message


def test_a_trial_is_made_from_what_lies_in_the_manual_folder(
    run: Check, write_builder: Write, tmp_path: Path
) -> None:
    line = _zip(tmp_path / "manual" / "a.zip")
    file = _file(write_builder(checksums=line, **ARCHIVE))
    assert _rules(run(file)) == [("note", "trial")]
    result = run(file, manual_dir=tmp_path / "manual")
    assert (result.findings, result.tried) == ((), {"": {"train": 1}})
    _zip(tmp_path / "manual" / "a.zip")
    with (tmp_path / "manual" / "a.zip").open("ab") as archive:
        archive.write(b"more")
    (finding,) = run(file, manual_dir=tmp_path / "manual").findings
    assert "is not what checksums.tsv records" in finding.message


def test_a_trial_is_made_from_kept_downloads_and_leaves_them_as_they_are(
    run: Check, bench: Any, write_builder: Write, server: Any, tmp_path: Path
) -> None:
    _zip(tmp_path / "a.zip")
    server.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    options = {**ARCHIVE, "top": f"URL = '{server.url}/a.zip'"}
    home = write_builder(checksums="", **options)
    bench.build(home, register_checksums=True)
    kept = sorted((bench.data_dir / "downloads").rglob("*"))
    assert kept
    result = run(_file(home), download_dir=bench.data_dir / "downloads")
    assert (result.findings, result.tried) == ((), {"": {"train": 1}})
    assert sorted((bench.data_dir / "downloads").rglob("*")) == kept
    assert server.requests == ["/a.zip"]


@pytest.mark.parametrize("form", ["archive", "unpacked"])
def test_dummy_data_stands_in_for_sources(
    run: Check, write_builder: Write, tmp_path: Path, form: str
) -> None:
    home = write_builder(checksums=_zip(tmp_path / "a.zip"), **ARCHIVE)
    (home / "dummy_data").mkdir()
    if form == "archive":
        _zip(home / "dummy_data" / "a.zip")
    else:
        (home / "dummy_data" / "a.txt").write_text("content")
    result = run(_file(home))
    assert (result.findings, result.tried) == ((), {"": {"train": 1}})


def test_dummy_data_of_another_form_is_a_note(
    run: Check, write_builder: Write, tmp_path: Path
) -> None:
    home = write_builder(checksums=_zip(tmp_path / "a.zip"), **ARCHIVE)
    (home / "dummy_data").mkdir()
    (finding,) = run(_file(home)).findings
    assert (finding.severity, finding.rule) == ("note", "trial")
    assert "dummy_data does not do instead: FileNotFoundError" in finding.message


def test_all_configs_are_tried_and_shards_cut_short(run: Check, tmp_path: Path) -> None:
    home = tmp_path / "parted"
    home.mkdir()
    _file(home).write_text(
        "import functools\n"
        "import itertools\n"
        "import numpy as np\n"
        "import tensorflow_datasets as tfds\n"
        "class Parted(tfds.core.ShardBasedBuilder):\n"
        "    VERSION = tfds.core.Version('1.0.0')\n"
        "    RELEASE_NOTES = {'1.0.0': 'First.'}\n"
        "    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=n) for n in ('a', 'b')]\n"
        "    def _info(self):\n"
        "        return tfds.core.DatasetInfo(builder=self,\n"
        "            features=tfds.features.FeaturesDict({'x': np.int64}))\n"
        "    def _shard_iterators_per_split(self, dl_manager):\n"
        "        return {'train': [self._part for _ in range(9)]}\n"
        "    def _part(self):\n"
        "        for i in itertools.count():\n"
        "            yield i, {'x': i}\n"
    )
    result = run(_file(home))
    assert result.findings == ()
    assert result.tried == {"a": {"train": 6}, "b": {"train": 6}}


def test_a_builder_that_imports_tensorflow_is_told_the_extra(
    run: Check, write_builder: Write
) -> None:
    (finding,) = run(_file(write_builder(top="import tensorflow as tf"))).findings
    assert finding.rule == "import"
    assert finding.hint == "install what the builder needs: pip install 'dsmanager[tf]'"


def test_a_check_is_cancelled(run: Check, write_builder: Write, tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        run(_file(write_builder()), cancel=cancel)
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["log.txt"]


def _command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {
        "DSMANAGER_CONFIG": str(tmp_path / "config.toml"),
        "DSMANAGER_STATE_DIR": str(tmp_path / "state"),
        "DSMANAGER_DATA_DIR": str(tmp_path / "data"),
    }
    return subprocess.run(
        [sys.executable, "-m", "dsmanager", "check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **places},
    )


def test_our_own_catalogue_passes_and_leaves_nothing(tmp_path: Path) -> None:
    manual = make_digit_source(tmp_path / "manual")
    done = _command(tmp_path, str(CATALOGUE), "--manual-dir", str(manual), "--json", "--read-only")
    assert done.returncode == 0, done.stdout
    assert {row["severity"] for row in json.loads(done.stdout)["data"]} <= {"note"}
    assert not (tmp_path / "data").exists()
    assert list((tmp_path / "state" / "logs").iterdir()) == []


def test_each_builder_of_a_folder_is_checked_and_told_in_one_line_a_finding(
    write_builder: Write, tmp_path: Path
) -> None:
    home = write_builder(name="good")
    folder = home.parent
    (folder / "unfinished.py").write_text("class (\n")
    (folder / "helpers.py").write_text("class Reader(dict):\n    pass\n")
    done = _command(tmp_path, str(folder))
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        f"{folder}/unfinished.py:1: error: python: this is no valid Python: invalid syntax"
    ]
    assert "good passes; a trial made 1 examples" in done.stderr
    answer = _command(tmp_path, str(folder / "unfinished.py"), "--json")
    assert answer.returncode == 1
    envelope = json.loads(answer.stdout)
    assert envelope["status"] == "error"
    (row,) = envelope["data"]
    assert row == {
        "builder": "unfinished",
        "severity": "error",
        "rule": "python",
        "message": "this is no valid Python: invalid syntax",
        "file": str(folder / "unfinished.py"),
        "line": 1,
        "hint": f"see where: python -m py_compile '{folder}/unfinished.py'",
    }
    assert _command(tmp_path, str(folder / "nothing")).returncode == 6
    assert _command(tmp_path).returncode == 2
