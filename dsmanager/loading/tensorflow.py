"""Splits as ``tf.data`` datasets, for training scripts that want TensorFlow.

The only module that imports TensorFlow; it opens nothing that has not been checked.
"""

from __future__ import annotations

from typing import Any

from dsmanager.errors import DsmanagerError
from dsmanager.loading.numpy import require_split

__all__ = ["require_tensorflow", "tensorflow_split"]


def tensorflow_split(builder: Any, split: str) -> Any:
    """``tf.data.Dataset`` of a split string. Raises as ``numpy_split`` does."""
    require_split(builder.info, split)
    return builder.as_dataset(split=split)


def require_tensorflow() -> None:
    """Raises DsmanagerError, with the command that installs it, where TensorFlow is missing."""
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise DsmanagerError(
            'framework="tf" needs TensorFlow, which is not installed',
            hint="use framework=\"numpy\", or: pip install 'dsmanager[tf]'",
        ) from error
