"""A build on a Dask cluster gives the bytes of a local one, and survives the loss of a worker."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dsmanager.building import run
from dsmanager.building.child.partition import make
from dsmanager.building.options import BuildOptions
from dsmanager.catalog.find import builders_at, find_builder
from dsmanager.demo.source import make_digit_source
from dsmanager.errors import DsmanagerError, TemporaryError, UsageError
from dsmanager.files import remove_path
from dsmanager.progress import CancelToken, Progress

BUILDER = """
import os, pathlib, time
import numpy as np
import tensorflow_datasets as tfds
from dsmanager.builders.partitioned import PartitionedBuilder

NOTES = pathlib.Path({notes!r})


class Spread(PartitionedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
            {{"x": np.int64, "image": tfds.features.Image(shape=(8, 8, 3))}}))

    def _partitions(self, dl_manager):
        return {{"train": [{{"first": n * 10}} for n in range(4)], "test": [{{"first": 0}}]}}

    def _generate_partition(self, split, partition):
        first = partition["first"]
        (NOTES / f"{{split}}-{{first}}-{{os.getppid()}}").touch()
        (NOTES / "environment").write_text(" ".join(os.environ))
        {body}
        for number in range(first, first + 10):
            yield number, {{"x": number, "image": np.full((8, 8, 3), number, np.uint8)}}
"""
PARTITIONS = ("train-0", "train-10", "train-20", "train-30", "test-0")
WAIT = """
        go = NOTES / f"go-{split}-{first}"
        end = time.monotonic() + 60
        while not go.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
"""


class Spread:
    """A builder, where its partitions leave notes, and builds of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.home = folder / "spread"
        self.home.mkdir()
        self.write()

    def write(self, body: str = "") -> None:
        code = BUILDER.format(notes=str(self.notes), body=body.strip())
        (self.home / "spread.py").write_text(code)

    def build(
        self, cluster: str | None = None, name: str | None = None, **options: Any
    ) -> dict[str, bytes]:
        """The files that were built, of this builder or the one of the catalogue."""
        stage = self._folder / "stage"
        remove_path(stage)
        stage.mkdir()
        staged = run.build(
            find_builder(name) if name else builders_at(self.home)[0],
            config=None,
            options=BuildOptions(cluster=cluster, **options),
            data_dir=self._folder / "data",
            stage=stage,
            log_path=self._folder / "log.txt",
            progress=Progress(),
            cancel=CancelToken(),
        )
        staged.remove_partitions()
        files = {path.name: path.read_bytes() for path in staged.tree.iterdir()}
        files.pop("provenance.json")  # it tells the code apart
        return files

    def begun(self, partition: str) -> list[int]:
        """The workers that have begun it."""
        return [int(path.name.split("-")[2]) for path in self.notes.glob(f"{partition}-*")]

    def let_go(self, partition: str) -> None:
        (self.notes / f"go-{partition}").touch()


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit


@pytest.fixture
def spread(tmp_path: Path) -> Spread:
    return Spread(tmp_path)


def _wait(condition: Any) -> Any:
    end = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def test_a_worker_killed_in_the_middle_changes_nothing(
    dask_cluster: Any, spread: Spread, in_thread: Any
) -> None:
    local = spread.build(workers=1)
    for note in spread.notes.iterdir():
        note.unlink()
    spread.write(WAIT)
    workers = {
        worker.pid: worker
        for worker in (dask_cluster.start_worker(AWS_SECRET_ACCESS_KEY="x") for _ in range(2))
    }
    building = in_thread(lambda: spread.build(dask_cluster.address))
    lost, other = _wait(lambda: _two_begun(spread))
    assert {lost, other} == set(workers), "each child was started by a worker"
    workers[lost].send_signal(signal.SIGKILL)
    workers[lost].wait()
    for partition in PARTITIONS:
        spread.let_go(partition)
    assert building.result() == local
    for partition in PARTITIONS:
        assert other in spread.begun(partition), "what the lost worker had begun was begun again"
    assert "AWS_SECRET_ACCESS_KEY" not in (spread.notes / "environment").read_text().split()


