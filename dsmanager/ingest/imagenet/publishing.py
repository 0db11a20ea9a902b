"""From finished parts to DEST: nothing is seen there before its half is whole.

The tree of shards is put together in the working folder. A new DEST is that tree, by one rename; an
existing one gets a folder for each split (tpu), or is replaced by a tree that has its other shards
as well (slim), each by one rename. Only a slim DEST that holds other things, or is a file system of
its own, gets its finished shards one by one.

What a rename is about to do is noted before: so the next run after a crash knows what is done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from dsmanager.errors import os_errors
from dsmanager.files import flush_tree, fsync_folder, move_tree_into_place, write_json
from dsmanager.ingest.imagenet.layouts import SHARDS
from dsmanager.ingest.imagenet.shards import part_path
from dsmanager.ingest.imagenet.work import Work

__all__ = ["is_begun", "is_one_by_one", "is_published", "publish"]

_NOTE = "publishing.json"
_WHOLE = "."
_ONE_BY_ONE = "one by one"
_SHARD = re.compile(r"(?:train-\d{5}-of-01024|validation-\d{5}-of-00128)")


def publish(work: Work) -> None:
    """Makes every shard of the request visible in DEST. Raises one of dsmanager's errors."""
    with os_errors(f"write {work.dest.name}"):
        _assemble(work)
        if not work.dest.exists():
            _move(work, {_WHOLE: work.dest})
        elif work.layout.has_folders:
            _move(work, {split: work.dest / split for split in work.splits})
        elif _can_be_replaced(work):
            _take_over_others(work)
            _move(work, {_WHOLE: work.dest})
        else:
            _move_one_by_one(work)


def is_published(work: Work) -> bool:
    """Whether an earlier run had done all, and was killed before it could say so."""
    return all(_is_split_published(work, split) for split in work.splits)


def is_begun(work: Work) -> bool:
    """Whether an earlier run may have made something visible: what is in DEST is then its own."""
    return bool(_note(work))


def is_one_by_one(work: Work) -> bool:
    """Whether an earlier run was moving shards into DEST one by one."""
    return _ONE_BY_ONE in _note(work)


def _is_split_published(work: Work, split: str) -> bool:
    note = _note(work)
    if _ONE_BY_ONE in note:
        shards = [work.layout.shard(split, number) for number in range(SHARDS[split])]
        return all(
            (work.dest / shard).exists() and not (work.tree / shard).exists() for shard in shards
        )
    name, final = (split, work.dest / split) if split in note else (_WHOLE, work.dest)
    try:
        return os.stat(final).st_ino == note.get(name)
    except OSError:
        return False


def _note(work: Work) -> dict[str, int]:
    """Inode of each tree that is, or was about to be, moved, by its name."""
    try:
        found = json.loads((work.folder / _NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _assemble(work: Work) -> None:
    """Every part under the name of its shard; a shard that has no part holds no image."""
    for split in work.splits:
        if _is_split_published(work, split):
            continue
        (work.tree / work.layout.folder(split)).mkdir(parents=True, exist_ok=True)
        for number in range(SHARDS[split]):
            shard = work.tree / work.layout.shard(split, number)
            part = part_path(work.folder, split, number)
            if part.exists():
                os.replace(part, shard)
            elif not shard.exists() and not is_one_by_one(work):
                shard.touch()


def _move(work: Work, targets: dict[str, Path]) -> None:
    waiting = {
        name: final
        for name, final in targets.items()
        if not _is_split_published(work, name if name != _WHOLE else work.splits[0])
    }
    inodes = {name: os.stat(work.tree / name).st_ino for name in waiting}
    write_json(work.folder / _NOTE, {**_note(work), **inodes})
    for name, final in waiting.items():
        move_tree_into_place(work.tree / name, final)


def _can_be_replaced(work: Work) -> bool:
    """Whether DEST holds nothing but shards, and something else can take its place."""
    if is_one_by_one(work) or work.folder.parent == work.dest:
        return False
    with os.scandir(work.dest) as entries:
        return all(
            _SHARD.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            for entry in entries
        )


def _take_over_others(work: Work) -> None:
    """The shards of the other half, by another link to the same file where that is possible."""
    for name in os.listdir(work.dest):
        copy = work.tree / name
        if not copy.exists():
            try:
                os.link(work.dest / name, copy)
            except OSError:
                shutil.copy2(work.dest / name, copy)


def _move_one_by_one(work: Work) -> None:
    flush_tree(work.tree)
    write_json(work.folder / _NOTE, {_ONE_BY_ONE: 1})
    for name in sorted(os.listdir(work.tree)):
        os.replace(work.tree / name, work.dest / name)
    fsync_folder(work.dest)
