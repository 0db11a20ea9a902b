"""What lies beside ImageNet as text: words for the synsets, and the names of validation images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsmanager.errors import UsageError, VerificationError
from dsmanager.ingest.imagenet.beside import read_texts
from dsmanager.sources.imagenet_labels import synsets, validation_synset
from fuzz.checks import refusing_with, scratch_folder


def run(data: bytes) -> None:
    path = _path()
    path.write_bytes(data)
    with refusing_with(UsageError):
        texts = read_texts(path)
        for synset, words in texts.items():
            assert synset.split() == [synset]
            assert words == words.strip()
            assert words
            words.encode()
    with refusing_with(VerificationError):
        name = data.decode("utf-8", "surrogateescape")
        assert validation_synset(name) in synsets()
        assert name.upper().startswith("ILSVRC2012_VAL_")


@cache
def _path() -> Path:
    return scratch_folder() / "LOC_synset_mapping.txt"


def seeds() -> Iterator[tuple[str, bytes]]:
    yield "kaggle", b"n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
    yield "slim", b"n01440764\ttench, Tinca tinca\r\n\r\nn01443537\tgoldfish\r\n"
    yield "no-words", b"n01440764\n"
    yield "latin-1", "n01440764 caf\xe9\n".encode("latin-1")
    yield "separators", "n01440764 a\u2028n01443537\x1cb\x85c d".encode()
    yield "first", b"ILSVRC2012_val_00000001.JPEG"
    yield "last", b"ilsvrc2012_VAL_00050000.jpeg"
    yield "none", b"ILSVRC2012_val_00050001.JPEG"
    yield "other-digits", "ILSVRC2012_val_0000000\u0661.JPEG".encode()
