"""What every target needs: what an error must be like, and a place for files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dsmanager.errors import DsmanagerError

MOST_LETTERS = 20_000


@contextmanager
def refusing_with(*kinds: type[Exception]) -> Iterator[None]:
    """Input may be refused with one of these errors, told in one line; nothing else may happen."""
    try:
        yield
    except kinds as error:
        message = error.message if isinstance(error, DsmanagerError) else str(error)
        assert message, "an error that says nothing"
        assert "\n" not in message, message
        assert len(message) < MOST_LETTERS, len(message)


@cache
def scratch_folder() -> Path:
    """A folder of this process, removed at its end; the runner puts it where writing is cheap."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
