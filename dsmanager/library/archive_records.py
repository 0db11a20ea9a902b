"""What is known of an archive before its bytes are read: sidecar, manifest entry, object metadata.

Every record that exists must agree with the bytes, and one suffices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsmanager.archives.extraction import Expected
from dsmanager.archives.sidecar import Sidecar, read_sidecar
from dsmanager.errors import NotFoundError, VerificationError, os_errors
from dsmanager.library.memory import Memory, identity_of
from dsmanager.manifest import Entry
from dsmanager.refs import Ref

__all__ = ["ArchiveRecords", "records_of_cached", "remembering"]


@dataclass(frozen=True, slots=True)
class ArchiveRecords:
    """All that says what the archive of ``ref`` must be."""

    ref: Ref
    entry: Entry | None = None
    sidecar: Sidecar | None = None
    object_size: int | None = None
    object_sha256: str | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Size in bytes by the name of the record that says it."""
        said = {
            "the manifest": self.entry.size if self.entry else None,
            "the sidecar": self.sidecar.size if self.sidecar else None,
            "the object": self.object_size,
        }
        return {where: size for where, size in said.items() if size is not None}

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 by the name of the record that says it."""
        said = {
            "the manifest": self.entry.sha256 if self.entry else None,
            "the sidecar": self.sidecar.sha256 if self.sidecar else None,
            "the object's metadata": self.object_sha256,
        }
        return {where: sha256 for where, sha256 in said.items() if sha256 is not None}

    @property
    def subdir(self) -> tuple[str, ...]:
        """The folders of the archive; from the ref where no record says it."""
        if self.sidecar is not None:
            return self.sidecar.subdir
        if self.entry is not None:
            return self.entry.subdir
        return (str(self.ref.subdir),)

    def agreed_sha256(self) -> str:
        """The sha256 that all records say.

        Raises NotFoundError when there is no record, VerificationError when they disagree.
        """
        for what, said in (("sizes", self.sizes), ("sha256", self.hashes)):
            if len(set(said.values())) > 1:
                told = ", ".join(f"{where} says {value}" for where, value in said.items())
                raise VerificationError(
                    f"the records of {self.ref} disagree in {what}: {told}",
                    hint=f"see what is where: dsmanager info {self.ref}",
                    ref=str(self.ref),
                )
        for sha256 in self.hashes.values():
            return sha256
        raise NotFoundError(
            f"nothing says what the archive of {self.ref} must be: no sidecar, no manifest entry, "
            "no object metadata",
            hint=f"record what is cached now: dsmanager manifest record {self.ref}",
            ref=str(self.ref),
        )

    def expected(self) -> Expected:
        """The same for the archive reader. Raises as :meth:`agreed_sha256`."""
        sha256 = self.agreed_sha256()
        return Expected(
            name=self.ref.name,
            subdir=frozenset(self.subdir),
            size=next(iter(self.sizes.values()), None),
            sha256=sha256,
            sidecar=self.sidecar,
        )


def records_of_cached(ref: Ref, archive: Path, entry: Entry | None) -> ArchiveRecords:
    """The records of a cached archive: its sidecar and its manifest entry."""
    return ArchiveRecords(ref, entry, read_sidecar(archive))


@contextmanager
def remembering(memory: Memory, archive: Path) -> Iterator[Callable[[str], None]]:
    """Yields what to call with the sha256 of an archive that is read in full inside the block.

    A damaged one is remembered, too, so that ``list`` tells it from then on.
    """
    with os_errors(f"read {archive.name}"):
        identity = identity_of(archive)
    try:
        yield lambda sha256: memory.remember_file(archive, sha256, identity)
    except VerificationError as error:
        if error.found_sha256 is not None:
            memory.remember_file(archive, error.found_sha256, identity)
        raise
