"""CRC-32C where google-crc32c's Python call does not reach."""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Callable

import google_crc32c

__all__ = ["crc32c", "crc32c_at", "joined"]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, the lowest power in the highest bit
_DIGIT_BITS = 4


_SHORT_BYTES = 8 << 10  # takes less time than letting other threads run


def crc32c(data: bytes) -> int:
    """Of bytes that do not change. Other threads run meanwhile, unless it takes no time."""
    if len(data) < _SHORT_BYTES:
        return int(google_crc32c.value(data))
    return _function()(0, data, len(data))


def crc32c_at(address: int, length: int) -> int:
    """Of bytes in memory, which may change later. Other threads run meanwhile."""
    crc: int = _function()(0, address, length)
    return crc


def joined(first: int, second: int, second_bytes: int) -> int:
    """CRC of two pieces one after the other, from the CRC of each and the second one's length.

    A byte of zeros behind the first multiplies its CRC, a polynomial over GF(2), by x**8; so many
    of them as the second is long make room for it (Mark Adler's ``crc32_combine`` in zlib).
    """
    place = 0
    while second_bytes:
        if digit := second_bytes & (1 << _DIGIT_BITS) - 1:
            first = _mapped(_zeros(place, digit), first)
        second_bytes >>= _DIGIT_BITS
        place += 1
    return first ^ second


_Map = tuple["array[int]", ...]
"""A linear map of 32 bits: for each byte, lowest first, what each of its values becomes."""


def _mapped(tables: _Map, crc: int) -> int:
    lowest, low, high, highest = tables
    return lowest[crc & 0xFF] ^ low[crc >> 8 & 0xFF] ^ high[crc >> 16 & 0xFF] ^ highest[crc >> 24]


@functools.cache
def _zeros(place: int, digit: int) -> _Map:
    """What ``digit * 16**place`` bytes of zeros do to a CRC."""
    if digit > 1:
        maps = [_zeros(place, digit - 1), _zeros(place, 1)]
    elif place:
        maps = [_zeros(place - 1, 1)] * (1 << _DIGIT_BITS)
    else:
        maps = [_zero_bit()] * 8
    columns = [
        functools.reduce(lambda crc, each: _mapped(each, crc), maps, 1 << bit) for bit in range(32)
    ]
    return _tables(columns)


def _zero_bit() -> _Map:
    return _tables([1 << bit >> 1 ^ (0 if bit else _POLYNOMIAL) for bit in range(32)])


def _tables(columns: list[int]) -> _Map:
    """The map that has these values for the 32 bits."""
    tables = []
    for start in range(0, 32, 8):
        sums = array("I", [0])
        for column in columns[start : start + 8]:
            sums.extend([each ^ column for each in sums])
        tables.append(sums)
    return tuple(tables)


@functools.cache
def _function() -> Callable[[int, int | bytes, int], int]:
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
    found: Callable[[int, int | bytes, int], int] = function
    return found
