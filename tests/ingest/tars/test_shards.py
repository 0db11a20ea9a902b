"""How records are spread over shards, and that a dataset of them loads."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from harness.tars import examples, photos, tree_bytes, write_tar

import dsmanager
from dsmanager.errors import AlreadyExistsError, NotFoundError, UsageError
from dsmanager.ingest.tars.request import size_of


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Five tars of different length, 31 records in all."""
    for number, count in enumerate((9, 4, 1, 12, 5)):
        write_tar(tmp_path / f"train-{number}.tar", photos(20 * number, count))
    return tmp_path


TEMPLATE = "train-{0..4}.tar"


def labels(folder: Path) -> list[list[int]]:
    shards = sorted(folder.glob("*.tfrecord-*"))
    return [[example["label"][0] for example in examples(shard)] for shard in shards]


def in_order(folder: Path) -> list[int]:
    return list(itertools.chain(*labels(folder)))


def test_records_are_spread_evenly_in_their_order(convert, tars: Path) -> None:
    convert(TEMPLATE, dest="plain")
    convert(TEMPLATE, dest="three", shards=3)
    assert [len(each) for each in labels(tars / "three")] == [10, 11, 10]
    assert in_order(tars / "three") == in_order(tars / "plain")
    with pytest.raises(UsageError, match="31 records cannot fill 32 shards"):
        convert(TEMPLATE, dest="many", shards=32)


def test_no_shard_is_larger_than_asked_but_for_one_record(convert, tars: Path) -> None:
    convert(TEMPLATE, dest="plain")
    convert(TEMPLATE, dest="small", max_shard_size="6k")
    sizes = [path.stat().st_size for path in (tars / "small").glob("*.tfrecord-*")]
    assert max(sizes) <= 6000
    assert len(sizes) > 5
    assert in_order(tars / "small") == in_order(tars / "plain")
    convert(TEMPLATE, dest="each", max_shard_size=1)
    assert len(labels(tars / "each")) == 31


def test_a_shuffle_goes_over_all_shards_and_a_seed_fixes_it(convert, tars: Path) -> None:
    convert(TEMPLATE, dest="plain")
    for dest, seed, workers in (("a", 1, 1), ("b", 1, 3), ("c", 2, 1)):
        convert(TEMPLATE, dest=dest, shuffle=seed, shards=4, workers=workers)
    assert tree_bytes(tars / "a") == tree_bytes(tars / "b")
    assert in_order(tars / "a") != in_order(tars / "c")
    assert sorted(in_order(tars / "a")) == sorted(in_order(tars / "plain"))
    first = [example["image_raw"][0] for example in examples(min((tars / "a").glob("*.tfrecord*")))]
    plain = [
        [example["image_raw"][0] for example in examples(shard)]
        for shard in sorted((tars / "plain").glob("*.tfrecord-*"))
    ]
    assert sum(any(each in shard for each in first) for shard in plain) > 2


@pytest.mark.parametrize("to", ["tfrecord", "array_record"])
def test_with_a_name_it_is_a_dataset_that_loads(convert, tars: Path, to: str) -> None:
    convert(TEMPLATE, to=to, name="photos", shards=2, dest="photos/1.0.0")
    convert(TEMPLATE, dest="plain")
    folder = tars / "photos" / "1.0.0"
    info, splits = dsmanager.from_directory(folder, framework="numpy")
    assert (info.full_name, list(splits)) == ("photos/1.0.0", ["train"])
    loaded = [int(example["label"]) for example in splits["train"]]
    assert loaded == in_order(tars / "plain")
    assert splits["train"][3]["image_raw"].shape == (23, 30, 3)
    assert info.splits["train"].shard_lengths == [16, 15]
    library = dsmanager.Library(data_dir=tars)
    _, again = library.load("photos", split="train[:50%]", framework="numpy")
    assert len(again) == 16


def test_tfds_itself_opens_the_dataset(convert, tars: Path) -> None:
    import tensorflow_datasets as tfds

    convert("train-{0..1}.tar", name="photos")
    builder = tfds.builder_from_directory(str(tars / "out"))
    source = [int(each["label"]) for each in tfds.as_numpy(builder.as_dataset(split="train"))]
    assert source == [*range(9), *range(4)]


def test_what_is_done_is_not_done_again_and_nothing_is_replaced_unasked(
    convert, tars: Path
) -> None:
    assert convert(TEMPLATE).was_converted is False
    before = tree_bytes(tars / "out")
    assert convert(TEMPLATE).was_converted is True
    with pytest.raises(AlreadyExistsError, match="holds something already") as caught:
        convert(TEMPLATE, shuffle=1)
    assert "--overwrite" in caught.value.hint
    assert tree_bytes(tars / "out") == before
    assert convert(TEMPLATE, shuffle=1, overwrite=True).records == 31
    write_tar(tars / "train-2.tar", photos(1, 2))
    with pytest.raises(AlreadyExistsError):
        convert(TEMPLATE, shuffle=1)
    (tars / "file").write_text("mine")
    with pytest.raises(UsageError, match="is no folder"):
        convert(TEMPLATE, dest="file", overwrite=True)


@pytest.mark.parametrize("dest", [".", "deep", "deep/../deep", "link"])
def test_originals_are_never_replaced(convert, tars: Path, dest: str) -> None:
    """What is asked to be overwritten is what was converted before, not what is converted now."""
    source = tars / "deep" / "er" / "own-0.tar"
    source.parent.mkdir(parents=True)
    write_tar(source, photos(0, 2))
    (tars / "link").symlink_to(tars / "deep")
    before = source.read_bytes()
    with pytest.raises(UsageError, match=r"is where own-0.tar is read from"):
        convert(str(source), dest=dest, overwrite=True)
    assert source.read_bytes() == before
    assert convert(str(source), dest="deep/out").records == 2


def test_missing_tars_are_named_and_nothing_is_visible(convert, tars: Path) -> None:
    with pytest.raises(NotFoundError, match=r"2 of 7 sources are not there: .*train-5.*train-6"):
        convert("train-{0..6}.tar")
    with pytest.raises(NotFoundError, match=r"train-9\.tar is not there"):
        convert("train-9.tar")
    assert sorted(path.name for path in tars.iterdir()) == [f"train-{n}.tar" for n in range(5)]


def test_sizes_are_read_as_people_write_them() -> None:
    assert [size_of(each) for each in ("1", "512M", "1.5k", "2GiB", "3ti")] == [
        1, 512_000_000, 1500, 2 << 30, 3 << 40,
    ]  # fmt: skip
    with pytest.raises(UsageError, match="is no size"):
        size_of("much")


@pytest.mark.parametrize(
    "options",
    [
        {"shards": 2, "max_shard_size": "1M"},
        {"fields": "all", "record": "json:dumps"},
        {"fields": "jpg,,cls"},
        {"split_at": "middle"},
        {"name": "a/b"},
        {"to": "parquet"},
    ],
)
def test_what_cannot_be_asked_for_is_refused(convert, tars: Path, options) -> None:
    with pytest.raises(UsageError) as caught:
        convert(TEMPLATE, **options)
    assert "dsmanager convert" in caught.value.hint
