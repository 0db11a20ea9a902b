"""CRC-32C where google-crc32c's Python call does not reach."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import google_crc32c

__all__ = ["crc32c_at", "joined"]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, the lowest power in the highest bit
_MOST_LENGTH_BITS = 48


def crc32c_at(address: int, length: int) -> int:
    """Of bytes in memory, which may change later. Other threads run meanwhile."""
    crc: int = _function()(0, address, length)
    return crc


def joined(first: int, second: int, second_bytes: int) -> int:
    """CRC of two pieces one after the other, from the CRC of each and the second one's length.

    A byte of zeros behind the first multiplies its CRC, a polynomial over GF(2), by x**8; so many
    of them as the second is long make room for it (Mark Adler's ``crc32_combine`` in zlib).
    """
    for tables in _shifts():
        if not second_bytes:
            break
        if second_bytes & 1:
            first = _product(tables, first)
        second_bytes >>= 1
    return first ^ second


_Tables = tuple[list[int], ...]
"""A linear map of 32 bits: for each byte, lowest first, what each of its values adds."""


def _product(tables: _Tables, crc: int) -> int:
    lowest, low, high, highest = tables
    return lowest[crc & 0xFF] ^ low[crc >> 8 & 0xFF] ^ high[crc >> 16 & 0xFF] ^ highest[crc >> 24]


@functools.cache
def _shifts() -> list[_Tables]:
    """What 1, 2, 4, 8 ... bytes of zeros do to a CRC."""
    columns = []
    for bit in range(32):
        crc = 1 << bit
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        columns.append(crc)
    shifts = []
    for _ in range(_MOST_LENGTH_BITS):
        tables = tuple(_sums(columns[start : start + 8]) for start in (0, 8, 16, 24))
        shifts.append(tables)
        columns = [_product(tables, column) for column in columns]
    return shifts


def _sums(columns: list[int]) -> list[int]:
    """For each byte the sum of the columns of its bits."""
    sums = [0]
    for column in columns:
        sums += [each ^ column for each in sums]
    return sums


@functools.cache
def _function() -> Callable[[int, int, int], int]:
    """The function within google-crc32c, whose own Python call holds the interpreter's lock.

    Where it cannot be found a copy of the bytes is handed to that one.
    """
    try:
        from google_crc32c import _crc32c as extension

        function = ctypes.CDLL(extension.__file__).crc32c_extend
    except (AttributeError, ImportError, OSError):
        return lambda crc, address, length: google_crc32c.extend(
            crc, ctypes.string_at(address, length)
        )
    function.argtypes = [ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = ctypes.c_uint32
    found: Callable[[int, int, int], int] = function
    return found
