"""What a server says of an object that was just written, against what was sent.

Only checksums of the whole object can be compared; those of a multipart upload are often a checksum
of checksums. Which there are depends on the server, and none is required.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from dsmanager.remotes.objects import RemoteObject

__all__ = ["differing_checksum", "what_was_lost"]


def what_was_lost(
    stored: RemoteObject, answer: Mapping[str, Any], size: int, sha256: str, crc32: str | None
) -> str | None:
    """What the server did not keep of an object of that size and those checksums, in a word or two.

    ``stored`` is the object of ``answer``, an answer to HEAD. None where all is as it was sent.
    A server that keeps no metadata of any object (AIStore) is as good: the sidecar has the sha256.
    """
    if stored.size != size:
        return "size"
    if (differing := differing_checksum(answer, sha256, crc32)) is not None:
        return f"bytes ({differing})"
    return "metadata" if stored.sha256 not in (None, sha256) else None


def differing_checksum(answer: Mapping[str, Any], sha256: str, crc32: str | None) -> str | None:
    """The name of a checksum in an answer to HEAD that is not the one of the bytes sent.

    ``sha256`` is in hexadecimal, ``crc32`` as S3 writes it; None where it was not computed.
    """
    ours = {
        "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        "ChecksumCRC32": crc32,
    }
    for name, expected in ours.items():
        said = answer.get(name)
        if expected and said and _is_of_whole_object(answer, said) and said != expected:
            return name.removeprefix("Checksum")
    return None


def _is_of_whole_object(answer: Mapping[str, Any], said: str) -> bool:
    """A checksum of checksums is marked by its type, or by the number of parts behind a dash."""
    return answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in said
