"""What happens to the arguments before they are parsed.

Global options may stand before and after the verb; they are moved before it, where the parser
expects them. Armory's spellings become ours.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["normalised", "to_freeze"]

_FLAGS = {"--json", "-q", "--quiet", "-v", "--verbose", "--no-progress", "--read-only", "--detach"}
_FLAGS |= {"--version"}
_KEPT_BY_JOBS = {"-v", "--verbose", "--read-only"}
_OF_ARMORY = {"-lcs": "--path", "--register_checksums": "--register-checksums"}
_WITH_VALUE = {"--data-dir", "-o", "--remote", "--manifest"}


def normalised(arguments: Sequence[str]) -> list[str]:
    """The same request with global options first and Armory's spellings translated."""
    first, rest = _split(_from_armory(list(arguments)))
    return first + rest


def to_freeze(arguments: Sequence[str], verb: str) -> list[str]:
    """What a job of ``verb`` is asked to do: without the places and how to show it."""
    first, rest = _split(_from_armory(list(arguments)))
    kept = [each for each in first if each in _KEPT_BY_JOBS]
    return kept + rest[rest.index(verb) + 1 :]


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Global options, with their values, and the others."""
    first: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            rest += arguments[index:]
            break
        takes_value = argument in _WITH_VALUE
        if takes_value and index + 1 == len(arguments):
            return [argument], []  # before a verb it would take that for its value
        if takes_value:
            first += arguments[index : index + 2]
        elif argument in _FLAGS or argument.partition("=")[0] in _WITH_VALUE:
            first.append(argument)
        else:
            rest.append(argument)
        index += 2 if takes_value else 1
    return first, rest


def _from_armory(arguments: list[str]) -> list[str]:
    """``build -ds a b``, ``-ds all``, ``-lcs PATH`` and ``--list``, as Armory had them."""
    if "build" not in arguments:
        return arguments
    if "--list" in arguments:
        kept = [each for each in arguments if each not in ("build", "--list")]
        return ["list", "--available", *kept]
    if "-ds" in arguments:
        place = arguments.index("-ds")
        everything = arguments[place + 1 : place + 2] == ["all"]
        arguments = [
            *arguments[:place],
            *(["--all"] if everything else []),
            *arguments[place + 1 + everything :],
        ]
    return [_OF_ARMORY.get(each, each) for each in arguments if each != "-ds"]
