"""Names of datasets read from the text of builder files: nothing is imported, nothing runs.

The layouts: ``x/x_dataset_builder.py`` with class ``Builder``, ``x/x.py``, a plain ``x.py``, and a
folder of any of these, once more divided into ``standard`` and ``adversarial`` or not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from dsmanager.errors import UsageError, os_errors

__all__ = ["BUILDER_SUFFIX", "builder_file", "builders_in", "name_of_file", "snake_case"]

BUILDER_SUFFIX = "_dataset_builder"
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_GROUPS = ("standard", "adversarial")
_CAPITALIZED = re.compile(r"(.)([A-Z][a-z0-9]+)")
_CAPITALS = re.compile(r"([a-z0-9])([A-Z])")


def snake_case(class_name: str) -> str:
    """The dataset's name that TFDS gives to a class: ``GermanTrafficSign``, german_traffic_sign."""
    return _CAPITALS.sub(r"\1_\2", _CAPITALIZED.sub(r"\1_\2", class_name)).lower()


def builders_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of every builder in ``folder``, sorted by name; broken files are skipped."""
    found = dict(_candidates(folder))
    yield from sorted(found.items())


def _candidates(folder: Path) -> Iterator[tuple[str, Path]]:
    own = builder_file(folder)
    if own is not None:
        yield _stem(own), own
        return
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for child in children:
        if child.name.startswith((".", "__")):
            continue
        if child.is_dir():
            own = builder_file(child)
            if own is not None:
                yield _stem(own), own
            elif child.name in _GROUPS:
                yield from _candidates(child)
        elif child.suffix == ".py" and _defines_its_name(child):
            yield _stem(child), child


def builder_file(folder: Path) -> Path | None:
    """The builder's file where ``folder`` is one dataset's own; TFDS's newer form comes first."""
    for stem in (f"{folder.name}{BUILDER_SUFFIX}", folder.name):
        if (folder / f"{stem}.py").is_file():
            return folder / f"{stem}.py"
    others = sorted(folder.glob(f"*{BUILDER_SUFFIX}.py"))
    return others[0] if len(others) == 1 else None


def name_of_file(path: Path) -> str:
    """The dataset's name that a builder file declares.

    Raises UsageError for a file that is not Python, or that does not define the class that its
    name promises.
    """
    name = _stem(path)
    declared = _declared(path)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{path}: a builder's file is named in snake_case, as its dataset is",
            hint="rename the file, or make one to start from: dsmanager new NAME",
        )
    if name not in declared:
        said = ", ".join(sorted(declared)) or "no class with a base"
        raise UsageError(
            f"{path} should define the builder of {name!r}, and defines {said}",
            hint=f"name its class {_camel(name)} (or Builder in {name}{BUILDER_SUFFIX}.py)",
        )
    return name


def _stem(path: Path) -> str:
    return path.stem.removesuffix(BUILDER_SUFFIX)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _defines_its_name(path: Path) -> bool:
    try:
        return _stem(path) in _declared(path)
    except UsageError:
        return False


def _declared(path: Path) -> set[str]:
    """Dataset names of the top-level classes of a file that have a base."""
    with os_errors("read the builder"):
        source = path.read_bytes()
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            f"{path}{line}: this is no valid Python: {reason}",
            hint=f"see where: python -m py_compile '{path}'",
        ) from error
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    return {_class_name(node, path) for node in classes}


def _class_name(node: ast.ClassDef, path: Path) -> str:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(name))):
                return name
    if node.name == "Builder":
        return _stem(path) if path.stem.endswith(BUILDER_SUFFIX) else path.parent.name
    return snake_case(node.name)
