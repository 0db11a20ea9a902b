"""Which multipart upload of an object has begun on this machine, for the next process to go on.

One small file an object in a folder of the state dir. It is a hint and no more: the server is asked
which parts it has, and each of them must be the part that would be sent.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dsmanager.errors import DsmanagerError
from dsmanager.files import remove_leftovers, remove_path, write_json

__all__ = ["BegunUpload", "UploadNotes"]

_MAX_NOTES_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """An upload as it was begun. Only one that is wholly the same may be gone on with."""

    upload_id: str
    endpoint: str
    bucket: str
    key: str
    size: int
    sha256: str
    part_bytes: int
    public: bool


class UploadNotes:
    """The file about one object. Failing to keep it costs a resumption and nothing else."""

    def __init__(self, folder: Path, endpoint: str, bucket: str, key: str) -> None:
        place = "\n".join((endpoint, bucket, key))
        name = hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._path = folder / f"{name}.json"

    def read(self) -> BegunUpload | None:
        """None when there is none, or what is there cannot be used."""
        try:
            with open(self._path, "rb") as file:
                notes = json.loads(file.read(_MAX_NOTES_BYTES))
            begun = BegunUpload(**notes)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return begun if isinstance(begun.upload_id, str) and begun.upload_id else None

    def write(self, begun: BegunUpload) -> None:
        with suppress(DsmanagerError):
            write_json(self._path, asdict(begun), mode=0o600)

    def forget(self) -> None:
        with suppress(OSError):
            remove_leftovers(self._path)
            remove_path(self._path)
