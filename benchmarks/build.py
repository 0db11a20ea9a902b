"""Building ImageNet-like JPEG against TFDS's own ``download_and_prepare`` with TensorFlow.

Run it as ``python benchmarks/build.py [--images 10000] [--rounds 5] [--folder DIR]``. The photos of
the sample beside the project are repeated under distinct keys; one builder reads them itself and
yields what is in them, one yields their paths, one has them from a tar. The same call is timed on
both sides, ``download_and_prepare``; and so is the whole: of TFDS a process that makes the call and
a flush to disk, of dsmanager a build with its child process, the records read again and the flush.
Every shard must be the same, byte for byte, else the numbers mean nothing. TFDS's build of 10,000
has 2.2 GB in the page cache that are not on disk yet, ours half of that; where that is more than a
tenth of the free memory (Linux's ``vm.dirty_background_ratio``) the disk is measured instead. In a
virtual machine whose host takes free memory back (``page_reporting``) the first touch of each page
costs more than what is written to it, and numbers vary by a third.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import run_benchmark, verdict
from dsmanager.building.options import BuildOptions
from dsmanager.building.run import build
from dsmanager.catalog.find import builders_at
from dsmanager.files import flush_tree, move_tree_into_place, remove_path
from dsmanager.progress import CancelToken, Progress

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenet-sample"

BUILDER = """
import io, pathlib
import tensorflow_datasets as tfds

PHOTOS = sorted(pathlib.Path({photos!r}).iterdir())


class Photos(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {{"1.0.0": "First."}}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({{
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=len(PHOTOS)),
                "file_name": tfds.features.Text(),
            }}),
        )

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples(dl_manager)}}

    def _generate_examples(self, dl_manager):
        for number, (name, image) in enumerate({source}):
            yield name, {{"image": image, "label": number % len(PHOTOS), "file_name": name}}


def in_memory(images):
    for number in range(images):
        photo = PHOTOS[number % len(PHOTOS)]
        with open(photo, "rb") as file:
            yield f"{{number:08}}_{{photo.name}}", io.BytesIO(file.read())


def by_path(images):
    for number in range(images):
        photo = PHOTOS[number % len(PHOTOS)]
        yield f"{{number:08}}_{{photo.name}}", str(photo)
"""
SOURCES = {
    "images in memory": "in_memory({images})",
    "images by path": "by_path({images})",
    "images of a tar": "dl_manager.iter_archive({tar!r})",
}

# TFDS leaves the order of features within a record open; sorting it costs less than it varies.
TFDS = """
import sys, time
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

example_serializer.ExampleSerializer.serialize_example = (
    lambda self, example: self.get_tf_example(example).SerializeToString(deterministic=True)
)
tfds.disable_progress_bar()
sys.path.insert(0, sys.argv[1])
import photos
builder = photos.Photos(data_dir=sys.argv[2])
started_s = time.perf_counter()
builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(try_download_gcs=False))
print("seconds", time.perf_counter() - started_s)
"""


# A build without a child process, with the same call timed.
OURS = """
import pathlib, sys, time
import tensorflow_datasets as tfds
from dsmanager.libc import keep_freed_memory
from dsmanager.building.child import generate
from dsmanager.building import attempts, run
from dsmanager.building.options import BuildOptions
from dsmanager.catalog.find import builders_at
from dsmanager.progress import CancelToken, Progress

keep_freed_memory()
home, data_dir = map(pathlib.Path, sys.argv[1:])
call = tfds.core.DatasetBuilder.download_and_prepare

def timed(*arguments, **options):
    started_s = time.perf_counter()
    call(*arguments, **options)
    print("seconds", time.perf_counter() - started_s)

tfds.core.DatasetBuilder.download_and_prepare = timed
attempts.run_child = lambda request, **_: generate.build(request, Progress(), lambda: None)
stage = data_dir / "stage"
stage.mkdir(parents=True)
staged = run.build(
    builders_at(home)[0], config=None, options=BuildOptions(), data_dir=data_dir, stage=stage,
    log_path=data_dir / "log.txt", progress=Progress(), cancel=CancelToken())
