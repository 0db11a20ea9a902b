"""A real terminal: the program on a pseudo-terminal, its output read by a terminal emulator.

What a person would see, as text; what a person would do, as bytes. Waits for what is on the screen,
never for time to pass. Frames are shown whole, as terminals do that know synchronized output
(private mode 2026): a title without the rest of its dialog is never seen.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyte

__all__ = ["KEYS", "Terminal"]

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "space": " ",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "delete": "\x1b[3~",
    "ctrl+c": "\x03",
    "ctrl+p": "\x10",
    "ctrl+q": "\x11",
    "ctrl+u": "\x15",
}


_ASKS_FOR_FRAMES = b"\x1b[?2026$p"
_SHOWS_FRAMES_WHOLE = b"\x1b[?2026;2$y"
_FRAME_BEGINS = b"\x1b[?2026h"
_FRAME_ENDS = b"\x1b[?2026l"

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """``python -m dsmanager ARGUMENTS`` in a terminal of ``columns`` x ``lines``."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        folder: Path,
        columns: int = 120,
        lines: int = 40,
    ) -> None:
        self._lock = threading.Lock()
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.received = bytearray()
        """Everything that the program wrote, for what an emulator does not show (OSC 52)."""
        self._shown_bytes = 0
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.modes_before = termios.tcgetattr(side)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, "-m", "dsmanager", *arguments],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=folder,
            env=_of_a_terminal(environment),
            start_new_session=True,
        )
        self._side = side
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.close()

    @property
    def text(self) -> str:
        """The screen as it is now, a line a row, without spaces at the ends of rows."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def modes(self) -> list[object]:
        """The settings of the terminal line: echo, canonical input, …"""
        return termios.tcgetattr(self._side)

    def styles(self, word: str) -> list[tuple[str, str, bool]]:
        """Colours and boldness along the first line that holds ``word``: where the focus is."""
        with self._lock:
            for number, line in enumerate(self._screen.display):
                if word in line:
                    row = self._screen.buffer[number]
                    cells = (row[column] for column in range(self._screen.columns))
                    return [(cell.fg, cell.bg, cell.bold) for cell in cells]
        return []

    def move_to(self, word: str, key: str) -> None:
        """Presses ``key`` and waits until the line of ``word`` shows that the focus came there."""
        before = self.styles(word)
        self.press(key)
        self.wait_for(lambda _: self.styles(word) != before)

    def press(self, *keys: str) -> None:
        """Types keys by name ("enter", "down") or letters as they are."""
        for key in keys:
            os.write(self._main, KEYS.get(key, key).encode())

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def click(self, column: int, line: int) -> None:
        """Presses and lets go of the left button; both counted from 1."""
        os.write(self._main, f"\x1b[<0;{column};{line}M\x1b[<0;{column};{line}m".encode())

    def wait_for(self, wanted: str | Callable[[str], bool], *, timeout_s: float = 30) -> str:
        """Returns the screen once ``wanted`` is on it, or holds for it."""
        holds = wanted if callable(wanted) else lambda text: wanted in text
        deadline_s = time.monotonic() + timeout_s
        while not holds(text := self.text):
            ended = self.process.poll()
            assert ended is None, f"the program ended with {ended}; the screen was:\n{text}"
            assert time.monotonic() < deadline_s, f"{wanted!r} did not come; the screen is:\n{text}"
            time.sleep(0.02)
        return text

    def wait_gone(self, unwanted: str, *, timeout_s: float = 30) -> str:
        return self.wait_for(lambda text: unwanted not in text, timeout_s=timeout_s)

    def wait_end(self, *, timeout_s: float = 30) -> int:
        """The exit code, once the program has ended."""
        return self.process.wait(timeout_s)

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self._screen.resize(lines, columns)
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGWINCH)

    def close(self) -> None:
        """Closes the terminal as a lost SSH connection does: the kernel sends SIGHUP."""
        for descriptor in (self._side, self._main):
            with suppress(OSError):
                os.close(descriptor)
        self._reader.join(5)

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._main, 1 << 16):
                with self._lock:
                    self.received += data
                    self._show(self._whole_bytes())
                if _ASKS_FOR_FRAMES in data:
                    os.write(self._main, _SHOWS_FRAMES_WHOLE)
        with self._lock:
            self._show(len(self.received))

    def _whole_bytes(self) -> int:
        """How many of the received bytes come before a frame that has not ended yet."""
        new = max(0, self._shown_bytes - len(_FRAME_BEGINS) + 1)
        begin = self.received.rfind(_FRAME_BEGINS, new)
        if begin <= self.received.rfind(_FRAME_ENDS, new):
            return len(self.received)
        return max(begin, self._shown_bytes)

    def _show(self, end: int) -> None:
        self._stream.feed(bytes(self.received[self._shown_bytes : end]))
        self._shown_bytes = end


def _of_a_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """What a terminal sets; what another one has set about its size would be believed."""
    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
