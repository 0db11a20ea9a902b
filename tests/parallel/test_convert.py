"""A conversion on a cluster: the same bytes, whatever becomes of a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.tars import photos, tree_bytes, write_tar

from dsmanager.library.converting import TarOptions, convert_tars
from dsmanager.progress import CancelToken, Progress
from dsmanager.remotes.remote import Remote
from dsmanager.settings import Settings

OWN = """
import os, signal, time

def features(record, seed):
    if os.environ.get("IS_DOOMED"):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return {"label": int(record["cls"]), "seed": seed}
"""


def test_a_conversion_survives_a_worker_and_gives_the_same_bytes(
    dask_cluster, seaweedfs, remote_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tars in S3: the workers have credentials of their own; records are shuffled there, too."""
    (tmp_path / "own.py").write_text(OWN)
    for number in range(4):
        write_tar(tmp_path / f"train-{number}.tar.gz", photos(10 * number, 6), "gz")
    environment = seaweedfs.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Remote(remote_config) as remote:
        for path in tmp_path.glob("*.tar.gz"):
            remote.upload_bytes(path.read_bytes(), path.name)
    template = f"s3://{seaweedfs.bucket}/{remote_config.prefix}/train-{{0..3}}.tar.gz"

    def convert(dest: str, **places: Any) -> Any:
        return convert_tars(
            Settings.load(working_dir=tmp_path),
            [template],
            tmp_path / dest,
            options=TarOptions(record="own.py:features", shuffle=5, shards=3),
            progress=Progress(),
            cancel=CancelToken(),
            **places,
        )

    doomed = dask_cluster.start_worker(IS_DOOMED="1")
    with ThreadPoolExecutor(1) as pool:
        converting = pool.submit(convert, "cluster", cluster=dask_cluster.address)
        assert doomed.wait(timeout=60) != 0  # it has begun a tar
        dask_cluster.start_worker()
        assert converting.result().records == 24
    convert("here", workers=2)
    assert tree_bytes(tmp_path / "cluster") == tree_bytes(tmp_path / "here")
