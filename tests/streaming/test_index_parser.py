"""An index of any bytes is one that can be used, or one clear error."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsmanager.archives.record_index import open_index
from dsmanager.errors import VerificationError

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def index_of(described: Any, offsets: bytes) -> bytes:
    line = json.dumps(described).encode()
    return line + b" " * (-(len(line) + 1) % 8) + b"\n" + offsets


@st.composite
def indexes(draw: st.DrawFn) -> bytes:
    """Right ones, and others in which one thing is not as it should be."""
    counts = draw(st.lists(st.integers(0, 5), max_size=3))
    offsets = draw(st.binary(min_size=8 * (sum(counts) + len(counts)), max_size=200))
    described: dict[str, Any] = {
        "schema": 1,
        "archive": "a.tar",
        "sha256": "0" * 64,
        "offsets_sha256": hashlib.sha256(offsets).hexdigest(),
        "shards": [{"path": f"m{n}", "records": count} for n, count in enumerate(counts)],
    }
    for key in draw(st.lists(st.sampled_from(sorted(described)), max_size=1)):
        described[key] = draw(anything)
    for shard in draw(st.lists(st.sampled_from([0]), max_size=1)):
        if isinstance(described["shards"], list) and described["shards"]:
            described["shards"][shard] = draw(
                anything | st.fixed_dictionaries({"path": anything, "records": anything})
            )
    return index_of(described, offsets)


@given(st.binary(max_size=100) | indexes() | anything.map(lambda value: index_of(value, b"")))
def test_any_bytes_are_an_index_or_one_clear_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.index")
        path.write_bytes(content)
        try:
            index = open_index(path)
        except VerificationError:
            return
        lengths = [len(index.offsets(member) or ()) for member in index.members]
        assert 8 * sum(lengths) == len(content) - content.index(b"\n") - 1
