"""What a conversion of ImageNet was asked to do: each option is named here, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["ImagenetRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagenetRequest:
    """A source, a destination, and what is to be made. Nothing of it is looked up here."""

    source: Path
    """A folder of tars, an unpacked tree, Kaggle's tree, or one of the tars."""
    dest: Path
    """The folder for the shards; for ``tfds`` a data dir."""
    to: str
    """``tpu`` or ``slim``, a script's layout of shards; or ``tfds``."""
    only: str | None = None
    """``train`` or ``val``: that half alone."""
    synset_text: Path | None = None
    """Words for the synsets, instead of the file that lies beside the images."""
    annotations: Path | None = None
    """The folder of the boxes, instead of the one that lies beside the images."""
    skip_bad: bool = False
    """Leave out what cannot be read, and name it."""
    workers: int | None = None
    """Processes at once; None: one a core, on a ``cluster`` as many as it has."""
    cluster: str | None = None
    """The address of a Dask scheduler."""
    overwrite: bool = False
    """Replace what ``dest`` holds."""

    def located(self, folder: Path) -> ImagenetRequest:
        """The same with absolute paths: those that are relative lie in ``folder``."""

        def place(path: Path) -> Path:
            return folder / os.path.expanduser(path)

        return replace(
            self,
            source=place(self.source),
            dest=place(self.dest),
            synset_text=self.synset_text and place(self.synset_text),
            annotations=self.annotations and place(self.annotations),
        )
