"""What screens ask for: plain values that a dialog hands back and the app carries out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JobRequest"]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to start: the verb and its arguments as they would stand on the command line."""

    verb: str
    arguments: tuple[str, ...] = ()
