"""What becomes of the records of a tar: order, grouping, features; nothing is silently left out."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import zstandard
from harness.tars import examples, image, photos, tree_bytes, write_tar

from dsmanager.errors import UsageError, VerificationError
from dsmanager.ingest.tars.grouping import split_name
from dsmanager.ingest.tars.records import feature_of, seed_of


def test_the_default_record_is_that_of_tar2tf(convert, tmp_path: Path) -> None:
    files = {
        "gray": image(3, mode="L"),
        "photo": image(5),
        "picture": image(7, form="PNG", mode="RGBA"),
    }
    members = []
    for label, (name, content) in enumerate(sorted(files.items())):
        members += [(f"{name}.cls", f" {label}\n".encode())]
        members += [(f"{name}.{'png' if name == 'picture' else 'jpg'}", content)]
    write_tar(tmp_path / "train-0.tar", members)
    done = convert("train-{0..0}.tar")
    assert (done.name, done.records, done.shards, done.notes) == ("train", 3, 1, ())
    found = examples(tmp_path / "out" / "train.tfrecord-00000-of-00001")
    assert found == [
        {"depth": [d], "height": [h], "image_raw": [files[n]], "label": [k], "width": [30]}
        for k, (n, h, d) in enumerate([("gray", 23, 1), ("photo", 25, 3), ("picture", 27, 4)])
    ]


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zst"])
def test_every_compression_gives_the_same_records(convert, tmp_path: Path, compression) -> None:
    plain = write_tar(tmp_path / "plain.tar", photos(0, 8))
    path = tmp_path / f"t-0.tar.{compression or 'none'}"
    if compression == "zst":
        path.write_bytes(zstandard.compress(plain.read_bytes()))
    else:
        write_tar(path, photos(0, 8), compression)
    convert(str(path), dest="out", name="x")
    convert("plain.tar", dest="plain", name="x")
    shard = "x.tfrecord-00000-of-00001"
    assert (tmp_path / "out" / shard).read_bytes() == (tmp_path / "plain" / shard).read_bytes()


def test_shards_follow_the_template_in_order_and_nothing_else_is_named_like_one(
    convert, tmp_path: Path
) -> None:
    for number in range(3):
        write_tar(tmp_path / f"val_{number:02d}.tar", photos(10 * number, 4))
    done = convert("val_{02..00}.tar")
    folder = tmp_path / "out"
    names = [f"val.tfrecord-0000{index}-of-00003" for index in range(3)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "features.json", "index.json", *names,
    ]  # fmt: skip
    labels = [example["label"][0] for name in names for example in examples(folder / name)]
    assert labels == [0, 1, 2, 3] * 3
    index = json.loads((folder / "index.json").read_bytes())
    assert [source["name"] for source in index["sources"]] == [
        "val_02.tar",
        "val_01.tar",
        "val_00.tar",
    ]
    assert (index["records"], done.size_bytes) == (12, index["bytes"])


def test_names_are_split_as_webdataset_or_tar2tf_split_them() -> None:
    assert split_name("a/b.c/d.seg.PNG", "first-dot") == ("a/b.c/d", "seg.png")
    assert split_name("a/b.c/d.seg.PNG", "last-dot") == ("a/b.c/d.seg", "png")
    assert split_name("a/._d.jpg", "first-dot") == "hidden files"
    assert split_name("a.b/README", "first-dot") == "files without extension"
    assert split_name("end.", "last-dot") == "files without extension"
    assert split_name("__meta__/x.jpg", "first-dot") == "files named __…__"


WEBDATASET = """
import json, sys, webdataset
samples = webdataset.WebDataset(sys.argv[1:], shardshuffle=False)
files = [{key: value.hex() for key, value in sample.items() if not key.startswith("__")}
         for sample in samples]
