"""Runs one way of writing again and again, each time killed one step later.

    python crash_driver.py SCENARIO FOLDER

Every run works in a folder of its own, ``FOLDER/<step>``, and dies by SIGKILL just before its n-th
change or flush of the file system; the last one is not killed. Prints the number of runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from dsmanager import files

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
MOST_STEPS = 200


def write_tree(folder: Path, content: str) -> None:
    (folder / "deeper").mkdir(parents=True)
    for name in ("a", "b", "deeper/c"):
        (folder / name).write_text(content)


def replace_file(folder: Path) -> None:
    files.write_bytes(folder / "thing", b"new" * 1000)


def replace_tree(folder: Path) -> None:
    with files.staged_folder(folder / "thing") as stage:
        write_tree(stage / "tree", "new")
        files.move_tree_into_place(stage / "tree", folder / "thing")


def start_with_file(folder: Path) -> None:
    (folder / "thing").write_bytes(b"old" * 1000)


def start_with_tree(folder: Path) -> None:
    write_tree(folder / "thing", "old")


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "new file": (lambda _: None, replace_file),
    "file": (start_with_file, replace_file),
    "new tree": (lambda _: None, replace_tree),
    "tree": (start_with_tree, replace_tree),
    "tree without exchange": (start_with_tree, replace_tree),
}


def die_at(deadly: int) -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if opens or event in CHANGES:
            step()

    def stepping(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object) -> object:
            step()
            return function(*arguments)

        return wrapper

    os.fsync = stepping(os.fsync)  # type: ignore[assignment]
    files._exchange = stepping(files._exchange)  # type: ignore[assignment]
    sys.addaudithook(watch)


def main(scenario: str, base: Path) -> int:
    start, work = SCENARIOS[scenario]
    if scenario == "tree without exchange":
        files._exchange = lambda *_: False  # type: ignore[assignment]
    for deadly in range(1, MOST_STEPS):
        folder = base / f"{deadly:03}"
        folder.mkdir(parents=True)
        start(folder)
        child = os.fork()
        if child == 0:
            die_at(deadly)
            work(folder)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            print(deadly)
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
