"""A small ILSVRC as it is given out: tars of real JPEGs, some of them odd, and Kaggle's tree."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dsmanager.ingest.imagenet.convert import convert_imagenet
from dsmanager.ingest.imagenet.request import ImagenetRequest
from dsmanager.ingest.imagenet.result import ImagenetResult
from dsmanager.progress import CancelToken, Progress

SAMPLE = Path(__file__).parents[3].parent / "shared" / "data" / "imagenet-sample"
SYNSETS = ("n01440764", "n01443537", "n02105855", "n15075141")  # the 1st, 2nd and last among them
PLACES = (1, 2, 231, 1000)
PER_CLASS = 6
VALIDATION = 5


def photo(number: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    """A small image of noise, of a size of its own."""
    rng = np.random.default_rng(number)
    size = (12 + number % 5, 16 + number % 7)
    channels = {"RGB": 3, "L": 1, "CMYK": 4}[mode]
    pixels = rng.integers(0, 255, size if channels == 1 else (*size, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, kind)
    return buffer.getvalue()


def tar_of(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def tar_bytes(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Ilsvrc:
    """Images of both halves: training images by synset, validation images by name."""

    train: dict[str, dict[str, bytes]] = field(default_factory=dict)
    validation: dict[str, bytes] = field(default_factory=dict)

    def write_tars(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        inner = {f"{name}.tar": tar_bytes(files) for name, files in reversed(self.train.items())}
        tar_of(folder / "ILSVRC2012_img_train.tar", inner)
        tar_of(folder / "ILSVRC2012_img_val.tar", dict(reversed(self.validation.items())))
        return folder

    def write_tree(self, folder: Path) -> Path:
        for synset, files in self.train.items():
            (folder / "train" / synset).mkdir(parents=True)
            for name, content in files.items():
                (folder / "train" / synset / name).write_bytes(content)
        (folder / "val").mkdir()
        for name, content in self.validation.items():
            (folder / "val" / name).write_bytes(content)
        return folder

    def write_kaggle(self, folder: Path) -> Path:
        self.write_tree(folder / "ILSVRC" / "Data" / "CLS-LOC")
        lines = [f"{synset} words of {synset}, and more\n" for synset in SYNSETS]
        (folder / "LOC_synset_mapping.txt").write_text("".join(lines))
        return folder


@pytest.fixture(scope="session")
def ilsvrc() -> Ilsvrc:
    """Noise, with a gray image in each class, two CMYK ones and a PNG."""
    made = Ilsvrc()
    for place, synset in enumerate(SYNSETS):
        files = {}
        for number in range(PER_CLASS):
            mode = {0: "L", 3: "CMYK"}.get(number) if place < 2 else None
            kind = "PNG" if (place, number) == (2, 4) else "JPEG"
            files[f"{synset}_{number}.JPEG"] = photo(place * 10 + number, mode or "RGB", kind)
        made.train[synset] = files
    for number in range(1, VALIDATION + 1):
        made.validation[f"ILSVRC2012_val_{number:08}.JPEG"] = photo(100 + number)
    return made


@pytest.fixture(scope="session")
def tars(ilsvrc: Ilsvrc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ilsvrc.write_tars(tmp_path_factory.mktemp("tars") / "ilsvrc")


@pytest.fixture(scope="session")
def kaggle(ilsvrc: Ilsvrc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ilsvrc.write_kaggle(tmp_path_factory.mktemp("kaggle"))


Convert = Callable[..., ImagenetResult]


@pytest.fixture
def convert() -> Convert:
    def run(source: Path, dest: Path, to: str = "tpu", **options: Any) -> ImagenetResult:
        request = ImagenetRequest(source=source, dest=dest, to=to, **options)
        return convert_imagenet(request, progress=Progress(), cancel=CancelToken())

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
