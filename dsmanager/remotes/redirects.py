"""Redirects within a cluster: a gateway answers 307 and names the node that has the object.

AIStore does so for every object. botocore is told the new address and sends the request again,
signed anew for it. The cluster of a remote is its configured endpoint and whatever that endpoint
redirects to: nobody else is sent a request, and none goes from https to http.
"""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urljoin, urlsplit

from dsmanager.remotes.failures import RedirectError

__all__ = ["Redirects"]

_MAX_HOPS = 3
_PAUSE_S = 0.2
_BEGAN, _HOPS, _AGAIN = "dsmanager_began", "dsmanager_hops", "dsmanager_again"

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Redirects:
    """Follows those of one endpoint, for the botocore clients of one remote."""

    def __init__(self, endpoint_url: str) -> None:
        self._gateway = _origin(endpoint_url)
        self._cluster = {self._gateway}

    def follow_for(self, client: Any, *, retries: bool) -> None:
        """With ``retries``, a node that fails costs one more try, which begins at the gateway.

        botocore counts a redirect as a try, and would have none left.
        """
        follow = functools.partial(self._follow, retries=retries)
        client.meta.events.register_first("needs-retry.s3", follow)

    def _follow(
        self, request_dict: dict[str, Any], response: Any, *, retries: bool = False, **_: object
    ) -> float | None:
        """A handler of botocore's event ``needs-retry``.

        Returns after how many seconds to send ``request_dict`` again, None to leave it at that.
        """
        context = request_dict["context"]
        answer = response[0] if response is not None else None
        location = answer.headers.get("location") if answer is not None else None
        if answer is None or answer.status_code != 307 or not location:
            # Whoever tries again asks the gateway: another node may have the object by now.
            was_redirected = context.pop(_HOPS, 0) > 0
            request_dict["url"] = context.pop(_BEGAN, request_dict["url"])
            failed = answer is None or answer.status_code >= 500
            if not retries or not failed or not was_redirected or context.get(_AGAIN):
                return None
            context[_AGAIN] = True
            return _PAUSE_S
        hops = context.get(_HOPS, 0) + 1
        if hops > _MAX_HOPS:
            raise RedirectError(f"more than {_MAX_HOPS} times")
        target = self._trusted(answer.url, location)
        context.setdefault(_BEGAN, request_dict["url"])
        context[_HOPS] = hops
        request_dict["url"] = target
        return 0

    def _trusted(self, source: str, location: str) -> str:
        """Where ``source`` redirects to. Raises RedirectError for what is not followed."""
        try:
            target = urljoin(source, location)
            there = _origin(target)
        except ValueError:
            raise RedirectError("to what is no address") from None
        here = _origin(source)
        name = f"{there[0]}://{there[1]}:{there[2]}"
        if here[0] == "https" != there[0]:
            raise RedirectError(f"from https to {name}")
        if here == self._gateway:
            self._cluster.add(there)
        elif there not in self._cluster:
            raise RedirectError(f"out of its cluster, to {name}")
        return target


def _origin(url: str) -> Origin:
    """Raises ValueError for a URL with userinfo, or not of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("no address of a server")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
