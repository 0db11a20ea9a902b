"""Archives that a sync has fetched, or was about to, and has not extracted yet.

A dataset that is cached and not built is complete as far as a pull is concerned; only the sync
that was interrupted between the two knows better. It leaves an empty file a ref in the state dir.
Losing one costs a command (``dsmanager extract``), never data.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from dsmanager.refs import Ref

__all__ = ["Unfinished"]


class Unfinished:
    """The refs of one data dir whose extraction is still to come."""

    def __init__(self, state_dir: Path, data_dir: Path) -> None:
        place = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:16]
        self._folder = state_dir / "unfinished" / place

    def __contains__(self, ref: Ref) -> bool:
        return os.path.lexists(self._folder / ref.stem)

    def add(self, ref: Ref) -> None:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / ref.stem).touch()

    def discard(self, ref: Ref) -> None:
        with suppress(OSError):
            (self._folder / ref.stem).unlink()
            self._folder.rmdir()
