"""What every target needs: what an error must be like, and a place for files."""

from __future__ import annotations

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
    """A folder of this process, in memory where there is such a place: targets write very often."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
