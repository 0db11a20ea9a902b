"""Where the content of each member starts in an uncompressed archive.

Follows from the paths and sizes in the sidecar alone, because the tar stream is made in one fixed
way (:mod:`dsmanager.archives.tar`): nothing of the archive has to be read.
"""

from __future__ import annotations

from dsmanager.archives import tar
from dsmanager.archives.sidecar import Sidecar
from dsmanager.errors import VerificationError

__all__ = ["is_uncompressed", "member_offsets", "new_folders"]


def is_uncompressed(sidecar: Sidecar) -> bool:
    """Whether the archive is the tar stream itself."""
    return sidecar.compression.get("format") == "none"


def member_offsets(sidecar: Sidecar) -> dict[str, int]:
    """The byte offset of each member's first byte, by path.

    Raises VerificationError when the members do not add up to the size of the archive.
    """
    folders: set[str] = set()
    offsets: dict[str, int] = {}
    position = 0
    for member in sidecar.members:
        for folder in new_folders(member.path, folders):
            position += len(tar.folder_header(folder))
        position += len(tar.file_header(member.path, member.size))
        offsets[member.path] = position
        position += member.size + -member.size % tar.BLOCK_BYTES
    position += len(tar.stream_end(position))
    if position != sidecar.size:
        raise VerificationError(
            f"the members of {sidecar.archive} take {position:,} bytes by its sidecar, and the "
            f"archive has {sidecar.size:,}",
            hint=f"pack it again: dsmanager package {sidecar.ref} --compression none --overwrite",
            ref=str(sidecar.ref),
        )
    return offsets


def new_folders(path: str, known: set[str]) -> list[str]:
    """The folders above ``path`` that are not ``known`` yet, outermost first; adds them."""
    parts = path.split("/")[:-1]
    folders = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    new = [folder for folder in folders if folder not in known]
    known.update(new)
    return new
