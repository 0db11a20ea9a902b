"""Invariants of the whole project: public names, imports that stay light, files that stay small."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dsmanager

ROOT = Path(__file__).parents[2]
MOST_LINES = 600
OURS = ("dsmanager", "screens", "builders", "tests", "benchmarks", "fuzz", "soak", "docs")
HEAVY = ("boto3", "botocore", "textual", "numpy", "tensorflow_datasets", "tensorflow")


def python_files() -> list[Path]:
    """Every Python file, once: the links in the package are looked at where they point."""
    found = [path for top in OURS for path in (ROOT / top).rglob("*.py")]
    linked = {ROOT / "dsmanager" / "screens", ROOT / "dsmanager" / "builders"}
    return [path for path in found if not linked & set(path.parents)]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def test_every_public_name_can_be_imported():
    for name in dsmanager.__all__:
        assert getattr(dsmanager, name) is not None
    assert sorted(dir(dsmanager)) == sorted(dsmanager.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dsmanager.nothing  # noqa: B018 - looking is the test


def test_nothing_imports_the_top_level_screens_or_builders():
    """They are parts of the package ``dsmanager``; the other way round they would load twice."""
    wrong = {
        str(path.relative_to(ROOT)): name
        for path in python_files()
        for name in imported(path)
        if name.split(".")[0] in ("screens", "builders")
    }
    assert not wrong


def test_no_module_is_long():
    lengths = {path: path.read_bytes().count(b"\n") for path in python_files()}
    assert len(lengths) > 100, "the files were found"
    assert not {path: length for path, length in lengths.items() if length > MOST_LINES}


def test_the_packages_links_lead_to_the_top_level_folders():
    for name in ("screens", "builders"):
        link = ROOT / "dsmanager" / name
        assert link.is_symlink()
        assert os.readlink(link) == f"../{name}"


PROBE = """
import json, sys
arguments = json.loads(sys.argv[1])
if arguments is None:
    import dsmanager
    code = 0
else:
    from dsmanager.cli.main import main
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code or 0
tops = {name.partition(".")[0] for name in sys.modules}
sys.stderr.write("\\n" + json.dumps([int(code), sorted(tops)]))
"""


@pytest.fixture
def modules_of(environment, tmp_path):
    """Runs a command in a process of its own; returns the top-level modules it loaded."""

    def run(arguments: list[str] | None) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, json.dumps(arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        code, tops = json.loads(done.stderr.splitlines()[-1])
        assert code == 0, done.stderr
        return set(tops)

    return run


def leaked(loaded: set[str], forbidden: tuple[str, ...] = HEAVY) -> list[str]:
    return sorted(loaded & set(forbidden))


def test_importing_dsmanager_loads_nothing_heavy(modules_of):
    loaded = modules_of(None)
    assert not leaked(loaded, (*HEAVY, "rich", "typer", "sqlite3", "platformdirs"))


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["--version"]])
def test_help_loads_neither_the_heavy_ones_nor_rich(modules_of, arguments):
    assert not leaked(modules_of(arguments), (*HEAVY, "rich"))


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["--json", "list"], ["config"], ["remote", "list"], ["manifest", "show"]],
    ids=" ".join,
)
def test_looking_at_an_empty_machine_loads_nothing_heavy(modules_of, arguments):
    assert not leaked(modules_of(arguments))


def test_verbs_on_built_data_load_nothing_heavy(modules_of, make_built, tmp_path):
    make_built(tmp_path / "data", "digit:1.0.8")
    commands = [
        ["list"],
        ["info", "digit"],
        ["verify", "digit"],
        ["verify", "digit", "--deep"],
        ["package", "digit"],
        ["verify", "digit"],
        ["manifest", "record", "digit"],
        ["extract", "digit", "--overwrite"],
        ["rm", "digit", "--from", "built", "--yes"],
        ["extract", "digit"],
    ]
    assert {" ".join(each): leaked(modules_of(each)) for each in commands} == {
        " ".join(each): [] for each in commands
    }
