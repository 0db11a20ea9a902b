"""A real AIStore cluster as a remote; skipped unless the environment says where one is."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import pytest
from harness.life import live
from harness.processes import Zygote

from dsmanager.settings import RemoteConfig

ENDPOINT = os.environ.get("DSMANAGER_TEST_AIS_ENDPOINT")  # now: no test sees it later

pytestmark = pytest.mark.skipif(
    not ENDPOINT,
    reason="DSMANAGER_TEST_AIS_ENDPOINT names no cluster; docs/aistore.md says how to start one",
)


def test_a_dataset_lives_on_a_real_cluster(
    built_data: Path, zygote: Zygote, tmp_path: Path
) -> None:
    from aistore.sdk import Client

    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"access_key": "any", "secret_key": "any"}))  # it looks at neither
    here, there = (zygote.new_machine(tmp_path / name) for name in ("here", "there"))
    shutil.copytree(built_data, here.data_dir)
    bucket = Client(str(ENDPOINT)).bucket(f"dsmanager-{secrets.token_hex(4)}")
    bucket.create(exist_ok=False)
    try:
        for machine in (here, there):
            machine.use(
                RemoteConfig(
                    "ais",
                    f"s3://{bucket.name}/p",
                    endpoint_url=f"{ENDPOINT}/s3",
                    credentials_file=keys,
                )
            )
        live(here, there)
    finally:
        bucket.delete(missing_ok=True)
