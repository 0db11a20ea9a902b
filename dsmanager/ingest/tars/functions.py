"""A function of the user's: ``module:function``, ``path/to/file.py:function``, or an object.

It is the user's own code, named on the command line or given to the API, and runs as the user.
Modules are looked for in the folder where the command was given, then wherever Python looks. A
function that no other process can import, such as a lambda, is called in this one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import marshal
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from dsmanager.errors import UsageError
from dsmanager.text import plain

__all__ = ["call_request", "called", "fingerprint_of", "load_function"]

_calls: dict[str, Callable[..., Any]] = {}
"""Functions that only this process has, by the fingerprint of their code."""


def load_function(name: str, folder: str) -> Callable[..., Any]:
    """Raises UsageError when there is no such module or function, or it cannot be imported."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise _refused(name, "it is not of the form module:function")
    try:
        module = _module(where, folder)
    except Exception as error:
        raise _refused(name, f"{type(error).__name__}: {error}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise _refused(name, f"{where} has no function {attribute}")
    return function  # type: ignore[no-any-return]


def fingerprint_of(name: str, folder: str) -> str:
    """Changes when the file of the function does; what that file imports is not looked at."""
    function = load_function(name, folder)
    path = getattr(sys.modules.get(function.__module__), "__file__", None)
    content = Path(path).read_bytes() if path else b""
    return hashlib.sha256(content).hexdigest()


def call_request(function: Callable[..., Any], *, seeded: bool) -> dict[str, Any]:
    """What :func:`~dsmanager.ingest.tars.records.make_maker` takes, for a function object."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    found = getattr(sys.modules.get(module), name, None)
    if found is function and module not in ("", "__main__"):
        where = f"{module}:{name}"
        return {"kind": "function", "function": where, "folder": "", "seeded": seeded}
    call = _code_of(function)
    _calls[call] = function
    return {"kind": "call", "call": call, "seeded": seeded}


def called(call: str) -> Callable[..., Any]:
    """The function of a ``call_request`` of this process."""
    return _calls[call]


def _code_of(function: Callable[..., Any]) -> str:
    """Equal for equal code with equal values around it; where these cannot be told, never."""
    code = getattr(function, "__code__", None)
    if code is None:
        return secrets.token_hex(16)
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    values = repr([around, function.__defaults__])
    return hashlib.sha256(marshal.dumps(code) + values.encode()).hexdigest()


def _module(where: str, folder: str) -> ModuleType:
    if not where.endswith(".py"):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
        return importlib.import_module(where)
    path = Path(folder, where).absolute()
    identity = str(path).encode() + b"\0" + path.read_bytes()  # an edited file is another one
    name = f"dsmanager_record_{hashlib.sha256(identity).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _refused(name: str, problem: str) -> UsageError:
    return UsageError(
        f"the record function '{plain(name)}' cannot be used: {plain(problem)}",
        hint="for example, with records.py in this folder: "
        "dsmanager convert SRC OUT --record records:to_features",
    )
