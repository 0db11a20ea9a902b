"""ILSVRC 2012 to the shards of the TPU and slim scripts: a request, from looking to its result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dsmanager.cpus import available_cpus
from dsmanager.errors import DsmanagerError, NotFoundError, TemporaryError, UsageError, os_errors
from dsmanager.files import flushing, require_free_bytes
from dsmanager.ingest import LONG_WORK_BYTES
from dsmanager.ingest.imagenet import publishing
from dsmanager.ingest.imagenet.beside import find_annotations, find_texts, read_texts
from dsmanager.ingest.imagenet.layouts import LAYOUTS, Layout
from dsmanager.ingest.imagenet.plan import Plan, numbering, plan_split
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.ingest.imagenet.result import ImagenetResult, result_of
from dsmanager.ingest.imagenet.shards import Made
from dsmanager.ingest.imagenet.work import Work
from dsmanager.parallel import run_tasks
from dsmanager.parallel.cluster import require_cluster
from dsmanager.progress import CancelToken, Progress
from dsmanager.sources.imagenet import TARS, TREES, SplitSource, find_splits, state_of
from dsmanager.sources.imagenet_labels import SPLITS

__all__ = ["convert_imagenet", "require_splits"]

_FORM = 1  # of plans and parts: those of another form are not gone on from
_TASK = "dsmanager.ingest.imagenet.shards:write_shard"
_BESIDE_AN_IMAGE_BYTES = 1024
"""What a record has beside its image, generously."""


def convert_imagenet(
    request: ImagenetRequest, *, progress: Progress, cancel: CancelToken
) -> ImagenetResult:
    """Writes every shard of one or both halves of the source into the destination.

    It is a layout of shards that is asked for, not ``tfds``. The result does not depend on how many
    workers there are, nor on where they are. A run that was interrupted is gone on with; nothing is
    seen in the destination before its half is whole.

    Raises NotFoundError for a missing or an empty half, VerificationError for a damaged tar and for
    an image that is none (unless those are skipped), AlreadyExistsError for shards that are there
    already (unless they are to be replaced), NoSpaceError before any shard is written.
    """
    layout = LAYOUTS[request.to]
    if not layout.has_boxes and (request.synset_text or request.annotations):
        raise UsageError(
            f"--to {layout.name} has neither words nor boxes, so that --synset-text and "
            "--annotations are of no use",
            hint="write them with --to slim, or leave these options out",
        )
    if request.cluster is not None:
        require_cluster(request.cluster)
    found, wanted = require_splits(request.source, request.only)
    dest = Path(os.path.realpath(request.dest))
    _require_apart(dest, layout, wanted)
    texts, folder = _beside(request, layout)
    labels, is_ilsvrc = _numbering(found, wanted)
    states = _states(wanted, cancel)
    fingerprint = _fingerprint(layout, states, labels, texts, folder)
    work = Work(dest, layout, [each.split for each in wanted])
    with work.locked(progress, cancel), os_errors(f"convert into {dest.name}"):
        plan = work.plan(fingerprint)
        if plan is None or not publishing.is_published(work):
            if not request.overwrite and (plan is None or not publishing.is_begun(work)):
                work.require_free_names()
            try:
                if plan is None:
                    work.begin()
                    splits = {
                        each.split: plan_split(
                            work.folder, each, layout, labels, progress=progress, cancel=cancel
                        )
                        for each in wanted
                    }
                    beside = str(folder) if folder else None
                    plan = Plan(fingerprint, layout.name, splits, texts, beside)
                    plan.save(work.folder)
                _make_parts(work, plan, request, progress, cancel)
                if _states(wanted, cancel) != states:
                    raise TemporaryError(
                        f"{request.source} changed while it was read",
                        hint="run the same command again once nobody writes to it",
                    )
                publishing.publish(work)
            except BaseException:
                work.remove_if_useless()
                raise
        result = result_of(plan, dest, work.journal(), is_ilsvrc=is_ilsvrc)
        work.remove()
    return result


def require_splits(
    source: Path, only: str | None
) -> tuple[dict[str, SplitSource], list[SplitSource]]:
    """All splits of ``source``, and those that are asked for.

    Raises NotFoundError that names a missing one, UsageError for another word than train and val.
    """
    names = {None: SPLITS, "train": ("train",), "val": ("validation",)}
    wanted = names.get("val" if only == "validation" else only)
    if wanted is None:
        raise UsageError(f"there is no half {only!r}", hint="use --only train or --only val")
    if not source.exists():
        raise NotFoundError(f"there is no {source}", hint="name the folder that holds the tars")
    found = find_splits(source)
    for split in wanted:
        if split not in found:
            others = [each for each in SPLITS if each in found]
            half = {"train": "train", "validation": "val"}
            raise NotFoundError(
                f"{source} holds no {split} split: neither {TARS[split]} nor a folder "
                f"{' or '.join(TREES[split])}",
                hint=f"convert the other half alone: dsmanager convert … --only {half[others[0]]}"
                if others
                else "name the folder that holds the tars, or the folders train and val",
            )
    return found, [found[split] for split in wanted]


def _require_apart(dest: Path, layout: Layout, wanted: Sequence[SplitSource]) -> None:
    """Raises UsageError where shards would come into the way of what they are made from."""
    for each in wanted:
        original = each.path.resolve()
        target = dest / layout.folder(each.split)
        if target == original or original in target.parents or target in original.parents:
            if target in original.parents and not layout.has_folders:
                continue  # a folder that holds the tars may get shards, too
            raise UsageError(
                f"{target} is where the {each.split} split is read from",
                hint="name another folder for the shards: dsmanager convert SRC DEST",
            )


def _beside(request: ImagenetRequest, layout: Layout) -> tuple[dict[str, str], Path | None]:
    """Words by synset, and the folder of annotations, for a layout that has them."""
    if not layout.has_boxes:
        return {}, None
    named = request.synset_text
    if named is not None and not named.is_file():
        raise NotFoundError(f"there is no {named}", hint="name another: --synset-text FILE")
    words = named or find_texts(request.source)
    folder = find_annotations(request.source, request.annotations)
    return read_texts(words) if words else {}, folder.resolve() if folder else None


def _numbering(
    found: Mapping[str, SplitSource], wanted: Sequence[SplitSource]
) -> tuple[dict[str, int], bool]:
    """The same numbers for both halves, even where one is converted alone."""
    if len(wanted) < len(SPLITS):
        with suppress(DsmanagerError):  # damage in the half that is not asked for is of no interest
            return numbering(found.values())
    return numbering(wanted)


def _states(wanted: Sequence[SplitSource], cancel: CancelToken) -> dict[str, str]:
    with os_errors("look at ImageNet"):
        return {each.split: state_of(each, cancel=cancel) for each in wanted}


def _fingerprint(
    layout: Layout,
    states: Mapping[str, str],
    labels: Mapping[str, int],
    texts: Mapping[str, str],
    annotations: Path | None,
) -> str:
    changed = annotations.stat().st_mtime_ns if annotations else None
    made_from = [_FORM, layout.name, states, labels, texts, [str(annotations), changed]]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _make_parts(
    work: Work,
    plan: Plan,
    request: ImagenetRequest,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Every part that holds an image, those of an earlier run excepted."""
    payload_bytes = sum(split.payload_bytes for split in plan.splits.values())
    count = sum(split.count for split in plan.splits.values())
    progress.start_phase(
        "convert", bytes_total=payload_bytes, items_total=count, item_unit="images"
    )
    work.remove_unfinished()
    one_by_one = publishing.is_one_by_one(work)
    kept = work.finished(progress, cancel, skip_bad=request.skip_bad, in_dest=one_by_one)
    tasks = [task for task in _tasks(work.layout, plan) if task[:2] not in kept]
    left_bytes = payload_bytes - sum(made.source_bytes for made in kept.values())
    left = count - sum(made.images + len(made.skipped) for made in kept.values())
    require_free_bytes(
        work.folder,
        max(left_bytes, 0) + max(left, 0) * _BESIDE_AN_IMAGE_BYTES,
        f"a copy of {left:,} images",
        hint="free some space, or name another DEST",
    )
    setup = {
        "folder": str(work.folder),
        "fingerprint": plan.fingerprint,
        "skip_bad": request.skip_bad,
    }
    at_once = request.workers or (len(tasks) if request.cluster else available_cpus())
    running = run_tasks(
        _TASK,
        setup,
        tasks,
        workers=at_once,
        cluster=request.cluster,
        is_long=left_bytes > LONG_WORK_BYTES,
        label=lambda task: f"shard {task[1]} of {task[0]}",
        progress=progress,
        cancel=cancel,
    )
    with flushing(work.folder, progress), running as results, work.recording() as record:
        for place, made in results:
            record(tasks[place][:2], Made(**made))


def _tasks(layout: Layout, plan: Plan) -> Iterator[tuple[str, int, int, int]]:
    """Split, number, start and end of every shard that holds an image."""
    for split, about in plan.splits.items():
        for number, (start, end) in enumerate(layout.ranges(split, about.count)):
            if start < end:
                yield split, number, start, end
