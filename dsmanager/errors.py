"""Every error that dsmanager raises on purpose, and the exit code each one ends in.

    DsmanagerError                1   failed
    ├── UsageError                2   the request itself is wrong
    ├── PartialError              3   some of several items failed
    ├── VerificationError         4   bytes are not what their record says
    ├── TemporaryError            5   worth a retry: network, server, time-out
    ├── NotFoundError             6   no such dataset, archive, object, bucket
    ├── AlreadyExistsError        7   the target is there; the hint names the flag
    ├── CredentialsError          8   no credentials, bad ones, or forbidden
    ├── NoSpaceError              9   the disk is full
    └── CancelledError          130   somebody asked to stop

The message is one line that says what happened; the hint ends in the command that fixes it.
This module must never print, and must never import anything of dsmanager.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import ClassVar

__all__ = [
    "OTHER_FOLDER",
    "AlreadyExistsError",
    "CancelledError",
    "CredentialsError",
    "DsmanagerError",
    "ExitCode",
    "NoSpaceError",
    "NotFoundError",
    "PartialError",
    "TemporaryError",
    "UsageError",
    "VerificationError",
    "from_os_error",
    "of_exit_code",
    "os_errors",
]


class ExitCode(IntEnum):
    """What a shell sees; scripts depend on these numbers."""

    DONE = 0
    """Everything that was asked for holds now."""
    FAILED = 1
    """It went wrong in a way that no other code names."""
    USAGE = 2
    """The command line, a setting or a file that the user wrote is wrong."""
    PARTIAL = 3
    """Several items were asked for; some failed, for different reasons."""
    VERIFICATION = 4
    """Bytes do not match their record."""
    TEMPORARY = 5
    """Network or server trouble: the same command may succeed later."""
    NOT_FOUND = 6
    """No such dataset, archive, object or bucket."""
    ALREADY_EXISTS = 7
    """The target exists; the hint names the flag that replaces it."""
    CREDENTIALS = 8
    """No credentials, bad credentials, or forbidden."""
    NO_SPACE = 9
    """No space left on a disk."""
    CANCELLED = 130
    """Interrupted, as a shell counts it: 128 + SIGINT."""


class DsmanagerError(Exception):
    """Base of all. ``message`` is one line; ``hint`` ends in the command that helps."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str | None = None, ref: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.ref = ref


class UsageError(DsmanagerError):
    """The request is wrong: a flag, a ref, a setting, a file the user wrote."""

    exit_code = ExitCode.USAGE
    code = "usage"


class PartialError(DsmanagerError):
    """Some of several items failed; ``errors`` holds one error an item."""

    exit_code = ExitCode.PARTIAL
    code = "partial"

    def __init__(self, message: str, errors: tuple[DsmanagerError, ...]) -> None:
        super().__init__(message)
        self.errors = errors


class VerificationError(DsmanagerError):
    """Bytes, sizes or members are not what a record says they are."""

    exit_code = ExitCode.VERIFICATION
    code = "verification"
    found_sha256: str | None = None
    """What the file has instead, where it was read in full."""


class TemporaryError(DsmanagerError):
    """A network, server or time-out failure: a retry may succeed."""

    exit_code = ExitCode.TEMPORARY
    code = "temporary"


class NotFoundError(DsmanagerError):
    """Something that was named does not exist."""

    exit_code = ExitCode.NOT_FOUND
    code = "not-found"


class AlreadyExistsError(DsmanagerError):
    """The target exists; the hint names the flag that replaces it."""

    exit_code = ExitCode.ALREADY_EXISTS
    code = "already-exists"


class CredentialsError(DsmanagerError):
    """No credentials, wrong ones, or not allowed to do this."""

    exit_code = ExitCode.CREDENTIALS
    code = "credentials"


class NoSpaceError(DsmanagerError):
    """A disk or quota is full."""

    exit_code = ExitCode.NO_SPACE
    code = "no-space"


class CancelledError(DsmanagerError):
    """The user or a signal asked to stop; what was temporary is removed."""

    exit_code = ExitCode.CANCELLED
    code = "cancelled"


def of_exit_code(code: int, message: str, *, hint: str | None = None) -> DsmanagerError:
    """The error that ends in ``code``, for a failure of which only that is known."""
    kinds = {int(kind.exit_code): kind for kind in DsmanagerError.__subclasses__()}
    kind = kinds.get(code, DsmanagerError)
    return (DsmanagerError if kind is PartialError else kind)(message, hint=hint)


OTHER_FOLDER = "use another folder with --data-dir"
"""What hints about a folder end in; where another option names it, that is said instead."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}


def from_os_error(error: OSError, doing: str) -> DsmanagerError:
    """Turns an ``OSError`` into ours. ``doing`` starts the message: "write the archive"."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    where = f" at {path}" if path else ""
    reason = error.strerror or str(error)
    message = f"could not {doing}{where}: {reason}"
    if error.errno in _NO_SPACE:
        return NoSpaceError(message, hint=f"free some space, or {OTHER_FOLDER}")
    if error.errno in _NOT_ALLOWED:
        return DsmanagerError(
            message, hint=f"check owner and mode of that folder, or {OTHER_FOLDER}"
        )
    hint = OTHER_FOLDER if error.errno in _NO_FOLDER else None
    return DsmanagerError(message, hint=hint)


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Every ``OSError`` inside leaves as one of ours; see :func:`from_os_error`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, doing) from error
