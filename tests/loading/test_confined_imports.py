"""What TFDS does to ``import`` concerns no other thread."""

from __future__ import annotations

import builtins
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsmanager.loading import open_info


def _imported(name: str) -> Any:
    return __import__(name)


def test_while_tfds_is_imported_other_threads_import_as_ever(
    built: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("of_this_thread", "of_another"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text("from ._version import number")
        (package / "_version.py").write_text("number = 3")
    monkeypatch.syspath_prepend(tmp_path)
    before = builtins.__import__
    open_info(built.version_dir())
    assert builtins.__import__ is before

    from etils import epy

    with ThreadPoolExecutor(1) as other, epy.lazy_imports():
        lazy = _imported("of_this_thread")
        real = other.submit(_imported, "of_another").result()
        assert "of_this_thread" not in sys.modules
    assert builtins.__import__ is before
    assert type(real) is ModuleType
    assert real.number == 3
    assert type(lazy) is not ModuleType
    assert lazy.number == 3
