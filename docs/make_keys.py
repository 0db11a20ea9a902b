"""Writes the table of keys into docs/tui.md, from the table of actions; ``--print`` shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from dsmanager.screens.actions import ACTIONS, AREAS, key_words

_START, _END = "<!-- keys: made by make_keys.py -->", "<!-- end of keys -->"


def table() -> Iterator[str]:
    yield "| area | key | does | name in `[keys]` |"
    yield "|---|---|---|---|"
    for area in AREAS:
        for action in (each for each in ACTIONS if each.area == area):
            key = f"`{key_words(action.key)}`" if action.key else "palette"
            yield f"| {area} | {key} | **{action.verb}**: {action.help} | `{action.id}` |"


def main() -> None:
    page = Path(__file__).with_name("tui.md")
    before, _, rest = page.read_text("utf-8").partition(_START)
    after = rest.partition(_END)[2]
    text = "\n".join([before + _START, "", *table(), "", _END]) + after
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
