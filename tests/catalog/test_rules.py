"""The rules that a builder's text can break: nothing of it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmanager.catalog.findings import Finding
from dsmanager.catalog.rules import definition_lines, findings_in_text, suspects_at
from dsmanager.errors import NotFoundError

CODE = """\
import tensorflow_datasets as tfds
raise SystemExit('imported')


class {}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("{}")

    def _info(self):
        pass
"""


def _write(path: Path, cls: str, version: str = "1.0.0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CODE.format(cls, version))
    return path


def _only(file: Path, *folders: Path) -> Finding:
    (finding,) = findings_in_text(file, folders)
    return finding


@pytest.mark.parametrize(
    ("relative", "cls"),
    [
        ("my_words.py", "MyWords"),
        ("my_words/my_words.py", "MyWords"),
        ("my_words/my_words_dataset_builder.py", "Builder"),
    ],
)
def test_every_layout_keeps_the_rules(tmp_path: Path, relative: str, cls: str) -> None:
    assert findings_in_text(_write(tmp_path / relative, cls), ()) == []


@pytest.mark.parametrize(
    ("relative", "cls", "text"),
    [
        ("MyWords.py", "MyWords", "not in snake_case"),
        ("my-words.py", "MyWords", "not in snake_case"),
        ("my_words.py", "Words", "defines Words ('words')"),
        ("cache.py", "Cache", "another meaning"),
        ("downloads/downloads.py", "Downloads", "another meaning"),
    ],
)
def test_names_that_do_not_fit_are_told(tmp_path: Path, relative: str, cls: str, text: str) -> None:
    finding = _only(_write(tmp_path / relative, cls))
    assert (finding.severity, finding.rule) == ("error", "name")
    assert text in finding.message


def test_a_builder_of_the_newer_form_in_another_folder_is_a_warning(tmp_path: Path) -> None:
    finding = _only(_write(tmp_path / "other" / "x_dataset_builder.py", "Builder"))
    assert (finding.severity, finding.rule) == ("warning", "name")


@pytest.mark.parametrize("version", ["1.0", "1", "v1.0.0", "1.0.x", "01.0.0", "1.0.0-beta", ""])
def test_a_version_that_is_not_semver_is_told_with_its_line(tmp_path: Path, version: str) -> None:
    finding = _only(_write(tmp_path / "my_words.py", "MyWords", version))
    assert (finding.rule, finding.line) == ("version", 6)


def test_the_versions_of_configs_are_looked_at_too(tmp_path: Path) -> None:
    file = _write(tmp_path / "my_words.py", "MyWords")
    more = "    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='a', version='2')]\n"
    file.write_text(file.read_text() + more)
    assert _only(file).message.startswith("'2' is no version")


def test_what_is_no_python_is_told_alone_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "Broken.py"
    file.write_text("import os\ndef (\n")
    finding = _only(file)
    assert (finding.rule, finding.line) == ("python", 2)


def test_a_name_of_the_catalogue_of_tfds_or_of_the_users_folders_clashes(tmp_path: Path) -> None:
    assert "TFDS has" in _only(_write(tmp_path / "glue.py", "Glue")).message
    assert "the catalogue has" in _only(_write(tmp_path / "digit.py", "Digit")).message
    mine = _write(tmp_path / "mine" / "my_words.py", "MyWords")
    assert findings_in_text(mine, [mine.parent]) == [], "its own folder is no clash"
    other = _write(tmp_path / "other" / "my_words.py", "MyWords")
    finding = _only(other, mine.parent)
    assert finding.rule == "clash"
    assert str(mine) in finding.message


def test_our_catalogue_may_take_the_place_of_tfds() -> None:
    catalogue = Path(__file__).parents[2] / "builders"
    for file in suspects_at(catalogue):
        assert findings_in_text(file, ()) == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("https://a.org/x 12", "a line holds"),
        (f"https://a.org/x\tmany\t{'0' * 64}\tx", "is no number: 'many'"),
        (f"https://a.org/x\t12\t{'0' * 63}\tx", "has not 64 hexadecimal digits"),
        (f"https://a.org/good\t12\t{'0' * 64}\tx", "has two lines"),
    ],
)
def test_a_line_of_checksums_that_says_nothing_is_told(
    tmp_path: Path, line: str, text: str
) -> None:
    file = _write(tmp_path / "my_words.py", "MyWords")
    good = f"https://a.org/good\t1\t{'a' * 64}\tgood"
    (tmp_path / "checksums.tsv").write_text(f"# sources\n\n{good}\n{line}\n")
    finding = _only(file)
    assert (finding.rule, finding.file.name, finding.line) == ("checksums", "checksums.tsv", 4)
    assert text in finding.message


def test_older_lines_of_checksums_with_spaces_are_good(tmp_path: Path) -> None:
    file = _write(tmp_path / "my_words.py", "MyWords")
    (tmp_path / "checksums.tsv").write_text(f"https://a.org/with space 12 {'0' * 64}\n")
    assert findings_in_text(file, ()) == []


def test_lines_are_those_of_the_builders_class(tmp_path: Path) -> None:
    file = _write(tmp_path / "my_words.py", "MyWords")
    assert definition_lines(file) == {"": 5, "VERSION": 6, "_info": 8}
    file.write_text("x = (")
    assert definition_lines(file) == {}


def test_a_folder_means_each_builder_in_it_the_broken_ones_too(tmp_path: Path) -> None:
    _write(tmp_path / "standard" / "one" / "one.py", "One")
    _write(tmp_path / "adversarial" / "two" / "two_dataset_builder.py", "Builder")
    _write(tmp_path / "three.py", "Thre")
    (tmp_path / "broken.py").write_text("class (")
    (tmp_path / "helpers.py").write_text("class Helper(dict):\n    pass\n")
    (tmp_path / "base.py").write_text(
        "class MyBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):\n    pass\n"
    )
    _write(tmp_path / "three_test.py", "ThreeTest")
    (tmp_path / "__init__.py").touch()
    found = {file.name for file in suspects_at(tmp_path)}
    assert found == {"one.py", "two_dataset_builder.py", "three.py", "broken.py"}
    assert [file.name for file in suspects_at(tmp_path / "standard" / "one")] == ["one.py"]
    with pytest.raises(NotFoundError, match="does not exist"):
        suspects_at(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="holds no builder"):
        suspects_at(tmp_path / "empty")
