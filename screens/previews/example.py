"""One example as lines: what people would rather look at first, then every value by name."""

from __future__ import annotations

from collections.abc import Iterator

from dsmanager.errors import DsmanagerError
from dsmanager.screens.previews.image import draw_image, thumbnail
from dsmanager.screens.previews.lines import Line, line, pair, wrapped
from dsmanager.screens.previews.reading import Example, Value
from dsmanager.screens.previews.text import draw_text, long_text
from dsmanager.screens.previews.waveform import can_draw_waveform, draw_waveform, samples_of

__all__ = ["example_lines"]

_MOST_PICTURES = 3
_FEWEST_ROWS = 4
_WAVEFORM_ROWS = 8
_OTHER_ROWS = 6
"""Rows that pictures leave to the other values."""


def example_lines(example: Example, width: int, height: int, *, in_colour: bool) -> list[Line]:
    """Folded to ``width`` columns; pictures are fitted into ``height`` rows, of
    which the first has half.

    A value that cannot be drawn says why in its place. Without colours images are not drawn, and
    the example says so.
    """
    pictures = sorted(filter(_is_picture, example.values), key=_is_secondary)[:_MOST_PICTURES]
    room = height - _OTHER_ROWS - len(pictures)
    lines: list[Line] = []
    for number, value in enumerate(pictures):
        share = 1 if len(pictures) == 1 else 2 if not number else 2 * (len(pictures) - 1)
        lines.append(line(f"{value.leaf.key}  {value.shown}", "name"))
        lines += _drawn(value, width, max(_FEWEST_ROWS, room // share), in_colour=in_colour)
    drawn = {value.leaf.key for value in pictures}
    for value in example.values:
        if value.leaf.key not in drawn:
            lines += _told(value, width)
    return lines


def _is_picture(value: Value) -> bool:
    return _is_image(value) or can_draw_waveform(value.leaf, value.raw)


def _is_secondary(value: Value) -> bool:
    """Depth maps and masks come after the photograph."""
    return _is_image(value) and (value.leaf.kind, value.leaf.dtype) != ("Image", "uint8")


def _is_image(value: Value) -> bool:
    raw = value.raw
    if value.leaf.kind not in ("Image", "LabeledImage") or value.leaf.rank > 1:
        return False
    return raw is not None and raw.kind == "bytes" and bool(raw.chunks)


def _drawn(value: Value, width: int, rows: int, *, in_colour: bool) -> list[Line]:
    leaf, raw = value.leaf, value.raw
    assert raw is not None
    try:
        if not _is_image(value):
            samples = samples_of(leaf, raw)
            return draw_waveform(samples, width, min(rows, _WAVEFORM_ROWS), leaf.rate_hz)
        if not in_colour:
            return [line("this terminal shows too few colours to draw it", "muted")]
        drawn = draw_image(thumbnail(bytes(raw.chunks[0]), leaf, width, rows))
        more = f"the first of {raw.count:,} images" if raw.count > 1 else ""
        return [*drawn, *([line(more, "muted")] if more else [])]
    except DsmanagerError as error:
        return list(wrapped(error.message, width, "bad"))


def _told(value: Value, width: int) -> Iterator[Line]:
    text = long_text(value.leaf, value.raw)
    if text is None:
        yield from pair(value.leaf.key, value.shown or "(empty)", width, name_width=18)
    else:
        yield line(value.leaf.key, "name")
        yield from draw_text(text, width)
