"""The one place that writes files: nothing becomes visible before it is whole and on disk.

A file or a tree is made under a temporary name in the folder of its final one, flushed, and
renamed. The temporary name of ``x`` is ``.x.<token>.tmp``: it never looks like finished data, and
:func:`remove_leftovers` finds what a killed process left of ``x``.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from dsmanager.errors import NoSpaceError, from_os_error, os_errors
from dsmanager.progress import Progress

__all__ = [
    "MOST_PIECES",
    "begin_flush",
    "begin_writeback",
    "final_name_of",
    "flushing",
    "free_bytes",
    "fsync_folder",
    "is_temporary_name",
    "leftovers",
    "move_tree_into_place",
    "read_at_most",
    "remove_leftovers",
    "remove_path",
    "require_free_bytes",
    "reserve",
    "staged_file",
    "staged_folder",
    "temporary_path",
    "write_bytes",
    "write_json",
    "write_pieces",
]

MOST_PIECES = 1000
"""Of one call that writes several; systems take 1,024."""

_SUFFIX = ".tmp"
_FEW_FILES = 16
_FLUSHED_BYTES = 32 << 20
_LOOK_S = 0.02
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}(\.old)?\.tmp", re.DOTALL)


def read_at_most(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """The content of a file; more than ``limit_bytes`` of it say only that it is too large.

    Takes as much memory as the file needs, never as much as it might: ``list`` reads thousands.
    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        room = min(os.fstat(descriptor).st_size, limit_bytes) + 1
        content = os.read(descriptor, room)
        while len(content) <= limit_bytes and (more := os.read(descriptor, 1 << 20)):
            content += more
        return content
    finally:
        os.close(descriptor)


def _token() -> str:
    """As ``secrets`` makes them, whose import takes longer than many a command."""
    return os.urandom(4).hex()


def temporary_path(final: Path) -> Path:
    """A fresh temporary name for ``final``, in the same folder."""
    return final.with_name(f".{final.name}.{_token()}{_SUFFIX}")


def is_temporary_name(name: str) -> bool:
    """Whether a file or folder name is one that :func:`temporary_path` makes."""
    return name.startswith(".") and name.endswith(_SUFFIX)


def final_name_of(name: str) -> str | None:
    """The name that a temporary one stands for: ``1.0.8`` of ``.1.0.8.0a1b2c3d.tmp``."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else None


@contextmanager
def staged_file(final: Path) -> Iterator[Path]:
    """Yields a temporary path for ``final``; when the block ends well it is flushed and renamed.

    When the block raises, the temporary file is removed and ``final`` is as it was.
    Raises one of dsmanager's errors for a full or read-only disk.
    """
    temporary = temporary_path(final)
    try:
        make_folders(final.parent)
        yield temporary
        flush_file(temporary)
        os.replace(temporary, final)
        fsync_folder(final.parent)
    except OSError as error:
        raise from_os_error(error, f"write {final.name}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """Yields a new temporary folder beside ``final``; it is removed when the block ends.

    What is to stay is moved out of it with :func:`move_tree_into_place`. Parents that were made
    for it and are empty at the end are removed, too.
    """
    made: list[Path] = []
    temporary = temporary_path(final)
    try:
        made = make_folders(final.parent)
        temporary.mkdir()
        yield temporary
    except OSError as error:
        raise from_os_error(error, f"write {final.name}") from error
    finally:
        with suppress(OSError):  # what stays is a leftover; the error that led here matters more
            remove_path(temporary)
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def make_folders(folder: Path) -> list[Path]:
    """Makes ``folder`` and its parents; returns those that did not exist, outermost first."""
    missing = []
    current = folder
    while not current.exists():
        missing.append(current)
        current = current.parent
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        fsync_folder(made.parent)
    return missing[::-1]


def move_tree_into_place(tree: Path, final: Path) -> None:
    """Makes a finished ``tree`` visible as ``final`` with one rename, after one flush of it all.

    An existing ``final`` is swapped out atomically where the system can (Linux: ``renameat2``);
    elsewhere it is renamed aside first, and :func:`remove_leftovers` puts it back after a crash.
    The old tree is removed last. ``tree`` must be on the file system of ``final``.
    """
    flush_tree(tree)
    make_folders(final.parent)
    if not os.path.lexists(final):
        os.rename(tree, final)
        fsync_folder(final.parent)
        return
    if _exchange(tree, final):
        fsync_folder(final.parent)
        remove_path(tree)
        return
    old = final.with_name(f".{final.name}.{_token()}.old{_SUFFIX}")
    os.rename(final, old)
    try:
        os.rename(tree, final)
    except OSError:
        os.rename(old, final)
        raise
    fsync_folder(final.parent)
    # Under a name that is never put back: a removal that is killed leaves half a tree.
    doomed = temporary_path(final)
    os.rename(old, doomed)
    remove_path(doomed)


def leftovers(final: Path) -> list[Path]:
    """Temporary files and folders of ``final``: of a process at work, or of one that was killed."""
    try:
        names = os.listdir(final.parent)
    except OSError:
        return []
    return [final.with_name(name) for name in names if final_name_of(name) == final.name]


def remove_leftovers(final: Path) -> None:
    """Removes what killed processes left of ``final``. The caller holds the lock of ``final``."""
    with os_errors(f"clean up after {final.name}"):
        for path in leftovers(final):
            name = path.name
            if name.endswith(f".old{_SUFFIX}") and not os.path.lexists(final):
                os.rename(path, final)
            else:
                remove_path(path)


def remove_path(path: Path) -> None:
    """Removes a file, a link or a tree; no error when it is not there."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replaces the content of ``path`` atomically and durably."""
    with staged_file(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Writes ``value`` as JSON: two-space indent, keys in the order given, a final newline."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8"), mode=mode)


def flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Makes renames in ``folder`` durable. File systems that cannot do it are left alone."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def begin_writeback(descriptor: int) -> None:
    """Has the disk begin with what was written to a file, where the system can; never waits for it.

    What is flushed later finds most of its work done.
    """
    from dsmanager import libc

    libc.begin_writeback(descriptor)


def begin_flush(tree: Path) -> None:
    """Has the disk begin with a tree that is flushed later, beside whatever comes next."""
    from dsmanager import libc  # noqa: F401 - not in a thread that the end of the process cuts off

    threading.Thread(target=_begin_flush, args=(tree,), daemon=True).start()


def _begin_flush(tree: Path) -> None:
    with suppress(OSError):  # flushing tells
        for path in tree.iterdir():
            with open(path, "rb", buffering=0) as file:
                begin_writeback(file.fileno())


@contextmanager
def flushing(folder: Path, progress: Progress) -> Iterator[None]:
    """While the block runs, the drive empties its cache whenever ``progress`` has counted 32 MiB.

    Write-back only fills that cache; left to the flush at the end, the medium idles until then. A
    virtual disk, whose cache is the memory of its host, takes a third less time so. ``folder`` is
    where files are written, by any process: flushing it reports no error of theirs, so that what
    the disk could not write is still told by the flush at the end.
    """
    is_over = threading.Event()

    def run() -> None:
        flushed = 0
        while not is_over.wait(_LOOK_S):
            written = progress.snapshot().bytes_done
            if written - flushed >= _FLUSHED_BYTES:
                flushed = written
                with suppress(OSError):
                    fsync_folder(folder)

    thread = threading.Thread(target=run, name="flushing")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def flush_tree(tree: Path) -> None:
    """Puts a whole tree on disk: one ``syncfs`` on Linux, ``fsync`` for each file elsewhere.

    20,000 files of 10 KB take 0.7 s with one syncfs and 13.5 s with an fsync each. A few files are
    flushed one by one, for syncfs waits for what everybody else is writing.
    """
    from dsmanager import libc

    if not _has_few_files(tree) and libc.syncfs(tree):
        return
    for folder, _, names in os.walk(tree):
        for name in names:
            flush_file(Path(folder, name))
        fsync_folder(Path(folder))


def _has_few_files(tree: Path) -> bool:
    files = (name for _, _, names in os.walk(tree) for name in names)
    return sum(1 for _ in islice(files, _FEW_FILES + 1)) <= _FEW_FILES


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write where ``folder`` is or will be."""
    current = folder
    while not current.exists():
        current = current.parent
    return shutil.disk_usage(current).free


_OTHER_FOLDER = "free some space, or use another folder with --data-dir"


def require_free_bytes(
    folder: Path, needed_bytes: int, what: str, *, hint: str = _OTHER_FOLDER
) -> None:
    """Raises NoSpaceError before work starts that cannot fit."""
    available = free_bytes(folder)
    if needed_bytes > available:
        raise NoSpaceError(
            f"{what} needs {needed_bytes:,} bytes in {folder}, and {available:,} are free",
            hint=hint,
        )


def write_pieces(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    """Writes all of the pieces, one after the other, in as few calls as the system takes."""
    rest = pieces
    while rest:
        written = os.writev(descriptor, rest[:MOST_PIECES])
        if written == sum(map(len, rest)):
            return
        done = 0
        while written >= len(rest[done]):
            written -= len(rest[done])
            done += 1
        rest = [memoryview(rest[done])[written:], *rest[done + 1 :]]


def reserve(descriptor: int, offset: int, size_bytes: int) -> None:
    """Asks the file system for room ahead of writing: fewer and larger allocations, less time.

    The file grows to that size. Where this cannot be had nothing happens: writing tells.
    """
    from dsmanager import libc

    if size_bytes > 0:
        libc.reserve(descriptor, offset, size_bytes)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two paths atomically; False where the system or the file system cannot."""
    from dsmanager import libc

    return libc.exchange(first, second)
