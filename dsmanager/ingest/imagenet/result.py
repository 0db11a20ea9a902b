"""What came of a conversion, and what is worth saying about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dsmanager.ingest.imagenet.layouts import LAYOUTS, SHARDS
from dsmanager.ingest.imagenet.plan import Plan, SplitPlan
from dsmanager.ingest.imagenet.shards import Made
from dsmanager.ingest.imagenet.work import Shard
from dsmanager.sources.imagenet_labels import CLASSES, IMAGES

__all__ = ["ImagenetResult", "SplitResult", "result_of", "scale_notes"]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """One half, as it is in DEST now."""

    images: int
    shards: int
    bytes: int
    classes: int | None
    """Synsets with an image; None where nobody counted them."""


@dataclass(frozen=True, slots=True)
class ImagenetResult:
    """What was converted. ``notes`` are worth knowing, ``warnings`` worth doing something about."""

    path: Path
    to: str
    splits: Mapping[str, SplitResult]
    fixed: Mapping[str, tuple[str, ...]]
    """Names of the images that became RGB JPEG, by what they were: "CMYK", "PNG"."""
    skipped: Mapping[str, str]
    """Why, by the name of an image or an annotation; empty without ``skip_bad``."""
    boxed_images: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    was_converted: bool = False
    """It was there, and nothing was done."""


def result_of(
    plan: Plan, path: Path, journal: Mapping[Shard, Made], *, is_ilsvrc: bool
) -> ImagenetResult:
    made = [journal[shard] for shard in sorted(journal)]
    boxed_images = sum(each.boxed for each in made)
    fixed: dict[str, list[str]] = {}
    for name, was in (pair for each in made for pair in each.fixed):
        fixed.setdefault(was, []).append(name)
    skipped = {name: why for each in made for name, why in each.skipped}
    return ImagenetResult(
        path=path,
        to=plan.to,
        splits={split: _split(plan.splits[split], journal) for split in plan.splits},
        fixed={was: tuple(sorted(fixed[was])) for was in sorted(fixed)},
        skipped=dict(sorted(skipped.items())),
        boxed_images=boxed_images,
        notes=tuple(_notes(plan, is_ilsvrc)),
        warnings=tuple(_warnings(plan, boxed_images, len(skipped))),
    )


def _split(plan: SplitPlan, journal: Mapping[Shard, Made]) -> SplitResult:
    made = [each for (split, _), each in journal.items() if split == plan.split]
    return SplitResult(
        images=sum(each.images for each in made),
        shards=SHARDS[plan.split],
        bytes=sum(each.size_bytes for each in made),
        classes=len(plan.synsets),
    )


def scale_notes(images: Mapping[str, int], classes: Mapping[str, int]) -> Iterator[str]:
    """What of ILSVRC is not here, by split."""
    for split, count in images.items():
        if split in classes and classes[split] < CLASSES:
            yield f"{split} has {classes[split]:,} of {CLASSES:,} classes"
        if count < IMAGES.get(split, 0):
            yield f"{split} has {count:,} of {IMAGES[split]:,} images"


def _notes(plan: Plan, is_ilsvrc: bool) -> Iterator[str]:
    yield from scale_notes(
        {split: about.count for split, about in plan.splits.items()},
        {split: len(about.synsets) for split, about in plan.splits.items()},
    )
    if not is_ilsvrc:
        yield "some synsets are not ILSVRC's: labels number those that are here, in their order"
    if LAYOUTS[plan.to].has_boxes and plan.annotations is None:
        yield "there are no annotations: the lists of boxes are empty"


def _warnings(plan: Plan, boxed_images: int, skipped: int) -> Iterator[str]:
    if skipped:
        yield f"{skipped:,} images or annotations cannot be used and were left out"
    if not LAYOUTS[plan.to].has_boxes:
        return
    if plan.annotations is not None and not boxed_images:
        yield f"no image has an annotation in {plan.annotations}"
    here = {synset for about in plan.splits.values() for synset in about.synsets}
    untold = sorted(here - set(plan.texts))
    if not plan.texts:
        yield (
            "image/class/text is empty: there is no LOC_synset_mapping.txt; "
            "name such a file with --synset-text"
        )
    elif untold:
        yield f"image/class/text is empty for {len(untold):,} synsets, such as {untold[0]}"
