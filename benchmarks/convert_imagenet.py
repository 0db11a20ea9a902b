"""Converting ImageNet against ``cp`` of the same tar, and against decoding each image for its size.

Run it as ``python benchmarks/convert_imagenet.py [--images 6000] [--folder DIR]``. The tar is the
validation half's, with photographs of 110 KB: of 128 shards each has some megabytes then, where the
1,024 of the training half would be too small to tell anything of a real one's 140 MB. Shards are
flushed to disk within their time. The TPU script's way is to unpack, to
decode each image and to write it with a plain TFRecord writer; here unpacking is left out of it,
and Pillow decodes, which is faster than a TensorFlow session for each image.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from benchmarks.timing import Contender, medians, run_benchmark, shell, show, verdict
from dsmanager.files import remove_path
from dsmanager.records.encoding import bytes_feature, example_pieces, int64_feature
from dsmanager.records.tfrecord import TFRecordWriter
from dsmanager.sources.imagenet import ImageReader, find_splits, images

TAR = "ILSVRC2012_img_val.tar"
CONVERT = """
import os, resource, sys
from pathlib import Path
from dsmanager.libc import keep_freed_memory
from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.progress import CancelToken, Progress
keep_freed_memory()
source, dest, to, workers = sys.argv[1:]
request = ImagenetRequest(
    source=Path(source), dest=Path(dest), to=to, only="val", workers=int(workers)
)
convert_imagenet(request, progress=Progress(), cancel=CancelToken())
print(max(resource.getrusage(who).ru_maxrss for who in
          (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024)
"""


def photo(number: int) -> bytes:
    """About 110 KB, as ImageNet's are on average."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).resize((500, 375))
    noise = rng.normal(0, 14, (375, 500, 3))
    pixels = np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=89)
    return buffer.getvalue()


def make_tar(folder: Path, count: int) -> Path:
    folder.mkdir()
    photos = [photo(number) for number in range(20)]
    with tarfile.open(folder / TAR, "w") as tar:
        for number in range(1, count + 1):
            content = photos[number % len(photos)]
            entry = tarfile.TarInfo(f"ILSVRC2012_val_{number:08}.JPEG")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return folder / TAR


def convert(source: Path, dest: Path, to: str, workers: int) -> int:
    """Peak bytes of memory of the largest process."""
    command = [sys.executable, "-c", CONVERT, str(source), str(dest), to, str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def decode_each(source: Path, dest: Path) -> None:
    """The TPU script's way with each image, from the tar instead of a file of its own."""
    split = find_splits(source)["validation"]
    dest.mkdir()
    with ImageReader(split) as reader, TFRecordWriter(dest / "records") as writer:
        for image in next(images(split)):
            content = reader.read(image)
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.convert("RGB").size
            features = {
                "image/encoded": bytes_feature(content),
                "image/height": int64_feature(height),
                "image/width": int64_feature(width),
            }
            writer.write(b"".join(example_pieces(features)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        compare(root, arguments.images, arguments.rounds)
    finally:
        shutil.rmtree(root)


def compare(root: Path, count: int, rounds: int) -> None:
    tar = make_tar(root / "in", count)
    small = make_tar(root / "small", count // 4)
    out = root / "out"
    peaks: list[int] = []

    def clean() -> None:
        remove_path(out)

    contenders = [
        Contender("cp", lambda: shutil.copyfile(tar, out), clean),
        Contender("cp, flushed", lambda: shell(f"cp {tar} {out} && sync {out}"), clean),
        Contender("tpu", lambda: peaks.append(convert(tar.parent, out, "tpu", 1)), clean),
        Contender("tpu, 2 workers", lambda: convert(tar.parent, out, "tpu", 2), clean),
        Contender("slim", lambda: convert(tar.parent, out, "slim", 1), clean),
    ]
    seconds = medians(contenders, rounds=rounds)
    clean()
    decoding = medians(
        [Contender("decode each", lambda: decode_each(tar.parent, out), clean)], rounds=1
    )
    clean()
    show("Tar to records", tar.stat().st_size, seconds | decoding)
    best = min(seconds["tpu"], seconds["tpu, 2 workers"])
    verdict("against cp, flushed as well", seconds["cp, flushed"] / best, 0.8)
    print(f"       against cp, not flushed: {seconds['cp'] / best:.2f}")
    verdict("against decoding each image", decoding["decode each"] / best, 4)
    few = convert(small.parent, out, "tpu", 1)
    print(f"  peak memory: {max(peaks) / 1e6:.0f} MB, of a quarter {few / 1e6:.0f} MB")
    verdict("memory of four times the data", max(peaks) / few, 1.1, at_most=True)


if __name__ == "__main__":
    run_benchmark(main)