def _two_begun(spread: Spread) -> tuple[int, ...]:
    found = {pid for partition in PARTITIONS for pid in spread.begun(partition)}
    return tuple(found) if len(found) == 2 else ()


def test_digit_is_the_same_from_one_process_several_and_a_cluster(
    dask_cluster: Any, spread: Spread, tmp_path: Path
) -> None:
    manual = tmp_path / "manual"
    make_digit_source(manual)
    for _ in range(2):
        dask_cluster.start_worker()
    local = [
        spread.build(name="digit", manual_dir=manual, workers=workers) for workers in (1, 2, 3)
    ]
    assert local[0] == local[1] == local[2]
    assert spread.build(dask_cluster.address, name="digit", manual_dir=manual) == local[0]


def test_imagenet_is_the_same_from_one_process_and_a_cluster(
    dask_cluster: Any, spread: Spread, tmp_path: Path
) -> None:
    folders = [tmp_path / "manual" / "train" / synset for synset in ("n01440764", "n15075141")]
    for number, folder in enumerate([*folders, tmp_path / "manual" / "val"]):
        folder.mkdir(parents=True)
        picture = Image.new("RGB", (9, 7), (number * 90, 20, 40))
        picture.save(folder / f"ILSVRC2012_val_{number + 1:08}.JPEG")
    for _ in range(2):
        dask_cluster.start_worker()
    options = {"name": "imagenet2012", "manual_dir": tmp_path / "manual"}
    assert spread.build(dask_cluster.address, **options) == spread.build(workers=1, **options)


def test_what_goes_wrong_on_a_cluster_is_told(
    dask_cluster: Any, spread: Spread, tmp_path: Path, in_thread: Any
) -> None:
    other = tmp_path / "other" / "dsmanager-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: dsmanager\nVersion: 9.9\n")
    worker = dask_cluster.start_worker(PYTHONPATH=str(other.parent))
    with pytest.raises(DsmanagerError, match=r"partition \d of train on tcp://.* there is 9\.9"):
        spread.build(dask_cluster.address)
    worker.kill()
    worker.wait()

    worker = dask_cluster.start_worker()
    spread.write("assert split != 'train' or first != 20, 'broken'")
    with pytest.raises(DsmanagerError, match=r"partition 2 of train on .*AssertionError: broken"):
        spread.build(dask_cluster.address)

    spread.write("if split == 'train' and first == 20: os.kill(os.getppid(), 9)")
    building = in_thread(lambda: spread.build(dask_cluster.address))
    while not building.done():
        if worker.poll() is not None:
            worker = dask_cluster.start_worker()
        time.sleep(0.05)
    with pytest.raises(DsmanagerError, match=r"of train was lost with its worker 2 times"):
        building.result()


def test_a_folder_that_the_workers_do_not_see_is_named(tmp_path: Path) -> None:
    setup = {"folder": str(tmp_path / "elsewhere")}
    with pytest.raises(DsmanagerError, match=f"cannot be seen: {tmp_path}/elsewhere"):
        make(setup, ["train", 0], Progress(), CancelToken())


def test_nobody_at_the_address_is_a_temporary_error(spread: Spread) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started_s = time.monotonic()
    with pytest.raises(TemporaryError, match=rf"no Dask scheduler answers at .*:{port}"):
        spread.build(f"tcp://127.0.0.1:{port}")
    assert time.monotonic() - started_s < 30


def test_a_cluster_is_refused_where_it_has_nothing_to_do(spread: Spread) -> None:
    address = "tcp://127.0.0.1:1"
    with pytest.raises(UsageError, match="is no address of a Dask scheduler"):
        spread.build("scheduler")
    with pytest.raises(UsageError, match="first examples of a split"):
        spread.build(address, max_examples=3)
    code = (spread.home / "spread.py").read_text()
    code = code.replace("(PartitionedBuilder)", "(tfds.core.GeneratorBasedBuilder)")
    (spread.home / "spread.py").write_text(
        code.replace("_partitions", "_split_generators")
        + "    _generate_examples = _generate_partition\n"
    )
    with pytest.raises(UsageError, match="spread has no partitions"):
        spread.build(address)
