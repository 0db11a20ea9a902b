"""A process beside the generator that makes records of examples whose images are in files.

Without the content of its images an encoded example is small: it is sent over, and serialized and
spilled there while the generator goes on. The generator's process, which has hundreds of kilobytes
an example go through the processor's caches, takes several times as long for the same.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsmanager.building.writing.encoder import has_images
from dsmanager.building.writing.file_bytes import ChangedFileError, FileBytes
from dsmanager.building.writing.records import Records
from dsmanager.building.writing.spill import Spill
from dsmanager.parallel.failures import described, raised
from dsmanager.parallel.helper import Helper, can_fork, start_forked
from dsmanager.progress import CancelToken, Progress

__all__ = ["CALL", "RecordMaker", "make_records", "record_maker"]

CALL = "dsmanager.building.writing.record_maker:make_records"

_BATCH_EXAMPLES = 64
_LONGEST_WAIT_S = 0.2
_MOST_BYTES = 8 << 10
"""Larger values cost more to send over than is saved."""
_MOST_ITEMS = 256
_PROTOCOL = pickle.HIGHEST_PROTOCOL
_FIXED = frozenset((FileBytes, str, int, float, bool, bytes, type(None)))
"""Types of values that nobody changes any more."""
_WITHOUT_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # a builder may have SIGPIPE end the process


@contextmanager
def record_maker(
    features: Any, *, workers: int, progress: Progress
) -> Iterator[RecordMaker | None]:
    """One for examples of these features; None where there are no images, or no second process.

    To be entered while this process has one thread.
    """
    maker = None
    if workers > 1 and has_images(features) and can_fork():
        with suppress(OSError):  # no room for another process
            maker = RecordMaker(progress)
    try:
        yield maker
    finally:
        if maker is not None:
            maker.close()


class RecordMaker:
    """The process, as whoever has the examples sees it. To be closed.

    For each split :meth:`begins`, then :meth:`takes` for each example, then :meth:`finish`. What
    the process makes it counts on ``progress``. When it fails, one of the two latter raises its
    error.
    """

    def __init__(self, progress: Progress) -> None:
        self._sending, receiving = socket.socketpair()
        try:
            for each in (self._sending, receiving):
                each.settimeout(None)  # a builder may have set another one for all
            self._helper = Helper(CALL, receiving.fileno(), progress, start_forked)
        except BaseException:
            self._sending.close()
            raise
        finally:
            receiving.close()  # it alone has that end: when it has died, sending fails
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._is_closed = False
        self._spill = Path()
        self._waiting: list[Any] = []
        """Examples, and pickles of those that the builder may still change."""
        self._due_s = 0.0

    def begins(self, specs: Any, split: str, keep_order: bool, spill: Path) -> bool:
        """From now on it takes examples of this split, whose records go to the new file ``spill``.

        ``specs`` are of :class:`Records`. False when it has one that is not finished, when it has
        failed, and for specs that cannot be sent.
        """
        if self._thread is not None or self._error is not None or self._is_closed:
            return False
        try:
            sent = pickle.dumps(specs, _PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError):
            return False
        self._spill = spill
        task = [split, keep_order, os.fspath(spill)]
        self._thread = threading.Thread(target=self._run, args=(task,), name="record-maker")
        self._thread.start()
        self._send(sent)
        return True

    def takes(self, key: Any, example: Any) -> bool:
        """Takes an encoded example over; False for one with large values, or unusual ones."""
        is_fixed = True
        for value in (key, *example.values()):
            kind = type(value)
            if kind not in _FIXED or ((kind is str or kind is bytes) and len(value) > _MOST_BYTES):
                is_fixed = False
                if not _is_plain(value):
                    return False
        pair: Any = key, example
        if not is_fixed:
            pair = pickle.dumps(pair, _PROTOCOL)
            if len(pair) > _MOST_BYTES:
                return False
        self._waiting.append(pair)
        if len(self._waiting) == _BATCH_EXAMPLES or time.monotonic() > self._due_s:
            self._send_batch()
        return True

    def finish(self) -> Spill:
        """All examples of the split are there. Returns their records."""
        assert self._thread is not None
        if self._waiting:
            self._send_batch()
        self._send_batch()  # an empty one: the last
        self._thread.join()
        self._thread = None
        if self._error is not None:
            raise self._error
        spill = Spill.saved(self._spill, _index(self._spill), "")
        _index(self._spill).unlink()
        return spill

    def close(self) -> None:
        """Ends the process, whatever it does, and waits for that."""
        if self._is_closed:
            return
        self._is_closed = True
        self._helper.kill()
        if self._thread is not None:
            self._thread.join()
        self._helper.close()
        self._sending.close()

    def _send_batch(self) -> None:
        batch, self._waiting = self._waiting, []
        self._due_s = time.monotonic() + _LONGEST_WAIT_S
        self._send(pickle.dumps(batch, _PROTOCOL))

    def _send(self, content: bytes) -> None:
        try:
            self._sending.sendall(content, _WITHOUT_SIGNAL)
        except (BrokenPipeError, ConnectionResetError) as error:
            assert self._thread is not None
            self._thread.join()  # it knows why
            raise self._error or error from None

    def _run(self, task: Any) -> None:
        try:
            changed = self._helper.run(task)
            self._error = ChangedFileError(changed) if changed is not None else None
        except BaseException as error:
            self._error = error


def make_records(setup: Any, task: Any, progress: Progress, _: CancelToken) -> str | None:
    """What the process does for one split: ``[split, keep_order, spill]``.

    ``setup`` is the descriptor that specs and then examples come from. The spill is saved, with its
    index. Returns the path of a file that had to be read and has changed.
    """
    split, keep_order, path = task
    stream = _stream(setup)
    try:
        with open(path, "xb+", buffering=0) as file:
            spill = Spill(file, kept=True)
            specs = pickle.load(stream)  # noqa: S301 - from the process that this is a fork of
            records = Records(specs, split, keep_order, spill, progress)
            while batch := pickle.load(stream):  # noqa: S301
                for pair in batch:
                    records.add(*(pickle.loads(pair) if type(pair) is bytes else pair))  # noqa: S301
            records.finish()
            spill.save(_index(Path(path)), "")
    except BaseException as error:
        stream.close()  # who sends will notice
        if isinstance(error, ChangedFileError):
            return error.path
        traceback.print_exc()
        raise raised(**described(error, "the builder failed")) from error
    return None


@cache
def _stream(descriptor: int) -> BinaryIO:
    """One for all splits: it reads ahead."""
    return open(descriptor, "rb")


def _index(spill: Path) -> Path:
    return spill.with_name(f"{spill.name}.index")


def _is_plain(value: Any) -> bool:
    """Whether it can be sent, and is not large."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _MOST_BYTES
    if kind is dict:
        return all(type(key) is str and _is_plain(inner) for key, inner in value.items())
    if kind is list:
        return len(value) <= _MOST_ITEMS and all(map(_is_plain, value))
    if kind is np.ndarray and value.dtype.kind == "O":
        return value.size <= _MOST_ITEMS and all(map(_is_plain, value.flat))
    if kind is np.ndarray:
        return bool(value.dtype.kind in "biuf") and value.nbytes <= _MOST_BYTES
    return kind in _FIXED or (isinstance(value, np.generic) and kind.__module__ == "numpy")
