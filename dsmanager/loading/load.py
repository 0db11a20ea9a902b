"""The one entry to loading: a version folder in, ``(info, ds)`` out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.errors import UsageError
from dsmanager.loading.open import checked, open_builder

if TYPE_CHECKING:
    from dsmanager.loading.shards import ShardsElsewhere

__all__ = ["FRAMEWORKS", "load_directory"]

FRAMEWORKS = ("tf", "numpy")


def load_directory(
    version_dir: Path,
    *,
    split: str | None = None,
    framework: str = "tf",
    state_dir: Path | None = None,
    elsewhere: ShardsElsewhere | None = None,
) -> tuple[Any, Any]:
    """Opens ``<data_dir>/<name>[/<config>]/<version>`` as ``(info, ds)``.

    ``info`` is TFDS's DatasetInfo. ``ds`` is one dataset for a split string, a dict of them by
    split name without one: ``tf.data.Dataset`` for the framework "tf", ``NumpySplit`` for "numpy".
    The folder is checked first: complete, and nothing in it that would run code. ``state_dir``
    keeps the indexes of shards; without it they are in memory. Shards that are ``elsewhere`` are
    read there; TensorFlow cannot.

    Raises UsageError for an unknown framework or a split string that cannot be read, NotFoundError
    for a folder without a dataset or an unknown split, VerificationError for damaged or unsafe
    data, DsmanagerError when the framework is not installed or cannot decode a feature.
    """
    if framework not in FRAMEWORKS:
        raise UsageError(
            f"'{framework}' is no framework",
            hint=f'use one of {", ".join(FRAMEWORKS)}: dsmanager.load(REF, framework="numpy")',
        )
    built = checked(Path(version_dir), elsewhere.sizes if elsewhere else None)
    if framework == "tf":
        from dsmanager.loading.tensorflow import require_tensorflow

        require_tensorflow()
    builder = open_builder(built)

    def opened(name: str) -> Any:
        if framework == "tf":
            from dsmanager.loading.tensorflow import tensorflow_split

            return tensorflow_split(builder, name)
        from dsmanager.loading.numpy import numpy_split

        return numpy_split(
            builder.info,
            name,
            dataset=str(built.ref),
            state_dir=state_dir,
            elsewhere=elsewhere,
        )

    if split is not None:
        return builder.info, opened(split)
    return builder.info, {name: opened(name) for name in builder.info.splits}
