"""Tar shards for loaders of PyTorch, which hands its own modules in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsmanager.library.tar_dataset import TarDataset

__all__ = ["torch_dataset"]


def torch_dataset(
    torch_data: Any, dataset: TarDataset, record_to_pair: Callable[[Any], Any] | None
) -> Any:
    """An IterableDataset over the pairs; each worker of a loader takes tars of its own."""

    class TarIterable(torch_data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            worker = torch_data.get_worker_info()
            part, parts = (0, 1) if worker is None else (worker.id, worker.num_workers)
            pairs = dataset.to_numpy(record_to_pair).part(part, parts)
            return pairs if record_to_pair is not None else map(_as_tensors, pairs)

    return TarIterable()


def _as_tensors(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    import torch

    image, label = pair
    return torch.from_numpy(image.transpose(2, 0, 1).copy()), int(label)
