"""kill -9 at many points of every verb: nothing damaged is listed as good, nothing good is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.errors import NotFoundError, VerificationError
from dsmanager.library.verification import verify
from dsmanager.progress import CancelToken, Progress

KILLER = Path(__file__).with_name("killer.py")
MOST_POINTS = 10
KILLED = -9


@dataclass(frozen=True)
class Verb:
    """A verb, the state that it starts from, and what its success looks like afterwards."""

    name: str
    arguments: tuple[str, ...]
    start: str
    ends_with: tuple[int, ...] = (0,)
    """Exit codes of the next run; 7 or 6 where the killed run had done its work already."""


VERBS = [
    Verb("build", ("build", "tiny", "--path", "{builders}/tiny"), "empty"),
    Verb("clean build", ("build", "tiny", "--path", "{builders}/tiny", "--clean"), "built"),
    Verb("package", ("package", "tiny"), "built", (0, 7)),
    Verb("package over", ("package", "tiny", "--overwrite"), "changed"),
    Verb("extract", ("extract", "tiny"), "cached", (0, 7)),
    Verb("extract over", ("extract", "tiny", "--overwrite"), "packaged"),
    Verb("upload", ("upload", "tiny"), "packaged"),
    Verb("download", ("download", "tiny"), "published"),
    Verb("download over", ("download", "tiny", "--overwrite"), "published other"),
    Verb("record", ("manifest", "record", "tiny"), "unrecorded"),
    Verb("rm built", ("rm", "tiny", "--from", "built", "--yes"), "packaged", (0, 6)),
    Verb("rm cached", ("rm", "tiny", "--from", "cached", "--yes"), "packaged", (0, 6)),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_killed_verb_loses_nothing_and_its_next_run_succeeds(verb, make_start, builders, tmp_path):
    arguments = [each.format(builders=builders) for each in verb.arguments]
    whole = make_start(verb.start, tmp_path / "whole")
    changes = _run(whole, 0, arguments)
    assert changes > 0
    step = -(-changes // MOST_POINTS)
    killed = 0
    for point in range(1, changes + 1, step):
        machine = make_start(verb.start, tmp_path / f"at {point}")
        before = _good(machine)
        killed += _run(machine, point, arguments) == KILLED
        after = _good(machine)
        if not verb.name.startswith("rm"):
            assert before <= after, f"killed at change {point}: lost {before - after}"
        again = machine.run(*arguments, code=None)
        assert again.returncode in verb.ends_with, (point, again.stderr)
        assert machine.leftovers() == [], f"killed at change {point}"
        assert _good(machine) == _good(whole), f"killed at change {point}"
        shutil.rmtree(machine.root)
    assert killed > min(changes, MOST_POINTS) // 3


def _run(machine, point: int, arguments: list[str]) -> int:
    """Runs to the end (point 0) and returns the number of changes, or kills and returns -9."""
    out = machine.root / "changes"
    done = subprocess.run(
        [sys.executable, str(KILLER), str(point), str(out), *arguments],
        env=machine.environment,
        cwd=machine.root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if point:
        return done.returncode
    assert done.returncode == 0, done.stderr
    return int(out.read_text())


def _good(machine) -> set[str]:
    """What is good, read in full; fails when a damaged thing is listed as good."""
    library = machine.library
    good = set()
    for row in library.survey(local_only=True).rows:
        for place in ("built", "cached"):
            found = getattr(row, place)
            if found is None:
                continue
            is_listed_as_good = found.problem is None and row.difference is None
            if _is_whole(library, row.ref, place) or row.difference is not None:
                good.add(f"{row.ref} {place}")
            else:
                assert not is_listed_as_good, f"{row.ref} {place} is damaged and listed as good"
        if row.recorded:
            good.add(f"{row.ref} recorded")
    return good


def _is_whole(library, ref, place: str) -> bool:
    try:
        if place == "built":
            built = BuiltDataset(ref, library.version_folder(ref))
            verify_records(built, progress=Progress(), cancel=CancelToken())
        else:
            verify(library, ref, place, progress=Progress(), cancel=CancelToken())
    except VerificationError:
        return False
    except NotFoundError:
        return library.manifest.entries.get(ref) is None  # nothing records it: not damaged either
    return True


@pytest.fixture
def make_start(built_data, seaweedfs, new_machine) -> Callable[..., object]:
    """Makes machines in a start state."""
    remote = seaweedfs.config()
    template: dict[str, Path] = {}

    def make(start: str, root: Path):
        machine = new_machine(root)
        if start != "empty":
            shutil.copytree(built_data / "tiny", machine.data_dir / "tiny")
        if start == "changed":
            machine.library.package("tiny")
            (machine.data_dir / "tiny" / "1.0.0" / "README.txt").write_text("more\n" * 1000)
        if start in ("packaged", "cached"):
            machine.library.package("tiny")
        if start == "unrecorded":
            machine.library.package("tiny", record=False)
        if start == "cached":
            shutil.rmtree(machine.data_dir / "tiny")
        if start == "packaged":
            machine.use(seaweedfs.config())
        if start.startswith("published"):
            machine.use(remote)
            machine.library.package("tiny")
            if "remote" not in template:
                machine.library.upload("tiny")
                template["remote"] = root
            shutil.rmtree(machine.data_dir / "tiny")
            archive = machine.cache / "tiny__1.0.0__cache.tar.gz"
            if start == "published":
                archive.unlink()
                archive.with_name(archive.name + ".json").unlink()
            else:
                _other_archive(machine, built_data)
        return machine

    return make


def _other_archive(machine, built_data: Path) -> None:
    """Another whole archive of the same ref in the cache, which the manifest does not record."""
    recorded = machine.manifest.read_bytes()
    folder = machine.data_dir / "tiny"
    shutil.copytree(built_data / "tiny", folder)
    (folder / "1.0.0" / "README.txt").write_text("other\n")
    machine.library.package("tiny", overwrite=True)
    machine.manifest.write_bytes(recorded)
    shutil.rmtree(folder)
