"""The whole life of a dataset on a remote, by the real program on two machines."""

from __future__ import annotations

import hashlib

from harness.machine import Machine

REF = "tiny:1.0.0"


def live(here: Machine, there: Machine) -> None:
    """``here`` has built ``tiny``; both use the same empty remote, which is empty afterwards."""
    here.run("package", REF)
    here.run("upload", REF)
    here.run("upload", REF)
    here.run("upload", REF, "--overwrite")
    assert here.row(REF)["remote"]
    here.run("manifest", "push")
    there.run("download", REF)
    there.run("verify", REF, "--in", "remote")
    there.run("manifest", "pull")
    there.run("rm", REF, "--from", "cached", "--yes")
    there.run("sync")
    assert _sha256(there) == _sha256(here)
    here.run("rm", REF, "--from", "remote", "--yes")
    there.run("download", REF, "--overwrite", code=6)


def _sha256(machine: Machine) -> str:
    (archive,) = machine.cache.glob("tiny*.tar.gz")
    return hashlib.sha256(archive.read_bytes()).hexdigest()
