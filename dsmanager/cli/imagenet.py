"""What ``dsmanager convert`` does with ImageNet: the request, and the rows of its result."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import run_each
from dsmanager.library.imagenet import ImagenetRequest
from dsmanager.library.imagenet import convert_imagenet as convert
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.ingest.imagenet.result import ImagenetResult

__all__ = ["convert_imagenet"]

_MOST_SKIPPED = 20  # of those that are said; all are in the row


def convert_imagenet(context: Context, request: ImagenetRequest) -> None:
    """Runs one conversion, or starts the job that will."""

    def work(request: ImagenetRequest, progress: Progress, cancel: CancelToken) -> ImagenetResult:
        return convert(context.settings, request, progress=progress, cancel=cancel)

    def name(request: ImagenetRequest) -> str:
        return request.dest.name

    run_each(context, [request], work, lambda done: _show(context, done), label=name)


def _show(context: Context, done: ImagenetResult) -> None:
    for was, names in done.fixed.items():
        context.output.say(f"{len(names):,} {was} stored as RGB JPEG: {', '.join(names)}")
    for name, why in list(done.skipped.items())[:_MOST_SKIPPED]:
        context.output.say(f"left out: {name}: {why}")
    for note in done.notes:
        context.output.say(note)
    for warning in done.warnings:
        context.output.say(f"warning: {warning}")
    row = {
        "path": str(done.path),
        "to": done.to,
        "splits": {name: asdict(split) for name, split in done.splits.items()},
        "fixed": {was: list(names) for was, names in done.fixed.items()},
        "skipped": dict(done.skipped),
        "boxed_images": done.boxed_images,
        "notes": list(done.notes),
        "warnings": list(done.warnings),
        "outcome": "unchanged" if done.was_converted else "converted",
    }
    parts = ", ".join(
        f"{name} {split.images:,} images in {split.shards:,} shards ({size_text(split.bytes)})"
        for name, split in done.splits.items()
    )
    said = "is converted already" if done.was_converted else "converted"
    context.output.row(row, f"{done.path} {said}: {parts}")
