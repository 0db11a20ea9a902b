"""Machines that run the real program, and small datasets to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmanager.library.library import Library
from dsmanager.settings import RemoteConfig, Settings, add_remote

TINY_BUILDER = '''
import numpy as np
import tensorflow_datasets as tfds


class Tiny(tfds.core.GeneratorBasedBuilder):
    """Numbers and words."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        features = {"number": tfds.features.Scalar(np.int64), "word": tfds.features.Text()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(300), "test": self._generate_examples(20)}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, {"number": number, "word": f"word {number} " * 100}
'''

SEVERAL_BUILDER = '''
import numpy as np
import tensorflow_datasets as tfds


class Several(tfds.core.GeneratorBasedBuilder):
    """Two configs."""

    VERSION = tfds.core.Version("2.1.0")
    RELEASE_NOTES = {"2.1.0": "First."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="rgb", description="Three."),
        tfds.core.BuilderConfig(name="all", description="All."),
    ]

    def _info(self):
        features = {"number": tfds.features.Scalar(np.int64)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(5)}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, {"number": number}
'''


@dataclass
class Machine:
    """One data dir with settings and state of its own; ``run`` is a real process."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def cache(self) -> Path:
        return self.data_dir / "cache"

    @property
    def manifest(self) -> Path:
        return self.data_dir / "datasets.json"

    @property
    def environment(self) -> dict[str, str]:
        places = {
            "DSMANAGER_CONFIG": str(self.root / "config.toml"),
            "DSMANAGER_STATE_DIR": str(self.root / "state"),
            "DSMANAGER_DATA_DIR": str(self.data_dir),
            "HOME": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**os.environ, **places, **self.extra}

    @property
    def library(self) -> Library:
        settings = Settings.load(environ=self.environment, working_dir=self.root)
        return Library(settings=settings)

    def run(self, *arguments: str, code: int | None = 0, **more: Any) -> Any:
        """Runs dsmanager and checks its exit code; returns the finished process."""
        done = subprocess.run(
            [sys.executable, "-m", "dsmanager", *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            **more,
        )
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The envelope that ``--json`` prints."""
        return json.loads(self.run("--json", *arguments, code=code).stdout)

    def row(self, ref: str) -> dict[str, Any]:
        """The row of ``ref`` in ``list --json``."""
        return next(row for row in self.json("list")["data"] if row["ref"] == ref)

    def use(self, remote: RemoteConfig) -> None:
        add_remote(self.root / "config.toml", remote, make_current=True)

    def leftovers(self) -> list[str]:
        """Temporary files and locks anywhere in the data dir."""
        return [
            str(path.relative_to(self.data_dir))
            for path in self.data_dir.rglob("*")
            if path.name.endswith((".tmp", ".lock"))
        ]


def new_machine(root: Path, **extra: str) -> Machine:
    """A machine in a folder that does not exist yet."""
    root.mkdir(parents=True)
    return Machine(root, extra)


def write_builders(folder: Path) -> Path:
    """Writes ``tiny`` and ``several`` into ``folder``."""
    for name, text in (("tiny", TINY_BUILDER), ("several", SEVERAL_BUILDER)):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.py").write_text(text)
    return folder
