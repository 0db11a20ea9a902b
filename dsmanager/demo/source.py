"""A small source of the digit dataset, synthesised: every file name of the real one, short tones.

The same seed gives the same bytes everywhere: integers only, no library's random numbers.
"""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path

__all__ = ["TREE", "make_digit_source"]

TREE = "free-spoken-digit-dataset-1.0.8"
_USERS = ("jackson", "nicolas", "theo")
_RECORDINGS = 50
_RATE_HZ = 8000
_SAMPLES = 1148  # the shortest real recording
_WAVE = [round(9000 * math.sin(2 * math.pi * step / 256)) for step in range(256)]


def make_digit_source(folder: Path, *, seed: int = 0) -> Path:
    """Writes ``<folder>/free-spoken-digit-dataset-1.0.8/recordings/*.wav``; returns ``folder``.

    ``folder`` can be given as a manual folder. Takes about half a second.
    """
    recordings = folder / TREE / "recordings"
    recordings.mkdir(parents=True)
    for digit in range(10):
        for user in _USERS:
            for number in range(_RECORDINGS):
                name = f"{digit}_{user}_{number}.wav"
                (recordings / name).write_bytes(_tone(name, digit, seed))
    return folder


def _tone(name: str, digit: int, seed: int) -> bytes:
    """A WAV file of a tone whose height is the digit's, with a length and start of its own."""
    chance = hashlib.sha256(f"{seed} {name}".encode()).digest()
    count = _SAMPLES + chance[0]
    phase, step = chance[1], 5 + digit
    samples = [_WAVE[(phase + step * index) & 255] for index in range(count)]
    data = struct.pack(f"<{count}h", *samples)
    form = struct.pack("<HHIIHH", 1, 1, _RATE_HZ, 2 * _RATE_HZ, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body
