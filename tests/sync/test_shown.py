"""What a person sees while a sync runs: live lines on a terminal, plain ones elsewhere."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from dsmanager.cli.context import Context
from dsmanager.cli.many_progress import run_many
from dsmanager.syncing.board import Board

ONE, TWO = "digit:1.0.8", "mnist:3.0.1"


@pytest.fixture
def held_up(publish, machine, proxy, remote_config):
    """A machine whose downloads stop half-way until the gate opens."""
    team = publish(ONE, TWO, padding=300_000)
    machine.manifest.write_bytes(team.manifest.read_bytes())
    machine.use(proxy.config(remote_config))
    proxy.most_bytes = 100_000
    return machine


def test_a_terminal_shows_one_live_line_for_each_running_ref(held_up, proxy, wait_until):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dsmanager", "sync"]
    environment = {
        **os.environ,
        "DSMANAGER_CONFIG": str(held_up.root / "config.toml"),
        "DSMANAGER_STATE_DIR": str(held_up.root / "state"),
        "DSMANAGER_DATA_DIR": str(held_up.data_dir),
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        command, env=environment, cwd=held_up.root, stderr=theirs, stdout=subprocess.DEVNULL
    )
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(ours, 4096) or b"")
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_until(lambda: all(f"{r} download".encode() in shown for r in (ONE, TWO)), "live lines")
    assert b"refs" in shown
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    reader.join(timeout=10)
    os.close(ours)
    assert b"cancelled before 2 of 2 were done" in shown


def test_notes_carry_their_ref_and_counts_add_up(capsys):
    board = Board()

    def work(cancel):
        board.expect(2)
        with board.running("a:1.0.0") as progress:
            progress.note("waiting for process 1 (build)")
            assert list(board.now()) == ["a:1.0.0"]
        assert board.counts == (1, 2)
        return "done"

    assert run_many(Context(), board, work) == "done"
    board.note("end")
    assert board.take_notes()[-1] == "end"


PROBE = """
import json, sys
from dsmanager.cli.main import main
code = main(["sync", "--verify"])
tops = sorted({name.partition(".")[0] for name in sys.modules})
sys.stderr.write("\\n" + json.dumps([int(code), tops]))
"""


def test_a_sync_loads_no_tfds(publish, machine):
    machine.manifest.write_bytes(publish(ONE).manifest.read_bytes())
    environment = {
        **os.environ,
        "DSMANAGER_CONFIG": str(machine.root / "config.toml"),
        "DSMANAGER_STATE_DIR": str(machine.root / "state"),
        "DSMANAGER_DATA_DIR": str(machine.data_dir),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment,
        cwd=machine.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    code, tops = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert not {"tensorflow", "tensorflow_datasets", "textual", "numpy"} & set(tops)
