"""Packing, verifying and extracting archives against cp, sha256sum, tar, gzip and pigz.

Run it as ``python benchmarks/archives.py [--size-mb 300] [--folder DIR]``. It makes its own data:
incompressible files as JPEG records are, compressible text, and many small files. The archive is
flushed to disk within its time, what cp and the other tools write is not. The folder should be on
a disk like the one where the data will be (default: the temporary folder).
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import Contender, medians, run_benchmark, shell, show, verdict
from dsmanager.archives.extraction import Expected, extract, verify_archive
from dsmanager.archives.packing import pack
from dsmanager.archives.sidecar import Sidecar, SidecarFacts
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref

FACTS = SidecarFacts(created="2025-01-01T00:00:00Z")
MB = 1_000_000


class Dataset:
    """One generated version folder and its archive."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.ref = Ref(name, None, "1.0.0")
        self.version_folder = folder / self.ref.subdir
        self.version_folder.mkdir(parents=True)
        self.archive = folder / self.ref.archive_name()
        self.out = folder / f"out-{name}"
        self.sidecar: Sidecar | None = None

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.version_folder.iterdir())

    def pack(self) -> None:
        self.sidecar = pack(
            self.folder,
            self.ref,
            [PurePosixPath(self.ref.subdir)],
            self.archive,
            facts=FACTS,
            progress=Progress(),
            cancel=CancelToken(),
        )

    def fresh_out(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def extract(self) -> None:
        extract(
            self.archive,
            self.out,
            expected=self._expected(),
            progress=Progress(),
            cancel=CancelToken(),
        )

    def verify(self) -> None:
        verify_archive(
            self.archive, expected=self._expected(), progress=Progress(), cancel=CancelToken()
        )

    def _expected(self) -> Expected:
        subdir = frozenset({str(self.ref.subdir)})
        return Expected(self.ref.name, subdir, None, None, self.sidecar)


def text(size_bytes: int, seed: int = 1) -> Iterator[bytes]:
    """Lines of words with the skew of a natural language, in pieces."""
    source = random.Random(seed)
    words = ["".join(source.choices("etaoinshrdlucm", k=1 + i % 9)) for i in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    while size_bytes > 0:
        piece = " ".join(source.choices(words, weights, k=200_000)).encode()[:size_bytes]
        size_bytes -= len(piece)
        yield piece


def write(path: Path, pieces: Iterator[bytes]) -> None:
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def noise(size_bytes: int, seed: int = 1) -> Iterator[bytes]:
    """What JPEG looks like to a compressor."""
    source = random.Random(seed)
    for start in range(0, size_bytes, 8 * MB):
        yield source.randbytes(min(8 * MB, size_bytes - start))


def incompressible(folder: Path, size_mb: int) -> Dataset:
    data = Dataset(folder, "jpeg")
    write(data.version_folder / "jpeg-train.tfrecord-00000-of-00001", noise(size_mb * MB))
    copy, other = folder / "copy", folder / "other.tar.gz"
    shard = next(data.version_folder.iterdir())
    found = medians(
        [
            Contender("package + sha256", data.pack),
            Contender("cp", lambda: shell(f"cp {shard} {copy}"), lambda: copy.unlink(True)),
            Contender("sha256sum", lambda: shell(f"sha256sum {shard} > /dev/null")),
        ]
    )
    show("Package, incompressible", data.size_bytes, found)
    slowest = max(found["cp"], found["sha256sum"])
    verdict("against min(cp, sha256sum)", slowest / found["package + sha256"], 0.8)

    small = Dataset(folder, "jpegs")
    write(small.version_folder / "jpegs-train.tfrecord-00000-of-00001", noise(size_mb * MB // 6))
    found = medians(
        [
            Contender("package + sha256", small.pack),
            Contender("tar czf", lambda: shell(f"tar czf {other} jpegs", cwd=folder)),
        ]
    )
    show("Package, incompressible, against tar czf", small.size_bytes, found)
    verdict("against tar czf", found["tar czf"] / found["package + sha256"], 12)
    return data


def compressible(folder: Path, size_mb: int) -> Dataset:
    data = Dataset(folder, "text")
    write(data.version_folder / "text-train.tfrecord-00000-of-00001", text(size_mb * MB))
    contenders = [Contender("package + sha256", data.pack)]
    other = folder / "pigz.tar.gz"
    if shutil.which("pigz"):
        command = f"tar cf - text | pigz -1 > {other}"
        contenders.append(Contender("tar | pigz -1", lambda: shell(command, cwd=folder)))
    found = medians(contenders)
    show("Package, compressible", data.size_bytes, found)
    if shutil.which("pigz"):
        verdict("against tar | pigz -1", found["tar | pigz -1"] / found["package + sha256"], 1.3)
        ratio = data.archive.stat().st_size / other.stat().st_size
        verdict("size against pigz -1", ratio, 1.1, at_most=True)
    else:
        print("  pigz is not installed: no comparison")
    return data


def many_small(folder: Path, count: int) -> Dataset:
    data = Dataset(folder, "small")
    for index, content in enumerate(noise_files(count)):
        (data.version_folder / f"{index:06}.bin").write_bytes(content)
    data.pack()
    return data


def noise_files(count: int) -> Iterator[bytes]:
    source = random.Random(3)
    return (source.randbytes(10_000) for _ in range(count))


def extraction(data: Dataset) -> None:
    found = medians(
        [
            Contender("extract + verify", data.extract, data.fresh_out),
            Contender(
                "tar xzf", lambda: shell(f"tar xzf {data.archive} -C {data.out}"), data.fresh_out
            ),
        ]
    )
    show(f"Extract, {data.ref.name}", data.size_bytes, found)
    verdict("against tar xzf", found["tar xzf"] / found["extract + verify"], 1.0)
    shutil.rmtree(data.out)


def verification(data: Dataset) -> None:
    found = medians(
        [
            Contender("verify", data.verify),
            Contender("verify, two at once", lambda: at_once(data.verify, data.verify)),
            Contender("sha256sum", lambda: shell(f"sha256sum {data.archive} > /dev/null")),
        ]
    )
    show("Verify", data.archive.stat().st_size, found)
    verdict("against sha256sum", found["sha256sum"] / found["verify"], 0.95)
    verdict("two at once", 2 * found["verify"] / found["verify, two at once"], 1.8)


def at_once(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=300, help="of each data set")
    parser.add_argument("--folder", type=Path, help="where the data is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        jpeg = incompressible(folder, arguments.size_mb)
        verification(jpeg)
        extraction(jpeg)
        extraction(compressible(folder, arguments.size_mb // 2))
        extraction(many_small(folder, max(arguments.size_mb * 65, 100)))


if __name__ == "__main__":
    run_benchmark(main)
