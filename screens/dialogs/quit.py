"""What to do with jobs that run when somebody quits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.widget import Widget

from dsmanager.screens.dialogs.base import Choice, Dialog, text

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = ["QuitDialog"]

_MOST_NAMED = 8


class QuitDialog(Dialog[str]):
    """Returns ``leave`` or ``cancel-jobs``; None: stay."""

    def __init__(self, jobs: Sequence[Job], *, may_cancel: bool) -> None:
        count = "A job runs" if len(jobs) == 1 else f"{len(jobs)} jobs run"
        choices = [Choice("leave", "Leave running", "primary")]
        if may_cancel:
            choices.append(Choice("cancel-jobs", "Cancel jobs", "error"))
        super().__init__(f"Quit? {count}", choices, cancel="Stay")
        self._jobs = jobs

    def body(self) -> Iterable[Widget]:
        lines = [f"{job.id}  {job.kind} {job.ref}  {job.state}" for job in self._jobs[:_MOST_NAMED]]
        if len(self._jobs) > _MOST_NAMED:
            lines.append(f"and {len(self._jobs) - _MOST_NAMED} more")
        yield text("\n".join(lines))
        yield text(
            "Left running they go on without this program; see them with: dsmanager jobs",
            classes="dialog-note",
        )

    def chosen(self, choice_id: str) -> None:
        self.dismiss(choice_id)
