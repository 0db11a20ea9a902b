"""Exit codes are a contract; every error says what happened and what helps."""

from __future__ import annotations

import errno
import os
import re

import pytest

from dsmanager import errors
from dsmanager.errors import (
    DsmanagerError,
    ExitCode,
    NoSpaceError,
    PartialError,
    from_os_error,
    of_exit_code,
    os_errors,
)

TABLE = {
    "DsmanagerError": (1, "failed"),
    "UsageError": (2, "usage"),
    "PartialError": (3, "partial"),
    "VerificationError": (4, "verification"),
    "TemporaryError": (5, "temporary"),
    "NotFoundError": (6, "not-found"),
    "AlreadyExistsError": (7, "already-exists"),
    "CredentialsError": (8, "credentials"),
    "NoSpaceError": (9, "no-space"),
    "CancelledError": (130, "cancelled"),
}
CLASSES = {kind.__name__: kind for kind in (DsmanagerError, *DsmanagerError.__subclasses__())}


def test_exit_codes_are_those_of_the_table():
    assert {name: (kind.exit_code, kind.code) for name, kind in CLASSES.items()} == TABLE
    assert {code.value for code in ExitCode} == {0, *(code for code, _ in TABLE.values())}


def test_every_error_stands_in_the_modules_docstring_with_its_code():
    drawn = dict(re.findall(r"(\w+Error)\s+(\d+) ", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == {
        name: code for name, (code, _) in TABLE.items()
    }


def test_every_error_is_exported_and_says_when_it_is_raised():
    assert set(CLASSES) <= set(errors.__all__)
    assert all(kind.__doc__ for kind in CLASSES.values())


@pytest.mark.parametrize("name", CLASSES)
def test_an_exit_code_of_a_child_becomes_its_error_again(name):
    error = of_exit_code(CLASSES[name].exit_code, "gone wrong", hint="try: x")
    assert (error.message, error.hint) == ("gone wrong", "try: x")
    wanted = DsmanagerError if CLASSES[name] is PartialError else CLASSES[name]
    assert type(error) is wanted


@pytest.mark.parametrize("code", [0, 1, -9, 77])
def test_an_unknown_code_is_a_plain_failure(code):
    assert type(of_exit_code(code, "gone wrong")) is DsmanagerError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_space(number):
    error = from_os_error(OSError(number, os.strerror(number), "/d/x"), "write the archive")
    assert isinstance(error, NoSpaceError)
    assert error.message.startswith("could not write the archive at /d/x: ")
    assert error.hint


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_used_has_a_hint(number):
    error = from_os_error(OSError(number, os.strerror(number), "/d"), "read")
    assert error.exit_code == ExitCode.FAILED
    assert "--data-dir" in str(error.hint)


@pytest.mark.parametrize("filename", ["/a", b"/a", 7, None])
def test_the_path_is_named_where_there_is_one(filename):
    error = from_os_error(OSError(errno.EIO, "Input/output error", filename), "read it")
    at = " at /a" if filename in ("/a", b"/a") else ""
    assert error.message == f"could not read it{at}: Input/output error"


def test_ours_pass_through_and_causes_are_kept():
    with pytest.raises(DsmanagerError) as raised, os_errors("read it"):
        raise OSError(errno.EIO, "bad")
    assert isinstance(raised.value.__cause__, OSError)
    with pytest.raises(NoSpaceError), os_errors("read it"):
        raise NoSpaceError("full")