json.dump(files, sys.stdout)
"""
"""In a process of its own: it leaves files open."""


def test_webdatasets_own_reader_gives_the_same_records(convert, tmp_path: Path) -> None:
    random.seed(5)
    members = [(f"{folder}/{number:03d}.{extension}", random.randbytes(random.randrange(3000)))
               for folder in ("", "a", "b/c.d") for number in range(5)
               for extension in ("JPG", "cls", "seg.png")]  # fmt: skip
    members = [(name.lstrip("/"), content) for name, content in members]
    for number, form in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        named = [(f"{number}{name}" + "x" * 120 * (form != tarfile.USTAR_FORMAT), content)
                 for name, content in members]  # fmt: skip
        write_tar(tmp_path / f"s-{number}.tar", named, form=form)
    urls = [str(tmp_path / f"s-{number}.tar") for number in range(3)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WEBDATASET, *urls],
        stdout=subprocess.PIPE,
        check=True,
    )
    theirs = [
        {key: bytes.fromhex(value) for key, value in sample.items()}
        for sample in json.loads(done.stdout)
    ]
    for number in range(3):
        convert(f"s-{number}.tar", fields="all", dest=f"out{number}")
    ours = [
        {key: values[0] for key, values in example.items()}
        for number in range(3)
        for example in examples(next((tmp_path / f"out{number}").glob("*.tfrecord*")))
    ]
    assert len(ours) == 45
    assert ours == theirs


def test_what_belongs_to_no_record_is_counted_and_named(convert, tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "t.tar",
        [("README", b"x"), ("d/._0.jpg", b"x"), ("d/.DS_Store", b""), ("__info__", b""),
         *photos(0, 2), ("train/0001.json", b"{}")],
    )  # fmt: skip
    with tarfile.open(path, "a:") as tar:
        for name, kind in (("train", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "train/0000.jpg"
            tar.addfile(info)
    done = convert("t.tar")
    assert done.records == 2
    assert set(done.notes) == {
        "left out: 1 files .json, the first train/0001.json in t.tar",
        "left out: 1 files named __…__, the first __info__ in t.tar",
        "left out: 1 files without extension, the first README in t.tar",
        "left out: 1 links, the first l.jpg in t.tar",
        "left out: 2 hidden files, the first d/._0.jpg in t.tar",
    }


def test_incomplete_records_stop_or_are_counted(convert, tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", [*photos(0, 2), ("a/lonely.cls", b"1"), *photos(5, 1)])
    with pytest.raises(VerificationError, match=r"t\.tar, record a/lonely: it has no \.jpg"):
        convert("t.tar")
    assert not (tmp_path / "out").exists()
    done = convert("t.tar", skip_incomplete=True)
    assert done.records == 3
    assert "left out: 1 incomplete records, the first a/lonely: it has no .jpg" in done.notes[0]


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("a.jpg", b"1"), ("a.jpg", b"2")], r"'a\.jpg' is there twice"),
        ([("a.x", b""), ("b.x", b""), ("a.x", b"")], "two records of the key a"),
        ([("a.x", b""), ("b.y", b"")], r"record b: it has no \.x"),
        ([("a.x", b""), ("b.x", b""), ("b.y", b"")], r"record b: it has \.y, which records before"),
    ],
)
def test_duplicates_and_odd_records_are_named(convert, tmp_path, members, problem) -> None:
    write_tar(tmp_path / "t.tar", members)
    with pytest.raises(VerificationError, match=problem):
        convert("t.tar", fields="all")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar"]


def test_equal_keys_of_several_tars_are_kept_and_told(convert, tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"t-{number}.tar", photos(0, 3))
    done = convert("t-{0..1}.tar")
    assert done.records == 6
    assert "train/0000 in t-0.tar and t-1.tar" in done.notes[0]
    with pytest.raises(UsageError, match="is named twice"):
        convert("t-{0,0}.tar", dest="other")


def test_tars_that_disagree_on_their_fields_are_named(convert, tmp_path: Path) -> None:
    write_tar(tmp_path / "t-0.tar", [("a.x", b"")])
    write_tar(tmp_path / "t-1.tar", [("b.y", b"")])
    with pytest.raises(VerificationError, match=r"t-1\.tar differs from .*t-0\.tar"):
        convert("t-{0..1}.tar", fields="all")


@pytest.mark.parametrize("label", [b"cat", b"", b"1.5", b"9" * 30])
def test_a_label_that_is_no_number_is_named(convert, tmp_path: Path, label: bytes) -> None:
    write_tar(tmp_path / "t.tar", [("a.jpg", image(1)), ("a.cls", label)])
    with pytest.raises(VerificationError, match=r"record a: its \.cls is no whole number"):
        convert("t.tar")


def test_an_image_that_is_none_is_named(convert, tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", [("a.jpg", b"GIF89a"), ("a.cls", b"1")])
    with pytest.raises(VerificationError, match=r"its \.jpg is no JPEG or PNG"):
        convert("t.tar")


def test_an_empty_tar_is_told_and_empty_tars_alone_are_an_error(convert, tmp_path: Path) -> None:
    write_tar(tmp_path / "t-0.tar", photos(0, 2))
    write_tar(tmp_path / "t-1.tar", [])
    write_tar(tmp_path / "t-2.tar", photos(2, 2))
    done = convert("t-{0..2}.tar")
    assert (done.records, done.shards) == (4, 2)
    assert done.notes == (f"{tmp_path / 't-1.tar'} holds no records",)
    assert (tmp_path / "out" / "t.tfrecord-00001-of-00002").exists()
    with pytest.raises(VerificationError, match=r"no records in .*t-1\.tar"):
        convert("t-1.tar", dest="other")


def damaged(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    other = bytearray(whole)
    other[600] = 0xFF  # content
    header = bytearray(whole)
    header[5] ^= 1
    return {
        "is cut off": whole[:2000],
        "a header of it is damaged": bytes(header),
        "there is something after its end": whole + whole,
        "it is empty": b"",
        "gzip data is damaged": gzip.compress(whole)[:40] + b"\xff" * 400,
        "gzip data has no end": gzip.compress(whole)[:-20],
        "this is no tar": b"<html>not found</html>" * 100,
    }


def test_damaged_tars_are_named_and_nothing_is_visible(convert, tmp_path: Path) -> None:
    for problem, content in damaged(write_tar(tmp_path / "good.tar", photos(0, 3))).items():
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises(VerificationError, match=rf"bad\.tar: .*{problem}"):
            convert("{good,bad}.tar")
        assert not (tmp_path / "out").exists()


def test_a_record_of_two_gib_is_refused_and_a_large_file_beside_it_is_not_read(
    convert, tmp_path: Path
) -> None:
    path = tmp_path / "big.tar"
    info = tarfile.TarInfo("a.bin")
    info.size = 2 << 30
    with open(path, "wb") as file:  # sparse on disk
        for name, content in photos(0, 1):
            head = tarfile.TarInfo(name.replace("train/0000", "a"))
            head.size = len(content)
            file.write(head.tobuf() + content + bytes(-len(content) % 512))
        file.write(info.tobuf())
        file.seek(info.size, 1)
        file.write(bytes(1024))
    done = convert("big.tar")
    assert done.records == 1
    assert done.notes == ("left out: 1 files .bin, the first a.bin in big.tar",)
    with pytest.raises(VerificationError, match=r"'a\.bin' makes its record .* 2 GiB at most"):
        convert("big.tar", fields="all", dest="other")


def test_a_function_of_ones_own_gets_a_seed_that_depends_on_names_alone(
    convert, tmp_path: Path
) -> None:
    (tmp_path / "own_records.py").write_text(
        "import numpy as np\n"
        "def crop(record, seed):\n"
        "    rng = np.random.default_rng(seed)\n"
        "    return {'key': record['__key__'], 'n': len(record['jpg']), 'noise': rng.random(3),\n"
        "            'grid': np.zeros((rng.integers(1, 5), 2), np.uint8), 'odd': [1.5, 2],\n"
        "            'yes': True, 'words': ['a', 'b'], 'seed': seed}\n"
    )
    for number in range(4):
        write_tar(tmp_path / f"t-{number}.tar", photos(5 * number, 5))
    convert("t-{0..3}.tar", record="own_records.py:crop", name="own", dest="one")
    convert("t-{0..3}.tar", record="own_records.py:crop", name="own", dest="two", workers=2)
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")
    found = examples(tmp_path / "one" / "own.tfrecord-00001-of-00004")
    assert found[0]["key"] == [b"train/0005"]
    assert found[0]["seed"] == [seed_of("t-1.tar", "train/0005")]
    import dsmanager

    _, splits = dsmanager.from_directory(tmp_path / "one", framework="numpy")
    loaded = splits["train"][5]
    assert loaded["grid"].dtype == np.uint8
    assert loaded["grid"].shape[1] == 2
    assert list(loaded["noise"]) == pytest.approx(found[0]["noise"])
    assert bool(loaded["yes"]) is True


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def f(record, seed): raise KeyError('txt')", "record train/0000: the record function"),
        ("def f(record, seed): return {}", "returned no dict of features"),
        ("def f(record, seed): return {'x': object()}", "the feature 'x' cannot be stored"),
        ("def f(record, seed): return {'x': 1 << 70}", "the feature 'x' cannot be stored"),
        ("def f(record, seed): return {'x': 1 if seed % 2 else 'a'}", "the feature 'x' is"),
    ],
)
def test_a_function_that_fails_is_told_with_the_record(convert, tmp_path, code, problem) -> None:
    (tmp_path / "failing.py").write_text(code + "\n")
    write_tar(tmp_path / "t.tar", photos(0, 12))
    with pytest.raises(VerificationError, match=problem):
        convert("t.tar", record="failing.py:f")


@pytest.mark.parametrize("name", ["nothing", "no_such_module:f", "own.py:f", "json:nothing"])
def test_a_function_that_is_not_there_is_refused(convert, tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "t.tar", photos(0, 1))
    with pytest.raises(UsageError, match="cannot be used"):
        convert("t.tar", record=name)


def test_values_become_features_of_one_kind() -> None:
    assert feature_of(np.float64(1.5))[1].dtype == "float64"
    assert feature_of([1, 2])[1].shape == (2,)
    with pytest.raises(TypeError, match="no type"):
        feature_of([])
