"""What happens to the arguments before they are parsed.

Global options may stand before and after the verb; they are moved before it, where the parser
expects them. Armory's spellings become ours.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["normalised"]

_FLAGS = {"--json", "-q", "--quiet", "-v", "--verbose", "--no-progress", "--read-only", "--version"}
_WITH_VALUE = {"--data-dir", "-o", "--remote", "--manifest"}


def normalised(arguments: Sequence[str]) -> list[str]:
    """The same request with global options first and Armory's spellings translated."""
    return _hoisted(_from_armory(list(arguments)))


def _hoisted(arguments: list[str]) -> list[str]:
    first: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            rest += arguments[index:]
            break
        takes_value = argument in _WITH_VALUE and index + 1 < len(arguments)
        if takes_value:
            first += arguments[index : index + 2]
        elif argument in _FLAGS or argument.partition("=")[0] in _WITH_VALUE:
            first.append(argument)
        else:
            rest.append(argument)
        index += 2 if takes_value else 1
    return first + rest


def _from_armory(arguments: list[str]) -> list[str]:
    """``build -ds a b``, ``build -lcs PATH`` and ``build --list``, as Armory had them."""
    if "build" not in arguments:
        return arguments
    if "--list" in arguments:
        kept = [each for each in arguments if each not in ("build", "--list")]
        return ["list", "--available", *kept]
    return ["--path" if each == "-lcs" else each for each in arguments if each != "-ds"]
