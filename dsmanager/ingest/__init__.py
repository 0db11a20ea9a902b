"""Raw sources to records: what has the size of a source, and is not a builder's."""

__all__ = ["LONG_WORK_BYTES"]

LONG_WORK_BYTES = 64 << 20
"""From here on a second process is worth its start, and is not waited with."""
