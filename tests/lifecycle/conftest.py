"""Machines that run the real program, and small datasets to run it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.machine import Machine
from harness.processes import Zygote


@pytest.fixture
def machine(zygote: Zygote, tmp_path: Path) -> Machine:
    return zygote.new_machine(tmp_path / "machine")


@pytest.fixture
def other_machine(zygote: Zygote, tmp_path: Path) -> Machine:
    return zygote.new_machine(tmp_path / "other machine ä")


@pytest.fixture
def with_built(built_data: Path) -> Callable[[Machine], Machine]:
    """Copies what is built into a machine."""

    def copy(machine: Machine) -> Machine:
        shutil.copytree(built_data, machine.data_dir)
        return machine

    return copy


@pytest.fixture
def built_machine(machine: Machine, with_built: Callable[[Machine], Machine]) -> Machine:
    return with_built(machine)
