"""The working folder: where it lies, who waits for whom, and what is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dsmanager.errors import AlreadyExistsError, DsmanagerError, VerificationError
from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.progress import CancelToken, Progress

from .conftest import SYNSETS, Convert, Ilsvrc, contents, photo


@pytest.mark.parametrize("to", ["tpu", "slim"])
def test_a_folder_whose_parent_may_not_be_written_holds_its_own_work(
    to: str, tars: Path, tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(tars, tmp_path / "beside", to)
    dest = tmp_path / "parent" / "dest"
    dest.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    seen: set[str] = set()

    class Watching(Progress):
        def add_items(self, count: int = 1) -> None:
            super().add_items(count)
            seen.update(os.listdir(dest.parent), os.listdir(dest))

    request = ImagenetRequest(source=tars, dest=dest, to=to)
    convert_imagenet(request, progress=Watching(), cancel=CancelToken())
    assert "dest" in seen
    assert all(name == "dest" or name.startswith(".convert.") for name in seen)
    assert contents(dest) == contents(tmp_path / "beside")


def test_a_note_that_a_full_disk_cut_off_does_not_take_the_next_one_with_it(
    tmp_path: Path, convert: Convert
) -> None:
    made = Ilsvrc({SYNSETS[0]: {f"{number}.JPEG": photo(number) for number in range(5)}})
    made.train[SYNSETS[0]]["bad.JPEG"] = b"bad"
    source = made.write_tars(tmp_path / "in")
    options = {"only": "train", "workers": 1}
    with pytest.raises(VerificationError):
        convert(source, tmp_path / "out", **options)
    (journal,) = tmp_path.glob(".out.*/journal")
    os.truncate(journal, journal.stat().st_size - 20)
    result = convert(source, tmp_path / "out", skip_bad=True, **options)
    assert result.splits["train"].images == 5
    assert list(result.skipped) == ["bad.JPEG"]


def test_of_two_at_once_one_waits_and_is_told(
    tars: Path, tmp_path: Path, wait_until: Callable[[Callable[[], bool], str], None]
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Held(Progress):
        def add_items(self, count: int = 1) -> None:
            super().add_items(count)
            if self.snapshot().phase == "convert":
                reached.set()
                go_on.wait()

    errors: list[DsmanagerError] = []

    request = ImagenetRequest(source=tars, dest=tmp_path / "out", to="tpu")

    def convert(progress: Progress) -> None:
        try:
            convert_imagenet(request, progress=progress, cancel=CancelToken())
        except DsmanagerError as error:
            errors.append(error)

    second_progress = Progress()
    notes: list[str] = []

    def is_told() -> bool:
        notes.extend(second_progress.take_notes())
        return bool(notes)

    first = threading.Thread(target=convert, args=(Held(),))
    second = threading.Thread(target=convert, args=(second_progress,))
    first.start()
    try:
        assert reached.wait(30)
        second.start()
        wait_until(is_told, "the second one waits")
    finally:
        go_on.set()
        first.join()
        second.join()
    assert f"convert into {tmp_path / 'out'}" in notes[0]
    assert [type(error) for error in errors] == [AlreadyExistsError]
    assert len(contents(tmp_path / "out")) == 1152
    assert os.listdir(tmp_path) == ["out"]
