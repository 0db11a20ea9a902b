"""The child process that runs builder code: ``python -m dsmanager.building.child REQUEST EVENTS``.

Both arguments are descriptors. The request is one line of JSON; the answer is lines of JSON with
progress, then one result or error. The child writes only below the folders that the request names,
and it ends, with all that it started, when the process that asked for it ends (``reaper.py``).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import traceback
from typing import Any, NoReturn

from dsmanager.building.child.reaper import fork_reaped
from dsmanager.libc import keep_freed_memory
from dsmanager.parallel.failures import described
from dsmanager.progress import Progress

__all__ = ["main"]

_SAMPLE_S = 0.2


def main() -> NoReturn:
    keep_freed_memory()
    request_fd, events_fd = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (request_fd, events_fd):
        os.set_inheritable(descriptor, False)
    request = json.loads(_read_line(request_fd))
    fork_reaped(request_fd, events_fd, request["parent_pid"])
    events = _Events(events_fd)
    try:
        events.send({"result": _run(request, events)})
    except BaseException as error:
        traceback.print_exc()
        events.send({"error": described(error, "the builder failed")})
    sys.stdout.flush()
    os._exit(0)  # threads that a builder left running must not keep the process


def _run(request: dict[str, Any], events: _Events) -> dict[str, Any]:
    gc.disable()  # to look for garbage among what is imported takes a tenth of importing it
    from dsmanager.building.child import construction, generate, rehearsal

    gc.freeze()
    gc.enable()
    construction.refuse_answers()
    if request["verb"] == "describe":
        return generate.describe(request, events.progress)
    if request["verb"] == "check":
        events.start_sampling()
        return rehearsal.check(request, events.progress)
    return generate.build(request, events.progress, when_loaded=events.start_sampling)


class _Events:
    """Sends progress a few times a second, and whatever else is to be said."""

    def __init__(self, descriptor: int) -> None:
        self.progress = Progress()
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._sent: dict[str, Any] = {}
        self._closed = threading.Event()

    def start_sampling(self) -> None:
        threading.Thread(target=self._sample, daemon=True).start()

    def send(self, event: dict[str, Any]) -> None:
        """Sends the last word: the counters as they stand, then ``event``."""
        self._closed.set()
        self._send_progress()
        self._write(event)

    def _sample(self) -> None:
        while not self._closed.wait(_SAMPLE_S):
            self._send_progress()

    def _send_progress(self) -> None:
        now = self.progress.snapshot()
        counters = {
            "phase": now.phase,
            "byte_counts": [now.bytes_done, now.bytes_total, now.bytes_found],
            "item_counts": [now.items_done, now.items_total],
            "item_unit": now.item_unit,
        }
        if counters != self._sent and now.phase:
            self._sent = counters
            self._write({"progress": counters})

    def _write(self, event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


def _read_line(descriptor: int) -> bytes:
    """The request's line; nothing follows it, and the reaper waits for the end of the pipe."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            raise SystemExit("the process that asked for this has ended")
        line += chunk
    return bytes(line)


if __name__ == "__main__":
    main()
