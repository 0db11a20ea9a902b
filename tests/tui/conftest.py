"""Machines with a remote and something built, and the program on a terminal of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.machine import Machine, new_machine, write_builders
from harness.terminal import Terminal

Open = Callable[..., Terminal]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine whose configured builders made ``tiny`` and both configs of ``several``."""
    root = tmp_path_factory.mktemp("tui") / "machine"
    machine = new_machine(root)
    builders = write_builders(root / "builders")
    (root / "config.toml").write_text(f'builders = ["{builders}"]\n')
    machine.run("build", "tiny", "several/*")
    return machine


@pytest.fixture
def machine(built: Machine, tmp_path: Path, remote_config) -> Machine:
    """A copy of it with an empty remote of its own."""
    copy = new_machine(tmp_path / "machine")
    shutil.copytree(built.data_dir, copy.data_dir)
    shutil.copy(built.root / "config.toml", copy.root / "config.toml")
    copy.use(remote_config)
    return copy


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    """``open_terminal(machine, columns=…, lines=…)``: the program, started and painted."""
    with ExitStack() as stack:

        def open_one(machine: Machine, *arguments: str, **size: int) -> Terminal:
            terminal = Terminal(
                arguments, environment=machine.environment, folder=machine.root, **size
            )
            stack.enter_context(terminal)
            terminal.wait_for(lambda text: "Built" in text and "Quit" in text)
            return terminal

        yield open_one
