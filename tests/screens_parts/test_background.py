"""Work in background threads: the newest wins, cancelled work says nothing, errors are values."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dsmanager.errors import DsmanagerError, NotFoundError
from dsmanager.progress import CancelToken
from dsmanager.screens.background import Background

Wait = Callable[[Callable[[], bool], str], None]


def test_only_the_newest_of_many_is_done(wait_until: Wait) -> None:
    brought: list[Any] = []
    began, may_go = threading.Event(), threading.Event()

    def first(_: CancelToken) -> int:
        began.set()
        return 0 if may_go.wait(30) else 1

    background: Background[int] = Background("test", brought.append)
    background.ask(first)
    assert began.wait(30)
    for number in range(1, 10):
        background.ask(lambda _, number=number: number)
    may_go.set()
    wait_until(lambda: bool(brought), "an outcome")
    assert brought == [9]


def test_what_is_cancelled_is_told_so_and_delivers_nothing(wait_until: Wait) -> None:
    brought: list[Any] = []
    began, ended = threading.Event(), threading.Event()

    def work(cancel: CancelToken) -> int:
        began.set()
        try:
            cancel.wait(30)
        finally:
            ended.set()
        return 1

    background: Background[int] = Background("test", brought.append)
    background.ask(work)
    assert began.wait(30)
    background.cancel()
    assert ended.wait(30)
    background.ask(lambda _: 2)
    wait_until(lambda: bool(brought), "the next outcome")
    assert brought == [2]


def test_every_failure_arrives_as_one_of_our_errors(wait_until: Wait) -> None:
    brought: list[Any] = []
    background: Background[int] = Background("test", brought.append)

    def failing(error: BaseException) -> Callable[[CancelToken], int]:
        def work(_: CancelToken) -> int:
            raise error

        return work

    for error in (NotFoundError("gone"), PermissionError(13, "no"), ValueError("odd\x1b[31m")):
        known = len(brought)
        background.ask(failing(error))
        wait_until(lambda known=known: len(brought) > known, "the error")
    assert all(isinstance(each, DsmanagerError) for each in brought)
    assert brought[0].message == "gone"
    assert "\x1b" not in brought[2].message


def test_an_end_of_the_program_meanwhile_is_no_error(wait_until: Wait) -> None:
    tried = threading.Event()

    def deliver(_: object) -> None:
        tried.set()
        raise RuntimeError("Event loop is closed")

    Background("test", deliver).ask(lambda _: 1)
    assert tried.wait(30)
