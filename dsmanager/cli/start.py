"""The entry point: quiet about Ctrl-C from the first instruction on, imports the program then."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> int:
    """Runs the program; see :func:`dsmanager.cli.main.main`."""
    heeds_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback out of an import
    from dsmanager.cli.main import main as program

    if heeds_interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return program()
