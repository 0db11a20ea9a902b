"""Names to builders: order, layouts, near names, broken files; nothing is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dsmanager.catalog.find import available, builders_at, find_builder, name_of_path
from dsmanager.catalog.scan import snake_case
from dsmanager.catalog.tfds import tfds_builders
from dsmanager.errors import NotFoundError, UsageError

CODE = (
    "import tensorflow_datasets as tfds\nraise SystemExit('imported')\nclass {}(Base):\n    pass\n"
)


def _write(path: Path, cls: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CODE.format(cls))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One builder in each layout, and what is none."""
    home = tmp_path / "mine"
    _write(home / "newer" / "newer_dataset_builder.py", "Builder")
    _write(home / "older" / "older.py", "Older")
    _write(home / "plain_file.py", "PlainFile")
    _write(home / "adversarial" / "attack" / "attack.py", "Attack")
    _write(home / "helpers.py", "SomethingElse")
    (home / "broken.py").write_text("class Broken(Base:\n")
    (home / "notes").mkdir()
    (home / "__pycache__").mkdir()
    return home


def test_every_layout_is_found(folder: Path) -> None:
    found = {source.name: source.origin for source in available([folder])}
    assert {name for name, origin in found.items() if origin == "folder"} == {
        "attack",
        "newer",
        "older",
        "plain_file",
    }
    assert found["digit"] == "catalogue"
    assert found["cifar10"] == "tfds"


def test_path_comes_before_folders_before_catalogue_before_tfds(tmp_path: Path) -> None:
    folder, path = tmp_path / "folder", tmp_path / "path"
    assert find_builder("digit").origin == "catalogue"
    assert find_builder("mnist").origin == "tfds"
    for name, cls in (("digit", "Digit"), ("mnist", "Mnist")):
        _write(folder / name / f"{name}.py", cls)
        _write(path / name / f"{name}.py", cls)
        assert find_builder(name, folders=[folder]).origin == "folder"
        chosen = find_builder(name, folders=[folder], path=path / name)
        assert (chosen.origin, chosen.file) == ("path", path / name / f"{name}.py")
    assert find_builder("tfds:mnist", folders=[folder]).origin == "tfds"


@pytest.mark.parametrize(
    ("relative", "name"),
    [
        ("newer", "newer"),
        ("newer/newer_dataset_builder.py", "newer"),
        ("older", "older"),
        ("older/older.py", "older"),
        ("plain_file.py", "plain_file"),
        ("adversarial", "attack"),
    ],
)
def test_path_takes_files_and_folders(folder: Path, relative: str, name: str) -> None:
    assert name_of_path(folder / relative) == name
    assert find_builder(name, path=folder / relative).origin == "path"


def test_a_path_with_several_builders_wants_a_name(folder: Path) -> None:
    assert [source.name for source in builders_at(folder)] == [
        "attack",
        "newer",
        "older",
        "plain_file",
    ]
    with pytest.raises(UsageError, match="several builders: attack, newer"):
        name_of_path(folder)
    assert find_builder("older", path=folder).file == folder / "older" / "older.py"


def test_a_name_that_a_path_does_not_hold_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds the builder of older, not of 'digit'"):
        find_builder("digit", path=folder / "older")


@pytest.mark.parametrize("name", ["digits", "tfds:cifar", "mnst"])
def test_an_unknown_name_is_answered_with_near_ones(name: str) -> None:
    with pytest.raises(NotFoundError, match="near names: ") as caught:
        find_builder(name)
    assert caught.value.hint == "see all of them: dsmanager list --available"


def test_a_hint_builds_what_was_found_as_it_was_found(folder: Path) -> None:
    by_name = find_builder("older", folders=[folder])
    assert by_name.reached_in("dsmanager build NAME/x --clean") == "dsmanager build older/x --clean"
    (by_path,) = builders_at(folder / "older")
    file = folder / "older" / "older.py"
    reached = f"dsmanager build older --path {file}"
    assert by_path.reached_in("see: dsmanager build NAME --clean") == f"see: {reached} --clean"
    assert by_path.reached_in("dsmanager build older") == reached
    of_config = f"dsmanager build older/big:1.0.0 --path {file}"
    assert by_path.reached_in("dsmanager build older/big:1.0.0") == of_config
    for other in ("dsmanager build older-s", "dsmanager build --path PATH", "dsmanager list older"):
        assert by_path.reached_in(other) == other
    mnist = find_builder("mnist")
    assert mnist.reached_in("dsmanager build NAME, then") == "dsmanager build tfds:mnist, then"


def test_our_catalogue_is_not_reached_through_tfds() -> None:
    with pytest.raises(NotFoundError):
        find_builder("tfds:digit")


def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\nclass Bad(Base:\n")
    with pytest.raises(UsageError, match=r"bad\.py, line 2: this is no valid Python"):
        builders_at(tmp_path / "bad.py")
    (tmp_path / "nul.py").write_bytes(b"x = '\0'")
    with pytest.raises(UsageError, match=r"nul\.py.*no valid Python"):
        builders_at(tmp_path / "nul.py")


def test_a_class_that_does_not_fit_its_file_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "mine.py", "Yours")
    with pytest.raises(UsageError, match="builder of 'mine', and defines yours") as caught:
        builders_at(tmp_path / "mine.py")
    assert "Mine" in (caught.value.hint or "")
    _write(tmp_path / "CamelCase.py", "CamelCase")
    with pytest.raises(UsageError, match="snake_case"):
        builders_at(tmp_path / "CamelCase.py")


def test_paths_that_hold_nothing_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no builder"):
        builders_at(tmp_path)
    with pytest.raises(NotFoundError, match="does not exist"):
        builders_at(tmp_path / "nowhere")
    assert "digit" in {source.name for source in available([tmp_path / "nowhere"])}


def test_a_name_given_in_the_class_counts(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Any(Base):\n    name = 'mine'\n")
    assert name_of_path(tmp_path / "mine.py") == "mine"


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        ("Digit", "digit"),
        ("GermanTrafficSign", "german_traffic_sign"),
        ("MNIST", "mnist"),
        ("Cifar10_1", "cifar10_1"),
        ("RoboAiUR5e", "robo_ai_u_r5e"),
    ],
)
def test_class_names_become_tfds_names(cls: str, name: str) -> None:
    from tensorflow_datasets.core import naming

    assert snake_case(cls) == naming.camelcase_to_snakecase(cls) == name


def test_names_of_tfds_are_those_of_its_registry() -> None:
    script = (
        "from tensorflow_datasets.core import registered\n"
        "print('\\n'.join(registered.list_imported_builders()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert list(tfds_builders()) == done.stdout.split()
    assert all(path.is_file() for path in tfds_builders().values())


def test_finding_imports_neither_tfds_nor_numpy() -> None:
    script = (
        "import sys\n"
        "from dsmanager.catalog.find import available\n"
        "import dsmanager.building.run\n"
        "assert len(available()) > 400\n"
        "heavy = {'tensorflow_datasets', 'numpy', 'tensorflow', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
