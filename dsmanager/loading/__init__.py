"""Opening built datasets: safety first, then TFDS, NumPy or TensorFlow.

Cheap to import: what is heavy loads at the first use of a name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsmanager.loading.load import FRAMEWORKS, load_directory
    from dsmanager.loading.numpy import NumpySplit
    from dsmanager.loading.open import open_info
    from dsmanager.loading.preview import preview_examples
    from dsmanager.loading.safety import check_dataset_info, check_features

__all__ = [
    "FRAMEWORKS",
    "NumpySplit",
    "check_dataset_info",
    "check_features",
    "load_directory",
    "open_info",
    "preview_examples",
]

_HOMES = {
    "FRAMEWORKS": "load",
    "NumpySplit": "numpy",
    "check_dataset_info": "safety",
    "check_features": "safety",
    "load_directory": "load",
    "open_info": "open",
    "preview_examples": "preview",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
