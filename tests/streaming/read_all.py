"""Reads all examples of a pickled split in a shuffled order; a process of its own.

``read_all.py PICKLE SEED [forever]`` prints a line after the first batch, and the sha256 of all
records in the order of the split at the end.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
from pathlib import Path


def main(split_file: str, seed: str, *options: str) -> None:
    split = pickle.loads(Path(split_file).read_bytes())
    order = list(range(len(split)))
    random.Random(seed).shuffle(order)
    while True:
        found = {}
        for first in range(0, len(order), 10):
            batch = order[first : first + 10]
            found |= zip(batch, split.read(batch), strict=True)
            print("batch", flush=True)
        if "forever" not in options:
            break
    digest = hashlib.sha256()
    for index in range(len(split)):
        digest.update(found[index])
    print(digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
