"""``--to tfds``: the dataset of the catalogue's builder, from the half that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmanager.errors import AlreadyExistsError, NotFoundError, UsageError, VerificationError
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.ingest.imagenet.result import ImagenetResult
from dsmanager.library.imagenet import convert_imagenet
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records
from dsmanager.settings import Settings

from .conftest import SYNSETS, Ilsvrc, photo


def convert(source: Path, dest: Path, state: Path, **options: Any) -> ImagenetResult:
    return convert_imagenet(
        replace(Settings.load(), state_dir=state),
        ImagenetRequest(source=source, dest=dest, to="tfds", **options),
        progress=Progress(),
        cancel=CancelToken(),
    )


def names_in(folder: Path) -> set[str]:
    return {
        parse_example(record)["file_name"][0].decode()  # type: ignore[union-attr]
        for path in folder.glob("*.tfrecord-*")
        for record in read_records(path)
    }


def test_training_images_of_no_synset_are_an_error_and_get_no_label(tmp_path: Path) -> None:
    (tmp_path / "in" / "train").mkdir(parents=True)
    (tmp_path / "in" / "train" / "loose.JPEG").write_bytes(photo(1))
    with pytest.raises(VerificationError, match=r"training image 'loose.JPEG' is not known"):
        convert(tmp_path / "in", tmp_path / "data", tmp_path / "state", only="train")


def test_a_data_dir_in_a_tree_of_images_is_refused(ilsvrc: Ilsvrc, tmp_path: Path) -> None:
    """It would be taken for a synset ever after."""
    source = ilsvrc.write_tree(tmp_path / "in")
    for dest in (source / "train", source / "train" / "n01440764" / "data", source / "val"):
        with pytest.raises(UsageError, match="split is read from"):
            convert(source, dest, tmp_path / "state")
    assert sorted(path.name for path in (source / "train").iterdir()) == sorted(SYNSETS)


def test_one_half_and_then_both(tars: Path, ilsvrc: Ilsvrc, tmp_path: Path) -> None:
    state, dest = tmp_path / "state", tmp_path / "data"
    result = convert(tars, dest, state, only="train")
    assert result.path == dest / "imagenet2012" / "5.1.0"
    assert result.fixed == {
        "CMYK": ("n01440764_3.JPEG", "n01443537_3.JPEG"),
        "PNG": ("n02105855_4.JPEG",),
    }
    assert {name: split.images for name, split in result.splits.items()} == {"train": 24}
    assert "train has 24 of 1,281,167 images" in result.notes
    assert names_in(result.path) == {name for files in ilsvrc.train.values() for name in files}
    with pytest.raises(AlreadyExistsError, match="is there already, with train") as caught:
        convert(tars, dest, state)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--overwrite")
    assert set(convert(tars, dest, state, overwrite=True).splits) == {"train", "validation"}
    assert not result.was_converted
    again = convert(tars, dest, state)
    assert again.was_converted
    assert "nothing was done" in again.notes[-1]


def test_a_bad_image_is_named_or_left_out(tmp_path: Path) -> None:
    made = Ilsvrc({SYNSETS[0]: {"good.JPEG": photo(1), "bad.JPEG": photo(2)[:-60]}})
    tars, state, dest = made.write_tars(tmp_path / "in"), tmp_path / "state", tmp_path / "data"
    with pytest.raises(VerificationError, match=r"train: the image 'bad.JPEG'"):
        convert(tars, dest, state, only="train")
    result = convert(tars, dest, state, only="train", skip_bad=True)
    assert list(result.skipped) == ["bad.JPEG"]
    assert names_in(result.path) == {"good.JPEG"}


def test_a_missing_half_is_named(tars: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "ILSVRC2012_img_train.tar").symlink_to(tars / "ILSVRC2012_img_train.tar")
    with pytest.raises(NotFoundError, match=r"no validation split: neither ILSVRC2012_img_val.tar"):
        convert(source, tmp_path / "data", tmp_path / "state")
