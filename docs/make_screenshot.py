"""Writes docs/tui.svg: the library screen with real datasets, a real remote and a job at work.

    python docs/make_screenshot.py [FILE]

Everything happens in a temporary folder, with a server of its own, and takes half a minute.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dsmanager.catalog.scaffold import scaffold
from dsmanager.demo.source import make_digit_source
from dsmanager.screens.app import DsmanagerApp
from dsmanager.settings import Settings

_COLUMNS, _LINES = 118, 26
_BUILDERS = ("bird_songs", "road_signs", "street_scenes", "tiny_faces")
_WAIT_S = 60


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tui.svg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        os.environ |= {
            "DSMANAGER_CONFIG": str(folder / "config.toml"),
            "DSMANAGER_STATE_DIR": str(folder / "state"),
            "DSMANAGER_DATA_DIR": str(folder / "datasets"),
        }
        os.chdir(folder / "work")
        try:
            _prepare(folder)
            target.write_text(asyncio.run(_screenshot()), "utf-8")
        finally:
            _run("remote", "serve", "--stop")


def _prepare(folder: Path) -> None:
    for name in _BUILDERS:
        scaffold(name, folder / "builders")
    (folder / "config.toml").write_text(f'builders = ["{folder / "builders"}"]\n')
    make_digit_source(folder / "downloads")
    _run("remote", "serve")
    _run("build", "digit", "--manual-dir", str(folder / "downloads"))
    _run("build", *_BUILDERS)
    _run("package", "digit", "bird_songs", "road_signs", "street_scenes")
    _run("upload", "digit", "road_signs", "street_scenes")
    _run("rm", "street_scenes", "--from", "built", "--from", "cached", "--yes")
    archive = next((folder / "datasets" / "cache").glob("road_signs*.tar.gz"))
    archive.write_bytes(archive.read_bytes()[:-1])  # one byte short: damaged
    _run("--detach", "verify", "digit", "--in", "built")
    _run("--detach", "upload", "bird_songs", "--limit-rate", "100")


async def _screenshot() -> str:
    app = DsmanagerApp(Settings.load())
    async with app.run_test(size=(_COLUMNS, _LINES)) as pilot:
        await _until(pilot.pause, lambda: _is_complete(app))
        svg = app.export_screenshot(title="dsmanager")
        for job in app.model.active_jobs:
            app.model.cancel_job(job.id)
        await _until(pilot.pause, lambda: not app.model.active_jobs)
    return svg


def _is_complete(app: DsmanagerApp) -> bool:
    looked = app.model.remote is not None and app.model.remote.looked_at_s is not None
    running = any(job.state == "running" and job.bytes_done for job in app.model.jobs)
    return looked and running and len(app.model.rows) > len(_BUILDERS)


async def _until(pause: Callable[..., object], holds: Callable[[], bool]) -> None:
    for _ in range(_WAIT_S * 10):
        await pause(0.1)  # type: ignore[misc]
        if holds():
            await pause(0.5)  # type: ignore[misc]
            return
    raise TimeoutError("the screen did not come")


def _run(*arguments: str) -> None:
    command = [sys.executable, "-m", "dsmanager", "--quiet", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
