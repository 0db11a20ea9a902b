"""Spoken digits of three speakers: the Free Spoken Digit Dataset, version 1.0.8."""

from __future__ import annotations

import io
import os
import re
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from dsmanager.builders.partitioned import PartitionedBuilder

_URL = "https://armory-public-data.s3.us-east-2.amazonaws.com/digit/digit-1.0.8.tar.gz"
_ARCHIVE = "digit-1.0.8.tar.gz"
_TREE = "free-spoken-digit-dataset-1.0.8"
_USERS = ("jackson", "nicolas", "theo")
_NUMBERS = {"train": range(5, 50), "test": range(5)}
_RECORDING = re.compile(r"(?:\./)?(?:[^/]+/)?recordings/([^/]+\.wav)")
_MAX_RECORDING_BYTES = 1 << 20  # the longest has 37 KB


class Digit(PartitionedBuilder):
    """1,500 recordings of the digits 0 to 9: WAV, mono, int16, 8 kHz."""

    VERSION = tfds.core.Version("1.0.8")
    RELEASE_NOTES = {"1.0.8": "Version 1.0.8 of the recordings."}  # noqa: RUF012 - TFDS's form
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    The manual folder may hold {_ARCHIVE}, {_TREE}.zip, {_TREE}.tar.gz,
    or the unpacked folder recordings/.
    """

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            description=(
                "Recordings of spoken digits (0 to 9) by three speakers, trimmed so that they have "
                "near minimal silence at the beginnings and ends. Audio is the raw int16 samples "
                "at 8 kHz, held as int64. The first five recordings of each digit and speaker "
                "are the test split."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "audio": tfds.features.Audio(),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                    "user": tfds.features.Text(),
                    "filename": tfds.features.Text(),
                }
            ),
            supervised_keys=("audio", "label"),
            homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
            citation="https://doi.org/10.5281/zenodo.134240",
            license="CC BY-SA 4.0",
        )

    def _partitions(self, dl_manager: Any) -> dict[str, list[dict[str, Any]]]:
        """One for each speaker."""
        source = str(_source(dl_manager))
        return {split: [{"source": source, "user": user} for user in _USERS] for split in _NUMBERS}

    def _generate_partition(
        self, split: str, partition: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (file name, example); raises FileNotFoundError that names a missing recording."""
        source, speaker = Path(partition["source"]), partition["user"]
        missing = {
            f"{digit}_{speaker}_{number}.wav" for digit in range(10) for number in _NUMBERS[split]
        }
        for filename, content in _recordings(source, frozenset(missing)):
            missing.discard(filename)
            digit, user, _ = filename.split("_")
            audio = _samples(filename, content)
            yield filename, {"audio": audio, "label": digit, "user": user, "filename": filename}
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{source} lacks recordings/{min(missing)}{more}")


def _source(dl_manager: Any) -> Path:
    """The archive or the folder of recordings: from the manual folder where it has one."""
    try:
        manual = Path(os.fspath(dl_manager.manual_dir))
    except AssertionError:  # there is none
        manual = None
    if manual is not None and not (manual / _ARCHIVE).exists():
        for archive in (manual / f"{_TREE}.zip", manual / f"{_TREE}.tar.gz"):
            if archive.is_file():
                return archive
        for tree in (manual / _TREE, manual):
            if (tree / "recordings").is_dir():
                return tree
    return Path(os.fspath(dl_manager.download(_URL)))


def _recordings(source: Path, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of each wanted recording, in the order of the source."""
    if source.is_dir():
        for name in sorted(wanted):
            path = source / "recordings" / name
            if path.is_file():
                yield name, _bounded(path.open("rb"), name)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                found = _RECORDING.fullmatch(member.filename)
                if found and found[1] in wanted:
                    yield found[1], _bounded(archive.open(member), found[1])
    else:
        with tarfile.open(source, "r|*") as tar:
            for entry in tar:
                found = _RECORDING.fullmatch(entry.name)
                file = tar.extractfile(entry) if found and entry.isreg() else None
                if found and file is not None and found[1] in wanted:
                    yield found[1], _bounded(file, found[1])


def _bounded(file: Any, name: str) -> bytes:
    with file:
        content: bytes = file.read(_MAX_RECORDING_BYTES + 1)
    if len(content) > _MAX_RECORDING_BYTES:
        raise ValueError(f"{name} is far longer than any recording of a digit")
    return content


def _samples(name: str, content: bytes) -> Any:
    with wave.open(io.BytesIO(content)) as recording:
        form = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
        if form != (1, 2, 8000):
            raise ValueError(f"{name} is not mono, int16, 8 kHz")
        frames = recording.readframes(recording.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.int64)
