"""Text from outside (file names, keys, descriptions) made safe to show on a terminal."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain", "redact"]

_USERINFO = re.compile(r"(?<=://)[^/\s]*@")  # to the last @: a password may hold one
_SIGNATURE = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId"
    r"|(?<![A-Za-z])(?:sig|token|access_token|password)"
    r"|secret(?:_access)?_key)=)[^&\s\"']+",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """Replaces control, format and surrogate characters, so that no name can steer a terminal.

    Combining and wide characters stay as they are; a newline becomes a visible mark, too.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in _UNSAFE else letter
        for letter in text
    )


_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def redact(text: str) -> str:
    """Takes userinfo and request signatures out of URLs inside ``text``."""
    without = _USERINFO.sub("", text) if "://" in text else text
    return _SIGNATURE.sub(r"\1…", without) if "=" in without else without
