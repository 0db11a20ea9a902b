"""What TFDS's own builders use of TensorFlow to read files, on plain Python.

Most of them open their sources with ``tf.io.gfile`` and name dtypes as TensorFlow does; TFDS itself
asks TensorFlow for a dtype to write a sequence of sequences. On local paths these functions do the
same; paths with a scheme such as ``gs://``, and every other part of TensorFlow, still go to
TensorFlow when they are used. The names are TensorFlow's.
"""

from __future__ import annotations

import glob as globbing
import os
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

__all__ = ["stand_ins"]


def stand_ins(tensorflow: Any) -> dict[str, Any]:
    """Attributes to put in front of ``tensorflow``, which is only touched for all the rest."""
    numbers = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    numbers += ["float16", "float32", "float64"]
    dtypes = {name: np.dtype(name).type for name in numbers}
    dtypes |= {"bool": np.bool_, "string": np.object_}
    return dtypes | {
        "compat": _Part(tensorflow, "compat", _Compat),
        "dtypes": _Part(tensorflow, "dtypes", SimpleNamespace(as_dtype=_as_dtype, **dtypes)),
        "io": _Part(tensorflow, "io", SimpleNamespace(gfile=_GFile(tensorflow))),
    }


def _as_dtype(dtype: Any) -> Any:
    from tensorflow_datasets.core.utils import dtype_utils

    return np.dtype(dtype_utils.cast_to_numpy(dtype))


class _Part:
    """A module of TensorFlow of which some names are answered here."""

    def __init__(self, tensorflow: Any, name: str, ours: Any) -> None:
        self._tensorflow, self._name, self._ours = tensorflow, name, ours

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._ours, name):
            return getattr(self._ours, name)
        return getattr(getattr(self._tensorflow._module, self._name), name)


class _Compat:
    @staticmethod
    def as_text(value: str | bytes, encoding: str = "utf-8") -> str:
        return value.decode(encoding) if isinstance(value, bytes) else value

    as_str = as_str_any = as_text

    @staticmethod
    def as_bytes(value: str | bytes, encoding: str = "utf-8") -> bytes:
        return value.encode(encoding) if isinstance(value, str) else value


class _GFile:
    """``tf.io.gfile``: each function looks at its first path."""

    def __init__(self, tensorflow: Any) -> None:
        self._tensorflow = tensorflow

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        local = getattr(_Local, name, None)

        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            first = path[0] if isinstance(path, (list, tuple)) and path else path
            if local is None or "://" in os.fsdecode(first):
                return getattr(self._tensorflow._module.io.gfile, name)(path, *args, **kwargs)
            return local(path, *args, **kwargs)

        return call


class _Local:
    @staticmethod
    def GFile(name: Any, mode: str = "r") -> IO[Any]:  # noqa: N802 - TensorFlow's name
        if "b" in mode:
            return open(name, mode)
        return open(name, mode, encoding="utf-8", newline="\n")  # lines keep what they end in

    Open = GFile

    @staticmethod
    def exists(path: Any) -> bool:
        return os.path.exists(path)

    @staticmethod
    def isdir(path: Any) -> bool:
        return os.path.isdir(path)

    @staticmethod
    def listdir(path: Any) -> list[str]:
        return sorted(os.listdir(os.fsdecode(path)))

    @staticmethod
    def glob(pattern: Any) -> list[str]:
        patterns = pattern if isinstance(pattern, (list, tuple)) else [pattern]
        return [path for each in patterns for path in sorted(globbing.glob(os.fsdecode(each)))]

    @staticmethod
    def walk(top: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, folders, files in os.walk(os.fsdecode(top)):
            folders.sort()
            yield folder, folders, sorted(files)

    @staticmethod
    def makedirs(path: Any) -> None:
        os.makedirs(path, exist_ok=True)

    @staticmethod
    def mkdir(path: Any) -> None:
        os.makedirs(path, exist_ok=True)

    @staticmethod
    def copy(src: Any, dst: Any, overwrite: bool = False) -> None:
        if not overwrite and os.path.exists(dst):
            raise FileExistsError(f"{os.fsdecode(dst)} exists")
        shutil.copyfile(src, dst)

    @staticmethod
    def rename(src: Any, dst: Any, overwrite: bool = False) -> None:
        if not overwrite and os.path.exists(dst):
            raise FileExistsError(f"{os.fsdecode(dst)} exists")
        os.replace(src, dst)

    @staticmethod
    def remove(path: Any) -> None:
        os.remove(path)

    @staticmethod
    def rmtree(path: Any) -> None:
        shutil.rmtree(path)
