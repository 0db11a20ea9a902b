"""The entry point: quiet about Ctrl-C from the first instruction on, imports the program then."""

from __future__ import annotations

import gc
import signal
import sys

from dsmanager.cli.tui import can_open, open_bare

__all__ = ["main"]

_COLLECT_AFTER = 50_000
"""Objects until the next look for circles: Python's 700 cost a listing a tenth of its time."""


def main() -> int:
    """Runs the program; see :func:`dsmanager.cli.main.main`."""
    gc.set_threshold(_COLLECT_AFTER)
    try:
        return _run()
    finally:
        gc.freeze()  # the interpreter's last looks for circles took a fifth of a short command


def _run() -> int:
    heeds_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback out of an import
    if len(sys.argv) == 1 and can_open():
        return open_bare()  # without the parser: somebody waits for the screen
    from dsmanager.cli.main import main as program

    if heeds_interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return program()
