"""Imports a builder's class, in the child process, under a module name that tells no place.

``dataset_info.json`` records the module: a catalogue builder has its real one, a user's has
``user_builders.<name>.<file stem>`` wherever its file lies. Relative imports and sibling modules
work. This module must never run in the process that a user talks to.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from pathlib import Path
from typing import Any

from dsmanager.catalog.find import CATALOGUE
from dsmanager.errors import UsageError

__all__ = ["CODE", "concrete_classes", "load_class"]

_PACKAGE = "user_builders"
CODE = CATALOGUE.parents[1]
"""The folder in which the package lies."""


def load_class(origin: str, name: str, file: Path | None) -> Any:
    """The one concrete builder class of a source; whatever its code raises passes through.

    Raises UsageError when there is none, more than one, or one of another name.
    """
    from tensorflow_datasets.core import registered

    if origin == "tfds" or file is None:
        return registered.imported_builder_cls(name)
    cls = _only_class(concrete_classes(origin, name, file), file)
    if cls.name != name:
        raise UsageError(
            f"{file}: the class {cls.__name__} builds {cls.name!r}, but the file says {name!r}",
            hint="give file and class the same name, then: dsmanager build --path FILE",
        )
    return cls


def concrete_classes(origin: str, name: str, file: Path) -> list[Any]:
    """The builder classes that a file defines and that are not abstract, ready to be used.

    Raises UsageError, which names what they lack, when all are abstract.
    """
    from etils import epath
    from tensorflow_datasets.core import registered

    name_of_module = _catalogue_module(file) if origin == "catalogue" else _user_module(name, file)
    with registered.skip_registration():
        module = importlib.import_module(name_of_module)
    classes = registered._MODULE_TO_DATASETS.get(name_of_module, [])
    concrete = [cls for cls in classes if not inspect.isabstract(cls)]
    for cls in concrete:
        # TFDS would look for checksums.tsv and README.md beside the top package instead.
        cls.pkg_dir_path = epath.Path(file.parent)
        cls.code_path = epath.Path(file)
    if not concrete:
        _refuse_abstract_ones(file, module)
    return concrete


def _refuse_abstract_ones(file: Path, module: types.ModuleType) -> None:
    from tensorflow_datasets.core import dataset_builder

    for cls in vars(module).values():
        is_builder = inspect.isclass(cls) and issubclass(cls, dataset_builder.DatasetBuilder)
        if is_builder and cls.__module__ == module.__name__ and inspect.isabstract(cls):
            lacks = ", ".join(sorted(cls.__abstractmethods__))
            raise UsageError(
                f"{file}: the class {cls.__name__} is not concrete: it lacks {lacks}",
                hint="see which methods a builder has in docs/builders.md, or: dsmanager new NAME",
            )


def _only_class(concrete: list[Any], file: Path) -> Any:
    if len(concrete) == 1:
        return concrete[0]
    found = ", ".join(cls.__name__ for cls in concrete) or "none"
    raise UsageError(
        f"{file} must define exactly one concrete builder class, and defines {found}",
        hint="a class with _info, _split_generators and _generate_examples; see docs/builders.md",
    )


def _catalogue_module(file: Path) -> str:
    return ".".join(file.relative_to(CODE).with_suffix("").parts)


def _user_module(name: str, file: Path) -> str:
    """Makes the packages around a user's file known and returns the module's full name."""
    folder = file.parent
    package_name = f"{_PACKAGE}.{name}"
    init = folder / "__init__.py"
    has_own_folder = folder.name == name and init.is_file()
    top = types.ModuleType(_PACKAGE)
    # for ``from ..common import …``, where the folder lies in a package; which itself is not run
    is_inner = has_own_folder and (folder.parent / "__init__.py").is_file()
    top.__path__ = [str(folder.parent)] if is_inner else []
    sys.modules[_PACKAGE] = top
    if has_own_folder:
        spec = importlib.util.spec_from_file_location(
            package_name, init, submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[package_name] = package
        spec.loader.exec_module(package)
    else:
        package = types.ModuleType(package_name)
        package.__path__ = [str(folder)]
        sys.modules[package_name] = package
    if folder.name == name and importlib.util.find_spec(name) is None:
        sys.modules[name] = package  # for ``from x.helpers import …`` within the folder x
    # for ``import helpers`` beside the builder, and its package by name; last, to hide nothing
    sys.path += map(str, dict.fromkeys([folder, _outside_of_package(folder)]))
    return f"{package_name}.{file.stem}"


def _outside_of_package(folder: Path) -> Path:
    """The folder from which the outermost package around a builder is imported."""
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
