"""tar2tf's API: the same pairs from memory and from disk, from files and from AIStore."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.objects import ObjectServer, serving
from harness.tars import examples, image, tree_bytes, write_tar

import dsmanager
from dsmanager.errors import AlreadyExistsError, DsmanagerError, NotFoundError, VerificationError

CLUSTER = os.environ.get("DSMANAGER_TEST_AIS_ENDPOINT")  # now: no test sees it later


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tars of four records; images are PNG, which all decoders agree on."""
    folder = tmp_path_factory.mktemp("tars")
    for number in range(2):
        members = []
        for index in range(4):
            key = f"a/{number}{index}"
            members += [(f"{key}.cls", str(4 * number + index).encode())]
            members += [(f"{key}.png", image(4 * number + index, form="PNG"))]
        write_tar(folder / f"train-{number}.tar.gz", members, "gz")
    return folder


@pytest.fixture(scope="module")
def dataset(tars: Path) -> dsmanager.TarDataset:
    return dsmanager.TarDataset(str(tars / "train-{0..1}.tar.gz"))


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with serving() as server:
        yield server


def arrays(pairs: Any) -> tuple[np.ndarray, list[int]]:
    images, labels = zip(*pairs, strict=True)
    return np.stack(images), [int(label) for label in labels]


def test_records_are_dicts_of_files_and_can_be_read_again(dataset) -> None:
    for _ in range(2):
        records = list(dataset)
        assert [record["__key__"] for record in records[:2]] == ["a/00", "a/01"]
        assert records[5]["png"] == image(5, form="PNG")
    with pytest.raises(NotFoundError, match=r"nowhere-0\.tar is not there"):
        list(dsmanager.TarDataset("/nowhere-{0..1}.tar"))


def test_memory_and_disk_agree_in_every_framework(dataset, tmp_path: Path) -> None:
    images, labels = arrays(dataset.to_numpy())
    assert (images.shape, images.dtype, labels) == ((8, 224, 224, 3), np.float32, [*range(8)])
    assert 0 <= images.min() < 0.01
    assert 0.99 < images.max() <= 1
    memory, memory_labels = arrays(dataset.to_tf().as_numpy_iterator())
    disk, disk_labels = arrays(dataset.to_tf(path=tmp_path / "records").as_numpy_iterator())
    assert labels == memory_labels == disk_labels
    assert np.array_equal(memory, disk)
    assert np.allclose(memory, images, atol=1e-5)
    assert len(list((tmp_path / "records").glob("train.tfrecord-*"))) == 2
    before = tree_bytes(tmp_path / "records")
    assert arrays(dataset.to_tf(path=tmp_path / "records").as_numpy_iterator())[1] == labels
    assert tree_bytes(tmp_path / "records") == before


def test_records_become_what_ones_own_functions_say(dataset, tmp_path: Path) -> None:
    import tensorflow as tf

    pairs = dataset.to_tf(
        record_to_pair=lambda record: (len(record["png"]), int(record["cls"])),
        output_types=(tf.int32, tf.int32),
        output_shapes=((), ()),
    )
    expected = [(len(image(number, form="PNG")), number) for number in range(8)]
    assert [(int(a), int(b)) for a, b in pairs.as_numpy_iterator()] == expected

    def to_example(record: dict[str, Any]) -> Any:
        value = tf.train.Int64List(value=[int(record["cls"]) + 100])
        feature = {"plus": tf.train.Feature(int64_list=value)}
        return tf.train.Example(features=tf.train.Features(feature=feature))

    described = {"plus": tf.io.FixedLenFeature([], tf.int64)}
    read = dataset.to_tf(
        path=tmp_path / "own",
        record_to_example=to_example,
        record_parser=lambda record: tf.io.parse_single_example(record, described)["plus"],
        max_shard_size="100",
        num_workers=2,
    )
    assert [int(value) for value in read.as_numpy_iterator()] == [*range(100, 108)]
    assert len(list((tmp_path / "own").glob("*.tfrecord-*"))) > 2
    with pytest.raises(AlreadyExistsError):
        dataset.to_tf(path=tmp_path / "own")


def test_write_is_the_conversion(dataset, tmp_path: Path) -> None:
    done = dataset.write(tmp_path / "out", name="pictures", shards=1, shuffle=1, num_workers=2)
    assert (done.records, done.shards) == (8, 1)
    labels = [each["label"][0] for each in examples(next(done.path.glob("*.tfrecord-*")))]
    assert sorted(labels) == [*range(8)]
    own = dataset.write(
        tmp_path / "own", record_to_example=lambda record: {"n": int(record["cls"])}
    )
    assert [each["n"][0] for each in examples(next(own.path.glob("*-00001-of-*")))] == [4, 5, 6, 7]


