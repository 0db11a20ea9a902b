"""What is sent in one request: bytes as botocore takes them, and whether they arrived as they are.

Who checks them on their way depends on the way. TLS ends the connection when a bit changes, and AWS
is given a CRC32 by botocore besides. Without TLS a signature covers them where there is a wire, but
not every server looks at it: so parts go with a CRC32 of ours, which the server either confirms, or
its ETag has to be their MD5; whole objects, which are visible at once, go with their MD5.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from dsmanager.progress import Progress
from dsmanager.remotes.crew import Crew
from dsmanager.remotes.failures import DamagedError
from dsmanager.remotes.objects import bare_etag
from dsmanager.remotes.rate import RateLimit

__all__ = ["Body", "crc32_text", "md5_text", "require_arrived"]

_SEND_BYTES = 256 << 10
_MD5 = re.compile("[0-9a-f]{32}")


class Body:
    """Bytes as botocore sends them: counts what is taken, and stops when nobody wants it.

    ``read`` hands out more than asked for: urllib3 asks for 16 KiB at a time, which costs a
    second of Python a gigabyte, and passes on whatever it gets.
    """

    def __init__(
        self,
        content: memoryview | bytes,
        crew: Crew,
        progress: Progress,
        limit: RateLimit | None,
    ) -> None:
        self._content = memoryview(content)
        self._crew = crew
        self._progress = progress
        self._limit = limit
        self._piece_bytes = limit.piece_bytes(_SEND_BYTES) if limit else _SEND_BYTES
        self._position = 0

    def __len__(self) -> int:
        return len(self._content)

    def read(self, _size: int = -1) -> memoryview | bytes:
        self._crew.check()
        piece = self._content[self._position : self._position + self._piece_bytes]
        if self._limit is not None:
            self._limit.take(len(piece), self._crew.check)
        self._move(self._position + len(piece))
        return piece or b""

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, len(self._content))[whence]
        self._move(base + offset)
        return self._position

    def _move(self, position: int) -> None:
        self._progress.add_bytes(position - self._position)
        self._position = position


def crc32_text(crc32: int) -> str:
    """A CRC32 as S3 writes it."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def md5_text(content: memoryview | bytes) -> str:
    """An MD5 as S3 reads it."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def require_arrived(answer: Mapping[str, Any], content: memoryview | bytes, crc32: str) -> None:
    """Raises DamagedError when the answer to a request is about other bytes than ``content``.

    ``crc32`` is that of ``content``.
    """
    said = answer.get("ChecksumCRC32")
    etag = bare_etag(answer.get("ETag"))
    if said:
        arrived = said == crc32
    elif _MD5.fullmatch(etag):
        arrived = etag == hashlib.md5(content, usedforsecurity=False).hexdigest()
    else:
        return  # this server says nothing that could be compared
    if not arrived:
        raise DamagedError
