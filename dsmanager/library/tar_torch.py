"""Tar shards for loaders of PyTorch, which hands its own modules in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["torch_dataset"]


def torch_dataset(
    torch_data: Any, pairs_of_part: Callable[[int, int], Iterator[Any]], *, as_tensors: bool
) -> Any:
    """An IterableDataset over pairs; each worker of a loader takes tars of its own.

    ``pairs_of_part(part, parts)`` gives those of one of so many parts; with ``as_tensors`` they are
    arrays of an image and a label, and become tensors.
    """

    class TarIterable(torch_data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            worker = torch_data.get_worker_info()
            part, parts = (0, 1) if worker is None else (worker.id, worker.num_workers)
            pairs = pairs_of_part(part, parts)
            return map(_as_tensors, pairs) if as_tensors else pairs

    return TarIterable()


def _as_tensors(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    import torch

    image, label = pair
    return torch.from_numpy(image.transpose(2, 0, 1).copy()), int(label)
