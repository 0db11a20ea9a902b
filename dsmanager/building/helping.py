"""What a helper of the child does: ``python -m dsmanager.building.helping``; see ``helper.py``.

The descriptors and the lines on them are as in ``child.py``: a request that says which builder,
then a line for each partition; the answers are counters and, at the end of each, a result or an
error. A helper ends with the child, whose environment and log it has.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from dsmanager.building.child import described, end_at_parents_death, refuse_input
from dsmanager.building.generate import construct
from dsmanager.building.partitions import make_part
from dsmanager.progress import Progress

__all__ = ["main"]

_SAMPLE_S = 0.2


def main() -> NoReturn:
    asked, answering = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (asked, answering):
        os.set_inheritable(descriptor, False)
    builtins.input = refuse_input
    progress, answers = Progress(), _Answers(answering)
    with open(asked, encoding="utf-8") as lines:
        request = json.loads(next(lines))
        end_at_parents_death(request["parent_pid"])
        threading.Thread(target=answers.sample, args=(progress,), daemon=True).start()
        builder = None
        for line in lines:
            part = json.loads(line)
            try:
                builder = builder or construct(request, progress)
                make_part(builder, Path(request["folder"]), part, progress)
                answers.send({"counters": _counters(progress), "done": part["number"]})
            except BaseException as error:
                traceback.print_exc()
                answers.send({"error": described(error)})
                break
    sys.stdout.flush()
    os._exit(0)


def _counters(progress: Progress) -> list[int]:
    now = progress.snapshot()
    return [now.items_done, now.bytes_done]


class _Answers:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def sample(self, progress: Progress) -> None:
        before: list[int] = []
        while not threading.Event().wait(_SAMPLE_S):
            now = _counters(progress)
            if now != before:
                before = now
                self.send({"counters": now})

    def send(self, event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


if __name__ == "__main__":
    main()
