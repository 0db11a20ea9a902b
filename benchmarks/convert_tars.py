"""Converting a tar of JPEG photos against cp, tar2tf's way, and WebDataset's writer.

Run it as ``python benchmarks/convert_tars.py [--size-mb 300] [--folder DIR]``. Photos have about
110 KB. tar2tf's way decodes each image for its size and writes with TensorFlow; WebDataset's reader
and writer make a tar of a tar; both work on a fifth of the data. Ours flushes to disk within its
time, the others do not: cp is shown with sync, too. Memory is the peak of a process of its own that
converts, for two sizes of tar.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import Contender, medians, shell, show, verdict
from dsmanager.library.converting import TarOptions, convert_tars
from dsmanager.progress import CancelToken, Progress
from dsmanager.settings import Settings

PHOTO_BYTES = 110_000
MB = 1_000_000

MEMORY = """
import resource, sys
from benchmarks.convert_tars import convert
from pathlib import Path
convert(Path(sys.argv[1]), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

TAR2TF = """
import sys, tarfile, tensorflow as tf
def example(record):
    image = tf.image.decode_jpeg(record["jpg"])
    def number(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    features = {"height": number(image.shape[0]), "width": number(image.shape[1]),
                "depth": number(image.shape[2]), "label": number(int(record["cls"])),
                "image_raw": tf.train.Feature(bytes_list=tf.train.BytesList(value=[record["jpg"]]))}
    return tf.train.Example(features=tf.train.Features(feature=features))
record, last = {}, None
print("ready", flush=True)
for _ in sys.stdin:
    with tf.io.TFRecordWriter(sys.argv[2]) as writer, tarfile.open(sys.argv[1]) as tar:
        for member in tar:
            key, _, extension = member.name.rpartition(".")
            if key != last and record:
                writer.write(example(record).SerializeToString())
                record = {}
            record[extension], last = tar.extractfile(member).read(), key
        writer.write(example(record).SerializeToString())
        record, last = {}, None
    print("done", flush=True)
"""

WEBDATASET = """
import sys, webdataset
print("ready", flush=True)
for _ in sys.stdin:
    with webdataset.TarWriter(sys.argv[2]) as sink:
        for sample in webdataset.WebDataset(sys.argv[1], shardshuffle=False):
            sink.write(sample)
    print("done", flush=True)
"""


class Other:
    """Another tool in a process of its own that has imported all it needs: only work is timed."""

    def __init__(self, script: str, *arguments: Path) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{script.split()[2]} could not be started")

    def run(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "done":
            raise RuntimeError("another tool failed")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def write_photos(path: Path, size_bytes: int) -> None:
    """A tar of photos: real JPEG data in the middle, so that decoding takes its time."""
    import numpy as np
    from PIL import Image

    random.seed(1)
    rng = np.random.default_rng(1)
    photos = []
    for _ in range(16):
        rough = rng.integers(0, 255, (72, 96, 3), np.uint8)
        buffer = io.BytesIO()
        image = Image.fromarray(rough).resize((500, 375), Image.Resampling.BICUBIC)
        noise = rng.integers(-20, 20, (375, 500, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
        image.save(buffer, "JPEG", quality=90)
        photos.append(buffer.getvalue())
    with tarfile.open(path, "w") as tar:
        for number in range(max(1, size_bytes // PHOTO_BYTES)):
            for extension, content in (
                ("cls", str(number % 1000).encode()),
                ("jpg", photos[number % len(photos)]),
            ):
                info = tarfile.TarInfo(f"train/{number:08d}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def convert(source: Path, dest: Path, **options: int) -> None:
    convert_tars(
        Settings.load(),
        [str(source)],
        dest,
        options=TarOptions(**options),
        workers=1,
        progress=Progress(),
        cancel=CancelToken(),
    )


def compare(folder: Path, source: Path, work: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Medians of ``work`` and of our conversion, each from an empty folder."""

    def fresh() -> None:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    ours = {"dsmanager convert": lambda: convert(source, folder / "out")}
    contenders = [Contender(name, run, fresh) for name, run in (ours | work).items()]
    seconds = medians(contenders)
    fresh()
    show("a tar of JPEG to TFRecord", source.stat().st_size, seconds)
    return seconds


def compare_with_cp(folder: Path, source: Path) -> None:
    copy = folder / "copy.tar"
    seconds = compare(
        folder,
        source,
        {
            "  with --shuffle": lambda: convert(source, folder / "out", shuffle=1),
            "cp": lambda: shell(f"cp {source} {copy}"),
            "cp and sync": lambda: shell(f"cp {source} {copy} && sync {copy}"),
        },
    )
    ours = seconds["dsmanager convert"]
    verdict("against cp", seconds["cp"] / ours, 0.8)
    verdict("against cp and sync", seconds["cp and sync"] / ours, 0.8)


def compare_with_others(folder: Path, source: Path) -> None:
    others = {
        "tar2tf's way": Other(TAR2TF, source, folder / "tar2tf.tfrecord"),
        "WebDataset's writer": Other(WEBDATASET, source, folder / "webdataset.tar"),
    }
    seconds = compare(folder, source, {name: other.run for name, other in others.items()})
    for name, other in others.items():
        other.close()
        verdict(f"against {name}", seconds[name] / seconds["dsmanager convert"], 1.0)


def memory(folder: Path, source: Path, small: Path) -> None:
    peaks = []
    for each in (small, source):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(each), str(folder / "out")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        peaks.append(int(done.stdout))
        shutil.rmtree(folder / "out")
    print(f"\nmemory: {peaks[0]} MiB for a fifth of it, {peaks[1]} MiB for all")
    verdict("growth", peaks[1] / peaks[0], 1.2, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size-mb", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name, "work")
        folder.mkdir()
        source, small = Path(name, "train-0.tar"), Path(name, "train-1.tar")
        write_photos(source, arguments.size_mb * MB)
        write_photos(small, arguments.size_mb * MB // 5)
        compare_with_cp(folder, source)
        compare_with_others(folder, small)
        memory(folder, source, small)


if __name__ == "__main__":
    main()
