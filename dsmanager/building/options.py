"""What can be asked of a build: named, explained and checked here, for the CLI and for Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsmanager.building.beam import require_beam_options
from dsmanager.errors import UsageError
from dsmanager.parallel.cluster import require_cluster

__all__ = ["FORMATS", "BuildOptions"]

FORMATS = ("tfrecord", "array_record")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a dataset is built, whichever it is."""

    clean: bool = False
    """Use nothing that was downloaded or built before."""
    manual_dir: Path | None = None
    """Sources that somebody has downloaded; None: ``manual`` in the download folder."""
    download_dir: Path | None = None
    """What keeps downloads, and finished partitions; None: the library's folder for them."""
    file_format: str | None = None
    """One of :data:`FORMATS`; None: the first, and whatever is built already will do."""
    register_checksums: bool = False
    """Write the checksums of downloads into the builder's file instead of comparing them."""
    max_examples: int | None = None
    """Of each split, at most."""
    workers: int | None = None
    """Processes at once; None: one a core, or all that a cluster has."""
    cluster: str | None = None
    """Address of a Dask scheduler, whose workers make the partitions in ``download_dir``: they must
    see it."""
    beam_options: Sequence[str] = ()
    """``KEY=VALUE`` for the pipeline of a builder that uses Apache Beam."""
    verify: bool = True
    """Read every record again before the build counts."""

    def require_possible(self) -> None:
        """Raises UsageError for what cannot be done here, or at all; the builder is not asked."""
        if self.file_format not in (None, *FORMATS):
            raise UsageError(f"files can be {' or '.join(FORMATS)}", hint="use --format tfrecord")
        if self.file_format == "array_record" and not _is_installed("array_record"):
            raise UsageError(
                "ArrayRecord files need the array_record package, which exists for Linux only",
                hint="pip install array_record, or build the other format: --format tfrecord",
            )
        require_beam_options(self.beam_options)
        if self.cluster is not None:
            require_cluster(self.cluster)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
