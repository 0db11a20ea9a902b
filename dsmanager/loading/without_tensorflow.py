"""Lets TFDS describe audio and video features without importing TensorFlow.

Owns the few replacements inside TFDS 4.9.10 that this takes. ``features.Audio`` and
``features.Video`` ask TensorFlow for a dtype when they are made and again when they are written to
``features.json``, and audio that is stored as it is also when it is encoded, though NumPy's says
the same. With :func:`install` they ask NumPy, whether TensorFlow is there or not; whatever really
computes with TensorFlow still gets the real one, at the moment when it is used. This module must
never put anything named ``tensorflow`` in ``sys.modules``.
"""

from __future__ import annotations

import threading
from typing import Any, BinaryIO

__all__ = ["install"]

_lock = threading.Lock()


def install() -> None:
    """Makes the replacements; more calls change nothing. Imports TFDS, never TensorFlow."""
    import numpy as np
    from tensorflow_datasets.core.features import audio_feature, video_feature

    with _lock:
        if isinstance(video_feature.tf, _TensorFlow):
            return
        decoder = audio_feature._AudioDecoder
        decoder.__init__ = _init_audio_decoder
        decoder._dtype = property(_audio_decoder_dtype)
        audio_feature._LazyDecoder.encode_audio = _store_audio
        audio_feature.Audio.to_json_content = _audio_to_proto
        video_feature.Video.to_json_content = _video_to_proto
        audio_feature.tf = _TensorFlow(audio_feature.tf, string=np.object_)
        video_feature.tf = _TensorFlow(video_feature.tf, dtypes=_Dtypes)


class _TensorFlow:
    """Stands where a module of TFDS expects TensorFlow: has some names, the rest on demand."""

    def __init__(self, real: Any, **ours: Any) -> None:
        self._real = real
        self.__dict__ |= ours

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Dtypes:
    @staticmethod
    def as_dtype(dtype: Any) -> Any:
        import numpy as np
        from tensorflow_datasets.core.utils import dtype_utils

        return np.dtype(dtype_utils.cast_to_numpy(dtype))


def _init_audio_decoder(self: Any, file_format: str | None, np_dtype: Any, shape: Any) -> None:
    """As TFDS has it, but for ``_dtype``, which only decoding from a file format needs."""
    self._file_format = file_format
    self._np_dtype = np_dtype
    self._shape = shape
    self._channels = shape[1] if len(shape) > 1 else 1


def _audio_decoder_dtype(self: Any) -> Any:
    from tensorflow_datasets.core.features import audio_feature

    return audio_feature.tf.dtypes.as_dtype(self._np_dtype)


def _store_audio(self: Any, fobj: BinaryIO, file_format: str | None) -> Any:
    """Of audio that is decoded when it is read: the file as it is, an array of no dimension."""
    import numpy as np

    return np.array(fobj.read(), dtype=np.object_)


def _audio_to_proto(self: Any) -> Any:
    from tensorflow_datasets.core.features import feature as feature_lib
    from tensorflow_datasets.core.proto import feature_pb2

    return feature_pb2.AudioFeature(
        shape=feature_lib.to_shape_proto(self.shape),
        dtype=feature_lib.dtype_to_str(self.np_dtype),
        file_format=self._file_format,
        sample_rate=self._sample_rate,
        encoding=self._encoding.name,
        lazy_decode=self._lazy_decode,
    )


def _video_to_proto(self: Any) -> Any:
    from tensorflow_datasets.core.features import feature as feature_lib
    from tensorflow_datasets.core.proto import feature_pb2

    return feature_pb2.VideoFeature(
        shape=feature_lib.to_shape_proto(self.shape),
        dtype=feature_lib.dtype_to_str(self.np_dtype),
        encoding_format=self._encoding_format,
        use_colormap=self._use_colormap,
        ffmpeg_extra_args=self._extra_ffmpeg_args,
    )
