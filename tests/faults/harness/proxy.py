"""A proxy in front of a real S3 server that does on request what networks and servers do unasked.

    with FaultProxy(server.endpoint_url) as proxy:
        proxy.inject(Fault.DROP_ANSWER, match="GET", after_bytes=5_000, times=1)
        …                                    # talk to proxy.url
        proxy.bytes_to_client, proxy.requests

Requests are passed on as they came, the Host header included, so that their signatures hold. It
knows no S3 beyond the shape of its error answers.
"""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from harness.conversation import BrokenError, Conversation, linger_no_more
from harness.faults import ALWAYS, Fault, Request, Rule
from harness.wire import Head, Wire

_POLL_S = 0.05


class FaultProxy:
    """Listens on loopback. Counters and :meth:`inject` may be used from any thread."""

    def __init__(self, upstream_url: str, *, credentials_file: Path | None = None) -> None:
        """``credentials_file`` (access_key, secret_key) is only needed to ignore ranges."""
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._credentials_file = credentials_file
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._rules: list[Rule] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self.requests: list[Request] = []
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        self._listen()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def kinds(self) -> Counter[str]:
        """How many requests of each method passed."""
        return Counter(request.line.partition(" ")[0] for request in list(self.requests))

    @property
    def distant_url(self) -> str:
        """The same place, spelt so that nobody takes it for loopback: bodies are signed."""
        return f"http://127.1:{self._port}"

    def inject(
        self,
        fault: Fault,
        *,
        match: str = "",
        skip: int = 0,
        times: int = ALWAYS,
        after_bytes: int | None = None,
        status: int = 503,
        bytes_per_s: int = 1 << 20,
        action: Callable[[], object] | None = None,
    ) -> Rule:
        """Does ``fault`` to the next ``times`` requests that ``match``, after ``skip`` of them.

        ``match`` is a regular expression searched in ``METHOD /path?query`` and, where there is
        one, `` bytes=first-last``. ``Rule.used`` tells how often it struck.
        """
        rule = Rule(fault, re.compile(match), skip, times, after_bytes, status, bytes_per_s, action)
        with self._lock:
            self._rules.append(rule)
        if fault is Fault.REFUSE:
            self._refuse()
            rule.used = 1
        return rule

    def clear(self) -> None:
        """From here on everything passes."""
        with self._lock:
            self._rules.clear()
        if self._listener is None:
            self._listen()

    def reset_counters(self) -> None:
        with self._lock:
            self.requests, self.bytes_to_server, self.bytes_to_client = [], 0, 0

    def close(self) -> None:
        self._stopped.set()
        self._refuse()
        for thread in self._threads:
            thread.join(5)

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _refuse(self) -> None:
        """Stops listening and ends every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:  # its own thread closes it
            linger_no_more(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, BrokenError, ValueError):
                Conversation(self, Wire(connection)).run()
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def connect(self) -> Wire:
        upstream = socket.create_connection(self._upstream, timeout=120)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(upstream)

    def take(self, line: str) -> Rule | None:
        """The rule that befalls this request, if one does."""
        with self._lock:
            for rule in self._rules:
                if rule.left and rule.match.search(line):
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.left -= 1
                    rule.used += 1
                    return rule
        return None

    def count(self, request: Request, *, to_server: int = 0, to_client: int = 0) -> None:
        with self._lock:
            request.sent_bytes += to_server
            request.received_bytes += to_client
            self.bytes_to_server += to_server
            self.bytes_to_client += to_client

    def wait_for_end_of(self, connection: socket.socket) -> None:
        """Until the client gives up or the proxy is closed."""
        while not self._stopped.is_set():
            readable, _, _ = select.select([connection], [], [], _POLL_S)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return

    def signed(self, head: Head) -> Head:
        """The request of ``head`` without its range, signed afresh."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        if self._credentials_file is None:
            raise ValueError("to ignore ranges the proxy needs credentials")
        pair = json.loads(self._credentials_file.read_bytes())
        host = head.headers["host"]
        request = AWSRequest("GET", f"http://{host}{head.target}", {"Host": host})
        request.context["payload_signing_enabled"] = True
        credentials = Credentials(pair["access_key"], pair["secret_key"])
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        return Head(head.first, tuple(f"{k}: {v}" for k, v in request.headers.items()))
