"""The attempts of a build: a child that builds, the proof of what it made, and another if need be.

A first attempt may read files late, or have them moved without a look (``writing/deferral.py``).
When one of them did not hold what its example was made from, a second reads everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from dsmanager.building.process import run_child
from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.errors import VerificationError
from dsmanager.files import begin_flush, remove_path
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

__all__ = ["made", "run_attempts"]


def run_attempts(
    request: Mapping[str, Any],
    *,
    stage: Path,
    log_path: Path,
    progress: Progress,
    cancel: CancelToken,
) -> dict[str, Any]:
    """Has ``request`` built below ``stage``, and read again if it says so; returns the result.

    Raises what the child reports, and VerificationError for records that are not what was written.
    """
    scratch = stage / "scratch"
    attempt = partial(
        run_child, scratch=scratch, log_path=log_path, progress=progress, cancel=cancel
    )
    scratch.mkdir()
    first = stage / "data"
    result = attempt({**request, "stage": str(first), "earlier": None})
    problem = _problem(request, result, progress, cancel)
    if problem is None:
        return result
    for folder in (first, scratch):
        with suppress(OSError):  # it goes with the stage
            remove_path(folder)
    scratch.mkdir(exist_ok=True)
    again = {
        "stage": str(stage / "again"),
        "fresh_downloads": False,  # they are fresh enough
        "fresh_extraction": True,  # what was unpacked may have been changed
        "earlier": {"problem": problem, "counts": result["counts"]},
    }
    result = attempt({**request, **again})
    problem = _problem(request, result, progress, cancel)
    if problem is not None:
        raise VerificationError(problem, hint=f"see what it printed: less '{log_path}'")
    return result


def made(result: Mapping[str, Any]) -> BuiltDataset:
    """What a result is of, where it lies now."""
    ref = Ref(result["name"], result["config"], result["version"])
    return BuiltDataset(ref, Path(result["tree"]))


def _problem(
    request: Mapping[str, Any], result: Mapping[str, Any], progress: Progress, cancel: CancelToken
) -> str | None:
    """What keeps an attempt from being good that another one can do better.

    That is a file which did not hold, when it was read late, what its example was made from: the
    child says so, or the CRC of a record that it had not looked at. Raises VerificationError for
    every other damage.
    """
    if "changed" in result:
        return str(result["changed"])
    if not request["verify"]:
        return None
    built = made(result)
    begin_flush(built.path)
    try:
        verify_records(
            built,
            workers=request["workers"] or request["cpus"],
            progress=progress,
            cancel=cancel,
        )
    except VerificationError as error:
        if not result["has_unproven"]:
            raise
        return f"{error.message}: a file may not hold what its example was made from"
    return None
