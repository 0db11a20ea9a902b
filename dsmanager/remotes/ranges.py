"""Ranges of one object that stays the one that it was: each names the ETag it had at the start.

For readers that live long: pickled, inherited by a fork, used in several threads. Connections are
made when they are first needed, by each process for itself.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError
from dsmanager.remotes.client import Clients
from dsmanager.remotes.failures import http_status, not_s3, translate
from dsmanager.remotes.objects import ObjectChangedError, RemoteObject, bare_etag

if TYPE_CHECKING:
    from dsmanager.remotes.crew import Crew
    from dsmanager.settings import RemoteConfig

__all__ = ["ObjectRanges"]

_READ_BYTES = 1 << 20


class ObjectRanges:
    """Reads parts of ``obj``, in any order."""

    def __init__(self, config: RemoteConfig, obj: RemoteObject) -> None:
        self.config = config
        self.obj = obj
        self.url = config.url_of(obj.name)
        self._clients: dict[int, Clients] = {}
        """By process: connections must not be shared with a fork."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_clients": {}}

    def read(self, crew: Crew, start: int, stop: int) -> bytearray:
        """The bytes from ``start`` up to ``stop``, asked for again where that may help.

        Raises ObjectChangedError when the object was replaced, and errors as all of
        :mod:`dsmanager.remotes` does; all of them name it.
        """
        view = memoryview(bytearray(stop - start))
        filled = 0

        def attempt() -> None:
            nonlocal filled
            body = self._open(start + filled, stop)
            try:
                while filled < len(view):
                    crew.check()
                    count = int(body.readinto(view[filled : filled + _READ_BYTES]))
                    if not count:
                        raise ConnectionError("the answer ended early")
                    filled += count
            finally:
                body.close()

        try:
            crew.retried(attempt)
        except DsmanagerError:
            raise
        except Exception as error:
            crew.check()
            if http_status(error) in (412, 416):
                raise self._changed() from error
            raise translate(error, self.config, self.url) from error
        content = view.obj
        assert isinstance(content, bytearray)
        return content

    def _open(self, start: int, stop: int) -> Any:
        condition: dict[str, Any] = {"IfMatch": f'"{self.obj.etag}"'} if self.obj.etag else {}
        answer = self._client().get_object(
            Bucket=self.config.bucket,
            Key=self.config.key_of(self.obj.name),
            Range=f"bytes={start}-{stop - 1}",
            **condition,
        )
        body = answer["Body"]
        if self.obj.etag not in ("", bare_etag(answer.get("ETag"))):
            body.close()
            raise self._changed()
        # The status does not tell: rclone answers 200 to a range that it honours.
        if not answer.get("ContentRange", "").startswith(f"bytes {start}-{stop - 1}/"):
            body.close()
            if (start, stop) != (0, self.obj.size):
                raise not_s3(self.config)
        return body

    def _client(self) -> Any:
        clients = self._clients.get(os.getpid())
        if clients is None:
            made = Clients(self.config)
            clients = self._clients.setdefault(os.getpid(), made)
            if clients is made:
                weakref.finalize(self, made.close)
        return clients.download

    def _changed(self) -> ObjectChangedError:
        return ObjectChangedError(
            f"{self.url} was replaced while it was read",
            hint="load the dataset again; what was read until now is of the old object",
        )
