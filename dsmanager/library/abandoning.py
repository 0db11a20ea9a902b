"""Takes away what an interrupted transfer of one ref keeps to be resumed, once nobody wants it.

Neither archives nor objects are touched, and nothing while somebody else works on the ref.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsmanager.archives.sidecar import MAX_SIDECAR_BYTES, read_sidecar, sidecar_path
from dsmanager.errors import NotFoundError, os_errors
from dsmanager.locks import locked_if_free
from dsmanager.partial import discard_part, part_path
from dsmanager.refs import COMPRESSION_SUFFIXES, Ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["abandon"]


def abandon(library: LibraryPlaces, ref: Ref, *, is_sent: bool = True) -> None:
    """Removes the part of a download; with ``is_sent``, what an upload has left on the remote.

    Only an upload in parts that this machine has begun is ended. Raises what the remote raises.
    """
    with locked_if_free(library.lock_path(ref), purpose=f"clean up {ref}") as is_free:
        if not is_free:
            return
        entry = library.manifest.entries.get(ref)
        names = {ref.archive_name(each) for each in COMPRESSION_SUFFIXES}
        with os_errors(f"clean up after {ref}"):
            for name in names | ({entry.archive} if entry else set()):
                discard_part(part_path(library.settings.cache_dir / name))
        if is_sent and library.has_remote:
            _end_upload(library, ref)


def _end_upload(library: LibraryPlaces, ref: Ref) -> None:
    """Of a multipart upload the parts go, and so does a sidecar that went ahead of its archive.

    Only this machine's own sidecar, and only while the archive that it describes is not there:
    beside another archive it would keep everybody from downloading that one.
    """
    try:
        archive = library.cached_path(ref)
    except NotFoundError:
        return
    remote, local = library.remote, sidecar_path(archive)
    remote.forget_upload(archive.name, library.settings.state_dir / "uploads")
    sidecar = read_sidecar(archive)
    there = remote.head(archive.name)
    if sidecar is None or (there and remote.holds(there, sidecar.size, sidecar.sha256)):
        return
    if remote.read_bytes(local.name, max_bytes=MAX_SIDECAR_BYTES) == local.read_bytes():
        remote.delete(local.name)
