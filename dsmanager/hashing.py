"""The one place that hashes whole files."""

from __future__ import annotations

import os
from pathlib import Path

from dsmanager.buffers import buffer
from dsmanager.progress import CancelToken, Progress

__all__ = ["CHUNK_BYTES", "is_sha256", "sha256_file"]

CHUNK_BYTES = 1 << 20


def is_sha256(text: object) -> bool:
    """Whether ``text`` is 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and not text.strip("0123456789abcdef")


def sha256_file(
    path: Path, *, progress: Progress | None = None, cancel: CancelToken | None = None
) -> str:
    """Hexadecimal sha256 of a file, read once in order; adds to ``progress`` as bytes.

    Raises OSError when the file cannot be read.
    """
    import hashlib  # brings OpenSSL, which most commands do without

    digest = hashlib.sha256()
    chunk = buffer(CHUNK_BYTES)
    with open(path, "rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := file.readinto(chunk):
            if cancel is not None:
                cancel.check()
            digest.update(chunk[:count])
            if progress is not None:
                progress.add_bytes(count)
    return digest.hexdigest()
