"""What a request may ask for, what it is told, and what is refused before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dsmanager.errors import (
    AlreadyExistsError,
    CancelledError,
    DsmanagerError,
    NoSpaceError,
    NotFoundError,
    TemporaryError,
    UsageError,
    VerificationError,
)
from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.progress import CancelToken, Progress
from dsmanager.records.example import parse_example
from dsmanager.records.tfrecord import read_records

from .conftest import SYNSETS, Convert, Ilsvrc, contents, photo, tar_bytes, tar_of


def labels_in(folder: Path) -> dict[str, int]:
    """Label by file name, of all shards below a folder."""
    found = {}
    for path in folder.rglob("*-of-*"):
        for record in read_records(path):
            example = parse_example(record)
            (name,), (label,) = example["image/filename"], example["image/class/label"]
            found[name.decode()] = label  # type: ignore[union-attr]
    return found


def small(count: int = 2) -> Ilsvrc:
    synset = SYNSETS[0]
    made = Ilsvrc()
    made.train[synset] = {f"{synset}_{number}.JPEG": photo(number) for number in range(count)}
    made.validation["ILSVRC2012_val_00000001.JPEG"] = photo(9)
    return made


def test_every_layout_and_any_number_of_workers_give_the_same_bytes(
    tars: Path, kaggle: Path, ilsvrc: Ilsvrc, tmp_path: Path, convert: Convert
) -> None:
    tree = ilsvrc.write_tree(tmp_path / "tree")
    shutil.move(tree / "val", tree / "validation")
    for number, source in enumerate((tars, kaggle, kaggle / "ILSVRC", tree)):
        convert(source, tmp_path / f"out-{number}")
    expected = contents(tmp_path / "out-0")
    assert all(contents(tmp_path / f"out-{number}") == expected for number in (1, 2, 3))


def test_helpers_write_the_same_shards(tmp_path: Path, convert: Convert) -> None:
    """CMYK, so that there is work for longer than a helper needs to start."""
    synset = SYNSETS[0]
    images = [photo(number, "CMYK") for number in range(4)]
    made = Ilsvrc({synset: {f"{n}.JPEG": images[n % 4] for n in range(1500)}})
    tars = made.write_tars(tmp_path / "tars")
    one = convert(tars, tmp_path / "one", only="train", workers=1)
    three = convert(tars, tmp_path / "three", only="train", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert one.fixed == three.fixed
    assert len(one.fixed["CMYK"]) == 1500


def test_validation_images_in_folders_of_synsets(tmp_path: Path, convert: Convert) -> None:
    for synset in SYNSETS[:2]:
        (tmp_path / "in" / "val" / synset).mkdir(parents=True)
        (tmp_path / "in" / "val" / synset / f"any {synset}.JPEG").write_bytes(photo(1))
    convert(tmp_path / "in", tmp_path / "out", "slim", only="val")
    assert labels_in(tmp_path / "out") == {f"any {SYNSETS[0]}.JPEG": 1, f"any {SYNSETS[1]}.JPEG": 2}


def test_originals_are_left_alone_and_nothing_but_shards_is_left(
    tars: Path, tmp_path: Path, convert: Convert
) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tars.iterdir()}
    convert(tars, tmp_path / "deep" / "out")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tars.iterdir()} == before
    assert os.listdir(tmp_path / "deep") == ["out"]


@pytest.mark.parametrize("to", ["tpu", "slim"])
def test_one_half_after_the_other_is_as_both_at_once(
    to: str, tars: Path, tmp_path: Path, convert: Convert
) -> None:
    convert(tars, tmp_path / "both", to)
    convert(tars, tmp_path / "halves", to, only="val")
    result = convert(tars, tmp_path / "halves", to, only="train")
    assert contents(tmp_path / "halves") == contents(tmp_path / "both")
    assert list(result.splits) == ["train"]


def test_one_tar_is_enough_for_its_half(tars: Path, tmp_path: Path, convert: Convert) -> None:
    convert(tars / "ILSVRC2012_img_val.tar", tmp_path / "out", only="val")
    assert len(contents(tmp_path / "out")) == 128
    with pytest.raises(NotFoundError, match=r"no train split.*ILSVRC2012_img_train.tar") as caught:
        convert(tars / "ILSVRC2012_img_val.tar", tmp_path / "both")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--only val")


def test_fewer_classes_and_images_are_a_note(tars: Path, tmp_path: Path, convert: Convert) -> None:
    notes = convert(tars, tmp_path / "out").notes
    assert "train has 4 of 1,000 classes" in notes
    assert "train has 24 of 1,281,167 images" in notes


def test_other_synsets_are_numbered_in_their_order(tmp_path: Path, convert: Convert) -> None:
    for synset in ("n99999999", "n00000001", SYNSETS[3]):
        for half in ("train", "val"):
            (tmp_path / "in" / half / synset).mkdir(parents=True)
            (tmp_path / "in" / half / synset / f"{half} {synset}.JPEG").write_bytes(photo(1))
    shutil.rmtree(tmp_path / "in" / "val" / "n00000001")
    result = convert(tmp_path / "in", tmp_path / "out")
    assert any("not ILSVRC's" in note for note in result.notes)
    assert labels_in(tmp_path / "out") == {
        "train n00000001.JPEG": 1,
        f"train {SYNSETS[3]}.JPEG": 2,
        f"val {SYNSETS[3]}.JPEG": 2,
        "train n99999999.JPEG": 3,
        "val n99999999.JPEG": 3,
    }
    convert(tmp_path / "in", tmp_path / "half", only="val")
    assert labels_in(tmp_path / "half")["val n99999999.JPEG"] == 3


def test_words_come_from_the_file_that_is_named(
    tars: Path, tmp_path: Path, convert: Convert
) -> None:
    words = tmp_path / "imagenet_metadata.txt"
    words.write_text("".join(f"{synset}\tsome, words\n" for synset in SYNSETS[:3]))
    result = convert(tars, tmp_path / "out", "slim", only="train", synset_text=words)
    assert result.warnings == ("image/class/text is empty for 1 synsets, such as n15075141",)
    words.write_text("n01440764\n")
    with pytest.raises(UsageError, match="line 1"):
        convert(tars, tmp_path / "again", "slim", synset_text=words)


# --- what is refused ---


def test_a_source_that_is_not_there_or_holds_nothing(tmp_path: Path, convert: Convert) -> None:
    with pytest.raises(NotFoundError, match="there is no"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(NotFoundError, match=r"no train split: neither ILSVRC2012_img_train.tar"):
        convert(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="no half 'test'"):
        convert(tmp_path, tmp_path / "out", only="test")
    assert not (tmp_path / "out").exists()


def test_an_empty_half_is_an_error_that_names_it(tmp_path: Path, convert: Convert) -> None:
    source = small().write_tree(tmp_path / "in")
    (source / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()
    with pytest.raises(NotFoundError, match=r"the validation split .* holds no image"):
        convert(source, tmp_path / "out")
    tar_of(tmp_path / "in" / "ILSVRC2012_img_val.tar", {})
    with pytest.raises(NotFoundError, match=r"the validation split .* holds no image"):
        convert(source, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in"]


def test_shards_that_are_there_are_not_replaced_unasked(
    tars: Path, kaggle: Path, tmp_path: Path, convert: Convert
) -> None:
    for to in ("tpu", "slim"):
        convert(tars, tmp_path / to, to, only="train")
        before = contents(tmp_path / to)
        with pytest.raises(AlreadyExistsError) as caught:
            convert(kaggle, tmp_path / to, to)
        assert caught.value.hint is not None
        assert caught.value.hint.endswith("--overwrite")
        assert contents(tmp_path / to) == before
        convert(kaggle, tmp_path / to, to, overwrite=True)
        assert len(contents(tmp_path / to)) == 1152
    assert sorted(os.listdir(tmp_path)) == ["slim", "tpu"]


def test_originals_are_never_replaced(tmp_path: Path, convert: Convert) -> None:
    source = small().write_tree(tmp_path / "in")
    for dest, to in ((source, "tpu"), (source / "train", "slim"), (source / "val" / "x", "tpu")):
        with pytest.raises(UsageError, match="is read from"):
            convert(source, dest, to, overwrite=True)
    assert len(contents(source)) == 3


def test_free_space_is_asked_for_before_a_shard_is_written(
    tmp_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small().write_tree(tmp_path / "in")
    monkeypatch.setattr("dsmanager.files.free_bytes", lambda _: 1000)
    with pytest.raises(NoSpaceError, match="a copy of 3 images needs"):
        convert(source, tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_a_cut_tar_is_named(tmp_path: Path, convert: Convert) -> None:
    source = small().write_tars(tmp_path / "in")
    val = source / "ILSVRC2012_img_val.tar"
    os.truncate(val, val.stat().st_size - 10_240)
    with pytest.raises(VerificationError, match=r"img_val.tar is damaged: it is cut off"):
        convert(source, tmp_path / "out", only="val")
    inner = tar_bytes({"a.JPEG": photo(1)})[:1000]
    tar_of(source / "ILSVRC2012_img_train.tar", {"n01440764.tar": inner})
    with pytest.raises(VerificationError, match=r"n01440764.tar in ILSVRC2012_img_train.tar is"):
        convert(source, tmp_path / "out", only="train")


def test_a_validation_image_without_a_label_is_named(tmp_path: Path, convert: Convert) -> None:
    for name in ("photo.JPEG", "ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_00000000.JPEG"):
        source = tmp_path / name
        source.mkdir()
        tar_of(source / "ILSVRC2012_img_val.tar", {name: photo(1)})
        with pytest.raises(VerificationError, match=name):
            convert(source, tmp_path / "out", only="val")


def test_images_in_no_folder_of_a_synset_are_named(tmp_path: Path, convert: Convert) -> None:
    source = small().write_tree(tmp_path / "in")
    loose = source / "train" / "loose.JPEG"
    loose.write_bytes(photo(1))
    with pytest.raises(VerificationError, match=r"train holds folders of .* such as 'loose.JPEG'"):
        convert(source, tmp_path / "out")
    shutil.rmtree(source / "train" / SYNSETS[0])
    with pytest.raises(VerificationError, match=r"training image 'loose.JPEG' is not known"):
        convert(source, tmp_path / "out")
    assert len(convert(source, tmp_path / "out", only="val").splits) == 1
    (source / "val" / SYNSETS[1]).mkdir()
    (source / "val" / SYNSETS[1] / "a.JPEG").write_bytes(photo(2))
    with pytest.raises(VerificationError, match="val holds folders of synsets and images beside"):
        convert(source, tmp_path / "other", only="val")
    assert not (tmp_path / "other").exists()


def test_a_tar_of_no_synset_is_named(tmp_path: Path, convert: Convert) -> None:
    tar_of(tmp_path / "ILSVRC2012_img_train.tar", {".tar": tar_bytes({"a.JPEG": photo(1)})})
    with pytest.raises(VerificationError, match=r"holds '.tar', which is no tar of one synset"):
        convert(tmp_path, tmp_path / "out", only="train")


BAD = {
    "empty": b"",
    "text": b"this is no image",
    "cut": photo(1)[:-200],
    "header alone": photo(1)[:100],
    "GIF": b"GIF89a" + bytes(100),
    "PNG header": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "cut CMYK": photo(2, "CMYK")[:200],
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_stops_and_is_named_or_is_skipped_and_reported(
    what: str, tmp_path: Path, convert: Convert
) -> None:
    made = small()
    made.train[SYNSETS[0]]["bad.JPEG"] = BAD[what]
    source = made.write_tars(tmp_path / "in")
    with pytest.raises(VerificationError, match=r"train: the image 'bad.JPEG'") as caught:
        convert(source, tmp_path / "out", only="train")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--skip-bad")
    assert not (tmp_path / "out").exists()
    result = convert(source, tmp_path / "out", only="train", skip_bad=True)
    assert list(result.skipped) == ["bad.JPEG"]
    assert result.splits["train"].images == 2
    assert len(result.warnings) == 1
    assert set(labels_in(tmp_path / "out")) == set(made.train[SYNSETS[0]]) - {"bad.JPEG"}


def test_an_image_whose_end_alone_is_missing_is_decoded_and_kept(
    tmp_path: Path, convert: Convert
) -> None:
    made = small()
    made.train[SYNSETS[0]]["more.JPEG"] = photo(1) + b"a line after the end"
    source = made.write_tars(tmp_path / "in")
    assert convert(source, tmp_path / "out", only="train").skipped == {}


def test_a_bad_annotation_is_named(tmp_path: Path, convert: Convert) -> None:
    source = small().write_tars(tmp_path / "in")
    boxes = tmp_path / "boxes" / SYNSETS[0]
    boxes.mkdir(parents=True)
    (boxes / f"{SYNSETS[0]}_1.xml").write_text("<annotation>")
    options = {"only": "train", "annotations": tmp_path / "boxes"}
    with pytest.raises(VerificationError, match=r"the annotation 'n01440764_1.xml'"):
        convert(source, tmp_path / "out", "slim", **options)
    result = convert(source, tmp_path / "out", "slim", **options, skip_bad=True)
    assert result.splits["train"].images == 2
    assert list(result.skipped) == ["n01440764_1.xml"]
    with pytest.raises(UsageError, match="neither words nor boxes"):
        convert(source, tmp_path / "tpu", "tpu", **options)
    with pytest.raises(NotFoundError, match="no folder of annotations"):
        convert(source, tmp_path / "slim", "slim", annotations=tmp_path / "none")


def test_a_source_that_changes_begins_anew(tmp_path: Path, convert: Convert) -> None:
    made = small()
    made.train[SYNSETS[0]]["bad.JPEG"] = b"bad"
    source = made.write_tree(tmp_path / "in")
    with pytest.raises(VerificationError):
        convert(source, tmp_path / "out")
    (source / "train" / SYNSETS[0] / "bad.JPEG").write_bytes(photo(5))
    (source / "train" / SYNSETS[0] / f"{SYNSETS[0]}_0.JPEG").write_bytes(photo(6))
    convert(source, tmp_path / "out")
    convert(source, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


class AtAnImage(Progress):
    """Does something once, when so many images are converted."""

    def __init__(self, count: int, action: Callable[[], None]) -> None:
        super().__init__()
        self._count, self._action = count, action

    def add_items(self, count: int = 1) -> None:
        super().add_items(count)
        now = self.snapshot()
        if now.phase == "convert" and now.items_done == self._count:
            self._action()


def test_a_source_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, convert: Convert
) -> None:
    """Of the same length, so that nothing else would tell."""
    source = small(20).write_tars(tmp_path / "in")
    val = source / "ILSVRC2012_img_val.tar"

    def change() -> None:
        other = small()
        other.validation["ILSVRC2012_val_00000001.JPEG"] = photo(9)[:-9] + b"123456\xff\xd9\0"
        other.write_tars(tmp_path / "other")
        shutil.copy(tmp_path / "other" / val.name, val)

    request = ImagenetRequest(source=source, dest=tmp_path / "out", to="tpu", workers=1)
    with pytest.raises(TemporaryError, match=r"in changed while it was read"):
        convert_imagenet(request, progress=AtAnImage(5, change), cancel=CancelToken())
    assert not (tmp_path / "out").exists()
    convert(source, tmp_path / "out")
    convert(source, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_tar_that_becomes_shorter_while_it_is_read_is_named(
    tmp_path: Path, convert: Convert
) -> None:
    source = small(20).write_tars(tmp_path / "in")
    train = source / "ILSVRC2012_img_train.tar"
    whole = train.read_bytes()
    request = ImagenetRequest(source=source, dest=tmp_path / "out", to="tpu", workers=1)
    progress = AtAnImage(5, lambda: os.truncate(train, 2000))
    with pytest.raises(VerificationError, match=r"n01440764_\d+\.JPEG has \d+ bytes, and had"):
        convert_imagenet(request, progress=progress, cancel=CancelToken())
    assert not (tmp_path / "out").exists()
    train.write_bytes(whole)
    assert convert(source, tmp_path / "out").splits["train"].images == 20


def test_cancelling_stops_and_the_next_run_goes_on(tmp_path: Path, convert: Convert) -> None:
    source = small(50).write_tars(tmp_path / "in")
    cancel = CancelToken()
    request = ImagenetRequest(source=source, dest=tmp_path / "out", to="tpu")
    with pytest.raises(CancelledError):
        convert_imagenet(request, progress=AtAnImage(20, cancel.cancel), cancel=cancel)
    assert not (tmp_path / "out").exists()
    progress = Progress()
    convert_imagenet(request, progress=progress, cancel=CancelToken())
    now = progress.snapshot()
    assert (now.items_done, now.items_total) == (51, 51)
    assert now.bytes_done == now.bytes_total
    assert len(labels_in(tmp_path / "out")) == 51
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_a_damaged_part_of_an_earlier_run_is_made_again(tmp_path: Path, convert: Convert) -> None:
    made = small()
    made.validation["ILSVRC2012_val_00000002.JPEG"] = b"bad"
    source = made.write_tars(tmp_path / "in")
    with pytest.raises(DsmanagerError):
        convert(source, tmp_path / "out")
    parts = list(tmp_path.glob(".out.*/train.*.part"))
    assert len(parts) == 2
    damaged = bytearray(parts[0].read_bytes())
    damaged[-50] ^= 1
    parts[0].write_bytes(damaged)
    convert(source, tmp_path / "out", skip_bad=True)
    convert(source, tmp_path / "fresh", skip_bad=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
