"""Code of an attacker's data is not run, and builders find no credentials, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EVIL = {"pythonClassName": "evil_module.Feature", "jsonFeature": {"json": "{}"}}
NESTED = {
    "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "featuresDict": {"features": {"x": EVIL}},
}
SPYING_BUILDER = '''
import json
import os
import pathlib

import botocore.session
import numpy as np
import tensorflow_datasets as tfds


class Spy(tfds.core.GeneratorBasedBuilder):
    """Tells what it sees."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        features = {"number": tfds.features.Scalar(np.int64)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        found = botocore.session.Session().get_credentials()
        seen = {
            "environment": dict(os.environ),
            "credentials": None if found is None else [found.access_key, found.secret_key],
        }
        pathlib.Path(__file__).with_name("seen.json").write_text(json.dumps(seen))
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(3):
            yield number, {"number": number}
'''


@pytest.fixture
def trap(victim: Any, tmp_path: Path) -> Path:
    """A module on PYTHONPATH that leaves a file behind when somebody imports it."""
    modules, sprung = tmp_path / "modules", tmp_path / "sprung"
    modules.mkdir()
    (modules / "evil_module.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    victim.extra["PYTHONPATH"] = str(modules)
    return sprung


@pytest.mark.parametrize("features", [EVIL, NESTED], ids=["at the root", "nested"])
def test_load_refuses_an_attackers_module_before_any_import(
    victim: Any, trap: Path, features: dict[str, Any]
) -> None:
    victim.add_built(features)
    for verb in (["load", "small"], ["info", "small", "--preview"]):
        refused = victim.run(*verb, code=4)
        assert "evil_module.Feature" in refused.stderr
        assert not trap.exists()


def test_load_refuses_it_in_an_archive_too(victim: Any, trap: Path) -> None:
    """Packed and extracted by the program itself: nothing on the way opens it."""
    import shutil

    victim.add_built(NESTED)
    victim.run("package", "small")
    shutil.rmtree(victim.data_dir / "small")
    refused = victim.run("load", "small", code=4)
    assert "evil_module.Feature" in refused.stderr
    assert not trap.exists()


def test_the_trap_would_spring(victim: Any, trap: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-c", "import evil_module"]
    subprocess.run(command, env=victim.environment, check=True)
    assert trap.exists()


def test_a_builder_finds_no_credentials(victim: Any, tmp_path: Path) -> None:
    secrets = {
        "AWS_ACCESS_KEY_ID": "secret-1",
        "AWS_SECRET_ACCESS_KEY": "secret-2",
        "AWS_SESSION_TOKEN": "secret-3",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-4",
        "AWS_ENDPOINT_URL": "http://user:secret-5@127.0.0.1:1",
        "AWS_PROFILE": "secret-6",
        "ARMORY_PRIVATE_S3_ID": "secret-7",
        "ARMORY_PRIVATE_S3_KEY": "secret-8",
        "ARMORY_GITHUB_TOKEN": "secret-9",
        "GITHUB_TOKEN": "secret-10",
        "HF_TOKEN": "secret-11",
        "KAGGLE_KEY": "secret-12",
        "MY_PASSWORD": "secret-13",
        "some_api_key": "secret-14",
        "DSMANAGER_REMOTE": "s3://user-secret-15/x",
    }
    keys = victim.root / ".aws" / "credentials"
    keys.parent.mkdir()
    keys.write_text("[default]\naws_access_key_id = secret-16\naws_secret_access_key = secret-17\n")
    builder = tmp_path / "spy" / "spy.py"
    builder.parent.mkdir()
    builder.write_text(SPYING_BUILDER)
    victim.extra |= {**secrets, "HARMLESS": "kept"}
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        victim.extra[name] = str(keys)
    victim.run("build", "--path", str(builder.parent))
    seen = json.loads((builder.parent / "seen.json").read_text())
    assert seen["environment"]["HARMLESS"] == "kept"
    assert "secret-" not in json.dumps(seen["environment"])
    assert not set(secrets) & set(seen["environment"])
    assert seen["credentials"] is None
