"""The way of every example of a builder: encoded, serialized, spilled, here or beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dsmanager.building.writing.deferral import Deferral
from dsmanager.building.writing.encoder import make_encoder
from dsmanager.building.writing.pending import encode
from dsmanager.building.writing.record_maker import RecordMaker
from dsmanager.building.writing.records import Records
from dsmanager.building.writing.spill import Spill
from dsmanager.progress import Progress

__all__ = ["fill"]


def fill(
    spill: Spill,
    features: Any,
    split: str,
    examples: Iterable[Any],
    *,
    keep_order: bool,
    beside: bool,
    deferral: Deferral | None = None,
    maker: RecordMaker | None = None,
    progress: Progress,
) -> None:
    """Puts the examples of a split into ``spill``, and finishes it.

    Images are encoded in threads ``beside`` the generator, or not. With ``deferral`` those that are
    in files may be read later, and ``maker`` takes what it can of such examples. With
    ``keep_order`` the place of a record is its key, where that is a number, or else how many came
    before. Raises what TFDS's features refuse, with the key.
    """
    from tensorflow_datasets.core import utils

    encoder = make_encoder(features, deferral.image if deferral is not None else None)
    records = Records(features.get_serialized_info(), split, keep_order, spill, progress)
    number = -1
    for pair in examples:
        number += 1
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"a generator yields (key, example), not {type(pair).__name__}")
        key, example = pair
        try:
            if beside:
                encoded, pending = encode(encoder, example)
            else:
                encoded, pending = encoder(example), []
        except Exception as error:
            utils.reraise(error, prefix=f"Failed to encode the example {key!r}:\n")
        is_deferred = deferral is not None and deferral.end_example()
        place = number if keep_order and not isinstance(key, int) else key
        if pending:
            records.add_later(place, encoded, pending)
        elif not (is_deferred and maker is not None and maker.takes(place, encoded)):
            records.add(place, encoded)
        del pair, example, encoded  # the next one finds their memory free
    records.finish()