@pytest.mark.parametrize("via", ["s3", "sdk"])
def test_aistore_gives_the_same_through_either_api(
    via: str, tars: Path, dataset, server: ObjectServer, tmp_path: Path
) -> None:
    server.objects = {f"/bck/{path.name}": path.read_bytes() for path in tars.iterdir()}
    ais = dsmanager.AisDataset("bck", server.url, via=via)
    memory, labels = arrays(ais.load_from_tar("train-{0..1}.tar.gz").as_numpy_iterator())
    disk = ais.load_from_tar("train-{0..1}.tar.gz", path=tmp_path / "records", num_workers=2)
    assert np.array_equal(memory, arrays(disk.as_numpy_iterator())[0])
    assert np.array_equal(memory, arrays(dataset.to_tf().as_numpy_iterator())[0])
    assert labels == [*range(8)]
    with pytest.raises(NotFoundError, match=r"ais://bck/train-2\.tar\.gz is not there"):
        ais.load_from_tar("train-{0..2}.tar.gz", path=tmp_path / "other")


@pytest.mark.skipif(
    not CLUSTER,
    reason="DSMANAGER_TEST_AIS_ENDPOINT names no cluster; docs/aistore.md says how to start one",
)
@pytest.mark.parametrize("via", ["s3", "sdk"])
def test_a_real_cluster_gives_what_the_disk_gives(via: str, tars: Path, tmp_path: Path) -> None:
    from aistore.sdk import Client

    endpoint = str(CLUSTER)
    bucket = Client(endpoint).bucket(f"dsmanager-{os.getpid()}-{via}")
    bucket.create(exist_ok=True)
    try:
        for path in tars.iterdir():
            bucket.object(path.name).get_writer().put_file(str(path))
        ais = dsmanager.AisDataset(bucket.name, endpoint, via=via).tars("train-{0..1}.tar.gz")
        here = dsmanager.TarDataset(str(tars / "train-{0..1}.tar.gz"))
        assert list(ais) == list(here)
        assert ais.write(tmp_path / "out", num_workers=2).records == 8
        with pytest.raises(NotFoundError):
            list(dsmanager.AisDataset(bucket.name, endpoint, via=via).tars("none-{0..1}.tar"))
    finally:
        bucket.delete(missing_ok=True)


def test_what_is_no_pair_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", [("x.cls", b"1")])
    with pytest.raises(VerificationError, match=r"record x: it has no \.jpg"):
        list(dsmanager.TarDataset(str(tmp_path / "t.tar")).to_numpy())
    content = image(1)
    write_tar(tmp_path / "u.tar", [("x.cls", b"1"), ("x.jpg", content[: len(content) // 2])])
    with pytest.raises(VerificationError, match="record x: an image cannot be decoded"):
        list(dsmanager.TarDataset(str(tmp_path / "u.tar")).to_numpy())


def test_torch_workers_share_the_tars(dataset) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    loader = torch.utils.data.DataLoader(dataset.to_torch(), batch_size=None, num_workers=2)
    pairs = list(loader)
    assert sorted(int(label) for _, label in pairs) == [*range(8)]
    assert pairs[0][0].shape == (3, 224, 224)


PROBE = """
import builtins, sys
real = builtins.__import__
def without(name, *rest):
    if name.partition(".")[0] in ("tensorflow", "torch"):
        raise ImportError(name)
    return real(name, *rest)
builtins.__import__ = without
import dsmanager
for call in (lambda ds: ds.to_tf(), lambda ds: ds.to_torch()):
    try:
        call(dsmanager.TarDataset("t.tar"))
    except dsmanager.DsmanagerError as error:
        print(error.hint)
print(len(list(dsmanager.TarDataset(sys.argv[1]).to_numpy())), "tensorflow" in sys.modules)
"""


def test_without_tensorflow_and_torch_numpy_works_and_errors_name_the_extra(tars: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tars / "train-0.tar.gz")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert "pip install 'dsmanager[tf]'" in lines[0]
    assert "pip install 'dsmanager[torch]'" in lines[1]
    assert lines[2] == "4 False"


def test_an_error_of_ones_own_function_is_told_with_the_record(dataset, tmp_path: Path) -> None:
    with pytest.raises(DsmanagerError, match=r"record a/00: the record function raised KeyError"):
        dataset.write(tmp_path / "out", record_to_example=lambda record: {"x": record["none"]})
