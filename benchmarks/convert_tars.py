"""Converting a tar of JPEG photos against cp, tar2tf's way, and WebDataset's writer.

Run it as ``python benchmarks/convert_tars.py [--size-mb 1000] [--folder DIR]``. Photos have about
110 KB; against cp there are four tars of them, which two processes convert. tar2tf's way decodes
each image for its size and writes with TensorFlow; WebDataset's reader and writer make a tar of a
tar; both work on a small tar, in one process as we do then. Ours flushes to disk within its time,
the others do not: cp is shown with sync, too. Memory is the peak of a process of its own that
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

from benchmarks.timing import Contender, medians, run_benchmark, shell, show, verdict
from dsmanager.libc import keep_freed_memory
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


def convert(source: Path | str, dest: Path, *, workers: int = 1, **options: int) -> None:
    convert_tars(
        Settings.load(),
        [str(source)],
        dest,
        options=TarOptions(**options),
        workers=workers,
        progress=Progress(),
        cancel=CancelToken(),
    )


def compare(
    folder: Path, size_bytes: int, work: dict[str, Callable[[], None]], rounds: int
) -> dict[str, float]:
    """Medians of ``work``, each from an empty folder."""

    def fresh() -> None:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    contenders = [Contender(name, run, fresh) for name, run in work.items()]
    seconds = medians(contenders, rounds=rounds)
    fresh()
    show("tars of JPEG to TFRecord", size_bytes, seconds)
    return seconds


def compare_with_cp(folder: Path, sources: list[Path]) -> None:
    template = f"{sources[0].parent}/large-{{0..{len(sources) - 1}}}.tar"
    names = " ".join(map(str, sources))
    seconds = compare(
        folder,
        sum(source.stat().st_size for source in sources),
        {
            "dsmanager convert": lambda: convert(template, folder / "out", workers=2),
            "  with --shuffle": lambda: convert(template, folder / "out", workers=2, shuffle=1),
            "cp": lambda: shell(f"cp {names} {folder}"),
            "cp and sync": lambda: shell(f"cp {names} {folder} && sync {folder}/*"),
        },
        rounds=3,
    )
    ours = seconds["dsmanager convert"]
    verdict("against cp and sync", seconds["cp and sync"] / ours, 0.8)
    print(f"       against cp, not flushed: {seconds['cp'] / ours:.2f}")


def compare_with_others(folder: Path, source: Path) -> None:
    others = {
        "tar2tf's way": Other(TAR2TF, source, folder / "tar2tf.tfrecord"),
        "WebDataset's writer": Other(WEBDATASET, source, folder / "webdataset.tar"),
    }
    ours = {"dsmanager convert": lambda: convert(source, folder / "out")}
    theirs = {name: other.run for name, other in others.items()}
    seconds = compare(folder, source.stat().st_size, ours | theirs, rounds=5)
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
    print(f"\nmemory: {peaks[0]} MiB for a smaller one, {peaks[1]} MiB for all")
    verdict("growth", peaks[1] / peaks[0], 1.2, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size-mb", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name, "work")
        folder.mkdir()
        large = [Path(name, f"large-{number}.tar") for number in range(4)]
        for path in large:
            write_photos(path, arguments.size_mb * MB // len(large))
        compare_with_cp(folder, large)
        small = Path(name, "small.tar")
        write_photos(small, arguments.size_mb * MB // 20)
        compare_with_others(folder, small)
        memory(folder, large[0], small)


if __name__ == "__main__":
    run_benchmark(main)
