"""Errors on their way from one process to another: as plain values, and back."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from typing import Any

from dsmanager import errors
from dsmanager.errors import DsmanagerError, NoSpaceError, from_os_error
from dsmanager.text import plain, redact

__all__ = ["described", "raised"]

_MAX_MESSAGE_LETTERS = 500


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
    hint = next(filter(None, map(_missing_package, _causes(error))), None)
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return _values("DsmanagerError", f"{failed}: {said}", hint)


def raised(kind: str, message: str, hint: str | None) -> DsmanagerError:
    """The error that :func:`described` made these values from, to be raised here."""
    error: DsmanagerError = getattr(errors, kind, DsmanagerError)(message, hint=hint)
    return error


_PACKAGES = {
    "PIL": "pillow",
    "apache_beam": "'dsmanager[beam]'",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow": "'dsmanager[tf]'",
    "yaml": "pyyaml",
}
"""What is installed for a module, where the names differ."""
_NEVER_INSTALLED = ("dsmanager", "user_builders")
"""This package, and where the loader puts a user's builder: a file of theirs is missing."""


def _missing_package(error: BaseException) -> str | None:
    """How to install what an import did not find; of TensorFlow, also what broke within it."""
    if not isinstance(error, ImportError):
        return None
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    module = (missing or "").partition(".")[0]
    if not module and "tensorflow" in _modules_of(error):
        module = "tensorflow"
    if not module or module in _NEVER_INSTALLED:
        return None
    return f"install what the builder needs: pip install {_PACKAGES.get(module, module)}"


def _modules_of(error: BaseException) -> set[str]:
    """The packages whose code an error went through."""
    frames = traceback.walk_tb(error.__traceback__)
    return {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}


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
