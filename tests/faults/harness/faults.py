"""What networks and servers do unasked: the faults, whom they befall, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

ALWAYS = 1 << 30


class Fault(Enum):
    """One kind of harm. ``after_bytes`` counts bytes of a body; the default is half of it."""

    REFUSE = "nobody listens on the port"
    RESET = "the connection is reset before an answer"
    DROP_REQUEST = "the connection breaks while the request is sent"
    DROP_ANSWER = "the connection breaks while the answer is sent"
    LOSE_ANSWER = "the server did it, and its answer is lost"
    TRUNCATE = "the answer ends early, with the right Content-Length"
    CUT_CHUNK = "the answer comes in chunks and ends inside one"
    STALL_REQUEST = "the request is taken and never answered"
    STALL_ANSWER = "the answer stops half-way and the connection stays open"
    FLIP_REQUEST = "one bit of what is sent arrives changed"
    FLIP_ANSWER = "one bit of what is received arrives changed"
    IGNORE_RANGE = "a request for a range is answered with the whole object and 200"
    STATUS = "the server refuses with an S3 error"
    SLOW = "everything passes slowly"
    DUPLICATE = "the request reaches the server twice"
    OTHER_ETAG = "the answer names another ETag"
    CHANGE = "something happens on the server before the request arrives"
    GARBAGE = "the answer is no HTTP"
    WEB_PAGE = "a web page answers 200 in place of the server"


@dataclass
class Rule:
    """A fault, the requests that it befalls, and how many of them are left."""

    fault: Fault
    match: re.Pattern[str]
    skip: int
    left: int
    after_bytes: int | None
    status: int
    bytes_per_s: int
    action: Callable[[], object] | None
    used: int = 0


@dataclass
class Request:
    """One request that passed; ``line`` is method and target, with the range where one was named.

    Bytes are those of bodies: what the server got, and what the client got.
    """

    line: str
    fault: Fault | None
    sent_bytes: int = 0
    received_bytes: int = 0
    status: int = 0