(data_dir / "photos").mkdir()
staged.tree.rename(data_dir / staged.ref.subdir)
"""


def with_tfds(home: Path, data_dir: Path) -> float:
    return call(TFDS, home, data_dir)


def with_ours(home: Path, data_dir: Path) -> float:
    return call(OURS, home, data_dir)


def whole_tfds(home: Path, data_dir: Path) -> float:
    started_s = time.perf_counter()
    call(TFDS, home, data_dir)
    flush_tree(data_dir)
    return time.perf_counter() - started_s


def call(code: str, home: Path, data_dir: Path) -> float:
    """Seconds of the one call, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(home), str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TMPDIR": str(home.parent),  # TFDS leaves empty folders there
        },
    )
    return float(done.stdout.rpartition("seconds")[2])


def whole_ours(home: Path, data_dir: Path) -> float:
    started_s = time.perf_counter()
    stage = data_dir / "stage"
    stage.mkdir(parents=True)
    staged = build(
        builders_at(home)[0],
        config=None,
        options=BuildOptions(),
        data_dir=data_dir,
        stage=stage,
        log_path=data_dir / "log.txt",
        progress=Progress(),
        cancel=CancelToken(),
    )
    move_tree_into_place(staged.tree, data_dir / staged.ref.subdir)
    shutil.rmtree(stage)
    return time.perf_counter() - started_s


def shards(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "photos" / "1.0.0").glob("*.tfrecord-*"))


def require_equal(first: Path, second: Path) -> None:
    names = [[path.name for path in shards(folder)] for folder in (first, second)]
    assert names[0] == names[1] != [], names
    for one, two in zip(shards(first), shards(second), strict=True):
        subprocess.run(["cmp", str(one), str(two)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data is made")
    parser.add_argument("--kinds", nargs="+", choices=SOURCES, default=list(SOURCES))
    arguments = parser.parse_args()
    if not PHOTOS.is_dir():
        print(f"  the photos are not at {PHOTOS}: no comparison")
        return
    contenders = {
        "TFDS, the call": with_tfds,
        "dsmanager, the call": with_ours,
        "TFDS, all": whole_tfds,
        "dsmanager, all": whole_ours,
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        for kind in arguments.kinds:
            folder = Path(temporary) / kind
            home = folder / "photos"
            home.mkdir(parents=True)
            tar = folder / "photos.tar"
            if "{tar" in SOURCES[kind]:
                make_tar(tar, arguments.images)
            source = SOURCES[kind].format(images=arguments.images, tar=str(tar))
            code = BUILDER.format(photos=str(PHOTOS), source=source)
            (home / "photos.py").write_text(code)
            seconds: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(arguments.rounds):
                for contender, run in contenders.items():
                    remove_path(folder / contender)
                    os.sync()
                    seconds[contender].append(run(home, folder / contender))
                for name in list(contenders)[1:]:
                    require_equal(folder / "TFDS, the call", folder / name)
            remove_path(folder)
            report(kind, arguments.images, seconds)


def make_tar(path: Path, images: int) -> None:
    photos = sorted(PHOTOS.iterdir())
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:  # as GNU tar makes it
        for number in range(images):
            photo = photos[number % len(photos)]
            archive.add(photo, f"{number:08}_{photo.name}")


def report(kind: str, images: int, seconds: dict[str, list[float]]) -> None:
    found = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"\nBuild, {images:,} JPEG images, {kind}")
    for contender, median_s in found.items():
        rate = images / median_s
        print(f"  {contender:<28} {median_s:8.3f} s  {rate:7.0f} images/s", seconds[contender])
    for what in ("the call", "all"):
        ratio = found[f"TFDS, {what}"] / found[f"dsmanager, {what}"]
        verdict(f"against TFDS, {what}", ratio, 4)


if __name__ == "__main__":
    run_benchmark(main)
