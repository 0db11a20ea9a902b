"""Judges: what is good, read in full; what is damaged and listed as good; what is left behind."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from dsmanager.building.verify import verify_records
from dsmanager.built import BuiltDataset
from dsmanager.errors import NotFoundError, VerificationError
from dsmanager.library.library import Library
from dsmanager.library.verification import verify
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import Ref
from dsmanager.remotes.client import Clients
from dsmanager.settings import RemoteConfig
from harness.machine import Machine

ARCHIVES = (".tar.gz", ".tar.zst", ".tar")


@dataclass
class Findings:
    """What went wrong in one experiment or many; empty lists mean that nothing did."""

    tries: int = 0
    damaged: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        self.tries += other.tries
        for name in DEFECTS:
            getattr(self, name).extend(getattr(other, name))

    @property
    def defects(self) -> list[str]:
        return [f"{name}: {each}" for name in DEFECTS for each in getattr(self, name)]


DESCRIBED = "remote with its sidecar"
DEFECTS = ("damaged", "lost", "unclear", "failed", "left")


@dataclass(frozen=True)
class State:
    """What is good somewhere, and what is damaged there although it is listed as good."""

    good: frozenset[str]
    damaged: tuple[str, ...]

    def lost(self, after: State) -> list[str]:
        """What was good and is no more.

        An archive on a remote and its sidecar cannot be replaced at once: one that is whole by its
        metadata is not lost while the sidecar of its successor lies beside it, and is refused.
        """
        return sorted(each for each in self.good - after.good if not each.endswith(DESCRIBED))

    def __or__(self, other: State) -> State:
        return State(self.good | other.good, self.damaged + other.damaged)


def local_state(machine: Machine) -> State:
    """Builds, archives and records of a machine; every byte is read."""
    library = machine.library
    good, damaged = set(), []
    for row in library.survey(local_only=True).rows:
        for place in ("built", "cached"):
            found = getattr(row, place)
            if found is None:
                continue
            if row.difference is not None or _is_whole(library, row.ref, place):
                good.add(f"{row.ref} {place}")
            elif found.problem is None:
                damaged.append(f"{row.ref} {place}")
        if row.recorded:
            good.add(f"{row.ref} recorded")
    return State(frozenset(good), tuple(damaged))


def remote_state(config: RemoteConfig) -> State:
    """Archives on a remote: whole when metadata and sidecar say what the bytes are."""
    good, damaged = set(), []
    etags = objects(config)
    for name, etag in etags.items():
        if name.endswith(ARCHIVES):
            wrong = _disagreeing(config, name, etag, etags.get(f"{name}.json"))
            if "metadata" not in wrong:
                good |= {f"{name} remote"} | ({f"{name} {DESCRIBED}"} if not wrong else set())
            else:
                damaged.append(f"{name} remote: not what its {' and '.join(wrong)} says")
        elif name == "datasets.json":
            good |= {f"{ref} shared" for ref in json.loads(_read(config, name)[0])["datasets"]}
    return State(frozenset(good), tuple(damaged))


@functools.cache
def _disagreeing(
    config: RemoteConfig, name: str, etag: str, etag_of_sidecar: str | None
) -> tuple[str, ...]:
    """Records that are not what the bytes are; an ETag stands for bytes, and is read once."""
    content, metadata = _read(config, name)
    said = {"metadata": metadata.get("sha256")}
    if etag_of_sidecar is not None:
        said["sidecar"] = json.loads(_read(config, f"{name}.json")[0])["sha256"]
    found = hashlib.sha256(content).hexdigest()
    return tuple(where for where, sha256 in said.items() if sha256 not in (None, found))


def remote_leftovers(config: RemoteConfig) -> list[str]:
    """Multipart uploads that were neither completed nor aborted, and sidecars of nothing."""
    names = set(objects(config))
    left = [
        f"{name} alone"
        for name in sorted(names)
        if name.endswith(tuple(f"{end}.json" for end in ARCHIVES))
        and name.removesuffix(".json") not in names
    ]
    answer = _client(config).list_multipart_uploads(Bucket=config.bucket, Prefix=config.prefix)
    keys = [upload["Key"] for upload in answer.get("Uploads", ())]
    return left + [f"multipart upload of {key}" for key in keys if key.startswith(config.prefix)]


def objects(config: RemoteConfig) -> dict[str, str]:
    """ETags by name, of everything below the prefix."""
    prefix = f"{config.prefix}/"
    answer = _client(config).list_objects_v2(Bucket=config.bucket, Prefix=prefix)
    found = answer.get("Contents", ())
    return {entry["Key"].removeprefix(prefix): entry["ETag"] for entry in found}


def _read(config: RemoteConfig, name: str) -> tuple[bytes, dict[str, str]]:
    answer = _client(config).get_object(Bucket=config.bucket, Key=f"{config.prefix}/{name}")
    metadata = {key.lower(): value for key, value in answer["Metadata"].items()}
    return answer["Body"].read(), metadata


def _client(config: RemoteConfig) -> Any:
    """One for all prefixes of a server; it takes long to make."""
    return _clients_of(replace(config, name="judge", url=f"s3://{config.bucket}/")).control


@functools.cache
def _clients_of(config: RemoteConfig) -> Clients:
    return Clients(config)


def _is_whole(library: Library, ref: Ref, place: str) -> bool:
    try:
        if place == "built":
            built = BuiltDataset(ref, library.version_folder(ref))
            built.require_complete()
            verify_records(built, progress=Progress(), cancel=CancelToken())
        else:
            verify(library, ref, place, progress=Progress(), cancel=CancelToken())
    except VerificationError:
        return False
    except NotFoundError:
        return library.manifest.entries.get(ref) is None  # nothing records it: not damaged either
    return True


def one_clear_line(code: int, stderr: str) -> list[str]:
    """What is wrong with the ending of a command that failed: its error is one line.

    ``sync`` ends with a table, one line for each ref that did not work.
    """
    starts = ("error:", "1 of 1 did not work:")
    errors = [line for line in stderr.splitlines() if line.startswith(starts)]
    if code == 0:
        return [] if not errors else [f"exit 0 and {errors}"]
    wrong = []
    if len(errors) != 1:
        wrong.append(f"exit {code} and {len(errors)} lines of error: {stderr[-300:]!r}")
    if "Traceback" in stderr or "unexpected" in stderr:
        wrong.append(f"not meant for a person: {stderr[-300:]!r}")
    return wrong
