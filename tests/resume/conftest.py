"""The script that measures resumption, behind its own proxy, and remotes to interrupt."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote


@pytest.fixture(scope="session")
def one_gib() -> ModuleType:
    """``one_gib.py``, which is a script too."""
    spec = importlib.util.spec_from_file_location("one_gib", Path(__file__).with_name("one_gib.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["one_gib"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["seaweedfs", "rclone"])
def store(request: pytest.FixtureRequest) -> Iterator[Remote]:
    """An empty remote on each of the real servers in turn."""
    with Remote(request.getfixturevalue(request.param).config()) as remote:
        yield remote


class CancelsAfter(Progress):
    """Asks to stop once ``limit`` bytes have moved."""

    def __init__(self, limit: int, cancel: CancelToken) -> None:
        super().__init__()
        self._limit, self._token = limit, cancel

    def add_bytes(self, count: int) -> None:
        super().add_bytes(count)
        if self.snapshot().bytes_done >= self._limit:
            self._token.cancel()


@pytest.fixture
def cancelled_after() -> Callable[[int], dict[str, Any]]:
    """Progress and token of a transfer that somebody cancels after so many bytes."""

    def make(limit: int) -> dict[str, Any]:
        cancel = CancelToken()
        return {"progress": CancelsAfter(limit, cancel), "cancel": cancel}

    return make
