"""Builders that describe their examples as an Apache Beam pipeline: options, and no questions.

TFDS runs and writes the pipeline itself; what is replaced is where it gets its options from. Beam
is imported when a builder asks for its pipeline, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from dsmanager.errors import DsmanagerError, UsageError

__all__ = ["require_beam_options", "use_options"]

_MISSING = "the builder needs Apache Beam, which is not installed"
_INSTALL = "pip install 'dsmanager[beam]'"


def require_beam_options(options: Sequence[str]) -> None:
    """Raises UsageError for an option that is neither KEY=VALUE nor KEY."""
    for option in options:
        key = option.partition("=")[0]
        if not key.replace("_", "").replace("-", "").isalnum() or key.startswith("-"):
            raise UsageError(
                f"{option!r} is no option of a Beam pipeline",
                hint="without dashes in front: --beam-option runner=DirectRunner",
            )


def use_options(options: Sequence[str], max_examples: int | None) -> None:
    """Pipelines of this process get ``options``, as ``--KEY=VALUE``.

    A build that has no pipeline to give them to raises UsageError; so does one with a pipeline for
    a number of examples, which TFDS cannot give it.
    """
    from tensorflow_datasets.core import split_builder

    cls = split_builder.SplitBuilder
    original = cls.beam_pipeline.func

    def beam_pipeline(self: Any) -> Any:
        try:
            from apache_beam.options.pipeline_options import PipelineOptions
        except ModuleNotFoundError as error:
            raise DsmanagerError(_MISSING, hint=_INSTALL) from error
        if max_examples is not None:
            raise UsageError(
                "a Beam pipeline makes all examples of a split",
                hint="leave out --max-examples",
            )
        self._beam_options = PipelineOptions(flags=[f"--{option}" for option in options])
        return original(self)

    def without_pipeline(self: Any, *arguments: Any, **named: Any) -> Any:
        raise UsageError(
            "the builder uses no Beam, and has no use for its options",
            hint="leave out --beam-option",
        )

    replacement = cached_property(beam_pipeline)
    replacement.__set_name__(cls, "beam_pipeline")
    cls.beam_pipeline = replacement
    if options:
        cls._build_from_generator = without_pipeline
