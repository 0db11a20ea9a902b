"""Tar shards to records: reading, grouping, examples, parts, shards, and the whole conversion."""
