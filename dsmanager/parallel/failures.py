"""Errors on their way from one process to another: as plain values, and back."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from dsmanager import errors
from dsmanager.errors import DsmanagerError, NoSpaceError, from_os_error
from dsmanager.text import plain, redact

__all__ = ["described", "raised"]

_MAX_MESSAGE_LETTERS = 500
_EXTRAS = {"tensorflow": "'dsmanager[tf]'", "apache_beam": "'dsmanager[beam]'"}


def described(error: BaseException, failed: str) -> dict[str, Any]:
    """An error as plain values: ours as it is, any other by its type and the last line it says.

    ``failed`` begins the message of the others: "the builder failed".
    """
    for cause in _causes(error):
        if isinstance(cause, DsmanagerError):
            kind = next(
                base for base in type(cause).__mro__ if base.__module__ == "dsmanager.errors"
            )
            return _values(kind.__name__, cause.message, cause.hint)
    full = (errno.ENOSPC, errno.EDQUOT)
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in full:
            ours = from_os_error(cause, "build")
            return _values(NoSpaceError.__name__, ours.message, ours.hint)
    hint = None
    missing = (each.name for each in _causes(error) if isinstance(each, ModuleNotFoundError))
    if name := next(filter(None, missing), None):
        package = name.partition(".")[0]
        wanted = _EXTRAS.get(package, package)
        hint = f"install what the builder needs: pip install {wanted}"
    return _values("DsmanagerError", f"{failed}: {type(error).__name__}: {error}", hint)


def raised(kind: str, message: str, hint: str | None) -> DsmanagerError:
    """The error that :func:`described` made these values from, to be raised here."""
    error: DsmanagerError = getattr(errors, kind, DsmanagerError)(message, hint=hint)
    return error


def _values(kind: str, message: str, hint: str | None) -> dict[str, Any]:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = plain(redact(" ".join(lines)))
    if len(text) > _MAX_MESSAGE_LETTERS:
        half = _MAX_MESSAGE_LETTERS // 2
        text = f"{text[:half]} … {text[-half:]}"
    return {"kind": kind, "message": text, "hint": hint}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and what it was raised from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
