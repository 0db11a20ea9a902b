"""Machines with a remote and something built, and the program on a terminal of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.machine import Machine
from harness.processes import Zygote
from harness.terminal import Terminal

Open = Callable[..., Terminal]


@pytest.fixture
def machine(
    built_data: Path, builders: Path, tmp_path: Path, zygote: Zygote, remote_config
) -> Machine:
    """A machine with built data, their builders and an empty remote of its own."""
    machine = zygote.new_machine(tmp_path / "machine")
    shutil.copytree(built_data, machine.data_dir)
    (machine.root / "config.toml").write_text(f'builders = ["{builders}"]\n')
    machine.use(remote_config)
    return machine


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
