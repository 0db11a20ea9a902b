"""Converts again and again, each time killed somewhere else, and then once more to the end.

    python crash_driver.py SCENARIO FOLDER TARS POINTS

A run dies by SIGKILL just before its n-th change of the file system; the points are spread over all
of them. Prints a JSON list: for each point what was visible after the kill, and whether the next
run ended in the same bytes as one that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsmanager.errors import AlreadyExistsError
from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.progress import CancelToken, Progress

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"}
SHARDS = {"train": 1024, "validation": 128}
SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    "tpu": ("tpu", {}),
    "slim": ("slim", {}),
    "tpu, other half": ("tpu", {"only": "val"}),
    "slim, other half": ("slim", {"only": "val"}),
    "slim, among others": ("slim", {"only": "val"}),
    "slim, over old ones": ("slim", {"overwrite": True}),
}


def convert(tars: Path, dest: Path, to: str, **options: Any) -> None:
    request = ImagenetRequest(source=tars, dest=dest, to=to, **options)
    convert_imagenet(request, progress=Progress(), cancel=CancelToken())


def prepare(scenario: str, tars: Path, dest: Path) -> None:
    if "half" in scenario or "others" in scenario:
        convert(tars, dest, SCENARIOS[scenario][0], only="train")
    if "others" in scenario:
        (dest / "readme.txt").write_text("mine")
    if "old" in scenario:
        convert(tars, dest, "slim")
        for shard in dest.glob("train-0000*"):
            shard.write_bytes(b"old")


def die_at(deadly: int, counted: Callable[[int], None]) -> None:
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        creates = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if creates or event in CHANGES:
            count += 1
            counted(count)
            if count == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def in_child(run: Callable[[], None]) -> int:
    """The exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except AlreadyExistsError:
            os._exit(7)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def changes_of(run: Callable[[], None]) -> int:
    """How many changes of the file system a run makes."""
    reading, writing = os.pipe()

    def counting() -> None:
        last = 0

        def counted(count: int) -> None:
            nonlocal last
            last = count

        die_at(0, counted)
        run()
        os.write(writing, str(last).encode())

    assert in_child(counting) == 0
    os.close(writing)
    with open(reading) as answer:
        return int(answer.read())


def state(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.parent.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder.parent)}".encode() + path.read_bytes())
    return digest.hexdigest()


def visible(dest: Path) -> dict[str, int]:
    """How many shards of each half have their names in DEST."""
    return {
        split: sum(1 for path in dest.rglob(f"{split}-*-of-*") if path.is_file())
        for split in SHARDS
    }


def main() -> None:
    scenario, folder, tars, points = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    to, options = SCENARIOS[scenario]
    whole = folder / "whole" / "dest"
    prepare(scenario, tars, whole)
    changes = changes_of(lambda: convert(tars, whole, to, **options))
    expected = state(whole)
    report = []
    for point in range(int(points)):
        dest = folder / f"at-{point}" / "dest"
        prepare(scenario, tars, dest)
        deadly = 1 + (2 * point + 1) * changes // (2 * int(points))

        def killed(dest: Path = dest, deadly: int = deadly) -> None:
            die_at(deadly, lambda _: None)
            convert(tars, dest, to, **options)

        def again(dest: Path = dest) -> None:
            convert(tars, dest, to, **options)

        code = in_child(killed)
        seen = visible(dest)
        next_code = in_child(again)
        report.append([code, seen, next_code, state(dest) == expected])
        shutil.rmtree(dest.parent)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
