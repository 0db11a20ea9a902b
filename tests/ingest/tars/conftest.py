"""Conversions of tars, as a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsmanager.library.converting import TarOptions, convert_tars
from dsmanager.progress import CancelToken, Progress
from dsmanager.settings import Settings

Convert = Callable[..., Any]


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """``convert(template…, to="tfrecord", workers=1, dest="out", **options)``."""

    def run(
        *templates: str,
        to: str = "tfrecord",
        workers: int = 1,
        dest: str = "out",
        overwrite: bool = False,
        settings: Settings | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Any:
        return convert_tars(
            settings or Settings.load(working_dir=tmp_path),
            templates,
            Path(dest),
            to=to,
            options=TarOptions(**options),
            workers=workers,
            overwrite=overwrite,
            progress=progress or Progress(),
            cancel=CancelToken(),
        )

    return run
