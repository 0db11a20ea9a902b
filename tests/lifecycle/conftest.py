"""Machines that run the real program, and small datasets to run it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import machine as machines
from harness.machine import Machine


@pytest.fixture
def new_machine() -> Callable[[Path], Machine]:
    """Makes a machine in a folder that does not exist yet."""
    return machines.new_machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return machines.new_machine(tmp_path / "machine")


@pytest.fixture
def other_machine(tmp_path: Path) -> Machine:
    return machines.new_machine(tmp_path / "other machine ä")


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small builders."""
    return machines.write_builders(tmp_path_factory.mktemp("builders"))


@pytest.fixture(scope="session")
def built_data(tmp_path_factory: pytest.TempPathFactory, builders: Path) -> Path:
    """A data dir with ``tiny:1.0.0``, ``several/rgb:2.1.0`` and ``several/all:2.1.0`` built."""
    machine = machines.new_machine(tmp_path_factory.mktemp("built") / "machine")
    machine.run("build", "--path", str(builders / "tiny"))
    machine.run("build", "several/*", "--path", str(builders / "several"))
    return machine.data_dir


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
