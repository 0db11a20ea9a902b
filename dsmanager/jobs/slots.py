"""Turns: how many jobs of a kind run at once, without anybody who hands them out.

A job takes one of its kind's N lock files when no older job of that kind waits. A killed job's lock
is free at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dsmanager.jobs.registry import Jobs
from dsmanager.locks import locked_if_free

__all__ = ["turn"]

_POLL_S = 0.2


@contextmanager
def turn(
    jobs: Jobs, job_id: int, slot: str, count: int, wait: Callable[[float], object]
) -> Iterator[None]:
    """Holds a slot while the block runs; ``wait(seconds)`` sleeps, and may raise to give up."""
    while True:
        if not _is_another_first(jobs, job_id, slot):
            for number in range(1, count + 1):
                path = jobs.folder / "slots" / f"{slot}-{number}.lock"
                with locked_if_free(path, purpose=f"job {job_id}") as is_mine:
                    if is_mine:
                        yield
                        return
        wait(_POLL_S)


def _is_another_first(jobs: Jobs, job_id: int, slot: str) -> bool:
    return any(job.id < job_id and job.slot == slot and job.state == "queued" for job in jobs.all())
