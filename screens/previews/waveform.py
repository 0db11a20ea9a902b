"""Audio as a waveform: for each column how low and how high the samples go, in Braille dots.

Owns the way from the stored numbers to dots. Two columns and four rows of dots make one cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsmanager.loading.schema import Leaf
from dsmanager.records.example import RawFeature
from dsmanager.screens.previews.lines import Line, Piece, line

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["can_draw_waveform", "draw_waveform", "samples_of"]

_BRAILLE = 0x2800
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The dots of a cell from top to bottom, left column first (Unicode 2800 to 28FF)."""


def can_draw_waveform(leaf: Leaf, raw: RawFeature | None) -> bool:
    """Audio that is stored as numbers; a file that is decoded when it is read stays bytes."""
    is_one = leaf.kind == "Audio" and not leaf.rank and not leaf.packed
    return is_one and raw is not None and raw.kind in ("int", "float") and len(leaf.shape) <= 2


def samples_of(leaf: Leaf, raw: RawFeature) -> Samples:
    """Samples, or samples by channels, as stored. Raises VerificationError for other shapes."""
    import numpy as np

    from dsmanager.loading.arrays import Field

    values = Field(leaf.key, np.dtype(leaf.dtype or "int64"), leaf.shape).read({leaf.key: raw})
    return np.asarray(values, np.float64)


def draw_waveform(samples: Samples, columns: int, rows: int, rate_hz: int | None) -> list[Line]:
    """The waveform, all channels on top of each other, and a line that says what it is."""
    import numpy as np

    channels = samples.shape[1] if samples.ndim == 2 else 1
    count = len(samples)
    if not count:
        return [line("no samples", "muted")]
    clean = np.nan_to_num(samples.reshape(count, channels))
    low, high = _envelope(clean.min(axis=1), clean.max(axis=1), 2 * columns)
    peak = float(max(abs(low.min()), abs(high.max())))
    said = f"{count:,} samples" + (f" of {channels} channels" if channels > 1 else "")
    if rate_hz:
        said = f"{count / rate_hz:.2f} s at {rate_hz:,} Hz, {said}"
    return [*_dots(low, high, peak or 1.0, rows), line(f"{said}, peak {peak:g}", "muted")]


def _envelope(low: Samples, high: Samples, columns: int) -> tuple[Samples, Samples]:
    """Lowest and highest value for each column of dots; of few samples each has its own."""
    import numpy as np

    columns = min(columns, len(low))
    starts = np.arange(columns) * len(low) // columns
    return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)


def _dots(low: Samples, high: Samples, peak: float, rows: int) -> list[Line]:
    import numpy as np

    dots = 4 * rows
    top = np.rint((1 - high / peak) / 2 * (dots - 1)).astype(int)
    bottom = np.rint((1 - low / peak) / 2 * (dots - 1)).astype(int)
    level = np.arange(dots)[:, None]
    lit = (level >= top) & (level <= bottom)
    if lit.shape[1] % 2:
        lit = np.pad(lit, ((0, 0), (0, 1)))
    lines: list[Line] = []
    for row in range(rows):
        codes = np.full(lit.shape[1] // 2, _BRAILLE)
        for side, bits in enumerate(_BITS):
            for dot, bit in enumerate(bits):
                codes += lit[4 * row + dot, side::2] * bit
        lines.append((Piece("".join(map(chr, codes)), "bar"),))
    return lines
