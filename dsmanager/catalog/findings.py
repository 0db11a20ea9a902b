"""What ``check`` says of a builder: one finding for each rule that it breaks, with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dsmanager.text import plain, redact

__all__ = ["Finding", "Severity"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error keeps the builder from being built or loaded, or breaks a rule of all builders; a
    warning does not; a note tells what was not looked at, and why.
    """

    severity: Severity
    rule: str
    """Its short name, such as ``version``; docs/builders.md lists them."""
    message: str
    file: Path
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        text = " ".join(self.message.split())
        return plain(redact(f"{self.file}{line}: {self.severity}: {self.rule}: {text}"))

    def as_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "rule": self.rule,
            "message": plain(redact(" ".join(self.message.split()))),
            "file": str(self.file),
            "line": self.line,
            "hint": self.hint,
        }

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Finding:
        return cls(**{**value, "file": Path(value["file"])})
