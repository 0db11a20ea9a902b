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

__all__ = [
    "BUILDER_SUFFIX",
    "NAME",
    "builder_file",
    "builders_in",
    "class_name",
    "classes_with_bases",
    "name_by_file",
    "name_of_file",
    "parse",
    "snake_case",
    "suspects_in",
]

BUILDER_SUFFIX = "_dataset_builder"
NAME = re.compile(r"[a-z_][a-z0-9_]*")
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
        yield name_by_file(own), own
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
                yield name_by_file(own), own
            elif child.name in _GROUPS:
                yield from _candidates(child)
        elif child.suffix == ".py" and _defines_its_name(child):
            yield name_by_file(child), child


def suspects_in(folder: Path) -> Iterator[Path]:
    """Every file of ``folder`` that is meant to be a builder, the broken ones as well."""
    own = builder_file(folder)
    if own is not None:
        yield own
        return
    with os_errors("read the folder"):
        children = sorted(folder.iterdir())
    for child in children:
        if child.name.startswith((".", "__")):
            continue
        if child.is_dir():
            own = builder_file(child)
            if own is not None:
                yield own
            elif child.name in _GROUPS:
                yield from suspects_in(child)
        elif child.suffix == ".py" and not child.stem.endswith("_test") and _is_meant(child):
            yield child


def _is_meant(path: Path) -> bool:
    """Whether a file beside others looks like a builder, or cannot be read as Python at all."""
    try:
        classes = classes_with_bases(parse(path))
    except UsageError:
        return True
    if name_by_file(path) in {class_name(node, path) for node in classes}:
        return True
    return any(
        ast.unparse(base).endswith("Builder") and not _is_a_base(node)
        for node in classes
        for base in node.bases
    )


def _is_a_base(node: ast.ClassDef) -> bool:
    """Whether a class says that builders are to be made from it, and that it is none itself."""
    marks = [keyword.arg for keyword in node.keywords]
    marks += [
        ast.unparse(mark).rpartition(".")[2]
        for each in node.body
        if isinstance(each, ast.FunctionDef)
        for mark in each.decorator_list
    ]
    return "skip_registration" in marks or "abstractmethod" in marks


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
    name = name_by_file(path)
    declared = _declared(path)
    if not NAME.fullmatch(name):
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


def name_by_file(path: Path) -> str:
    """The dataset's name that a builder's file promises by its own."""
    return path.stem.removesuffix(BUILDER_SUFFIX)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _defines_its_name(path: Path) -> bool:
    try:
        return name_by_file(path) in _declared(path)
    except UsageError:
        return False


def _declared(path: Path) -> set[str]:
    """Dataset names of the top-level classes of a file that have a base."""
    return {class_name(node, path) for node in classes_with_bases(parse(path))}


def parse(path: Path) -> ast.Module:
    """The syntax tree of a builder's file. Raises UsageError, with its line, for what is none."""
    with os_errors("read the builder"):
        source = path.read_bytes()
    try:
        return ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            f"{path}{line}: this is no valid Python: {reason}",
            hint=f"see where: python -m py_compile '{path}'",
        ) from error


def classes_with_bases(tree: ast.Module) -> list[ast.ClassDef]:
    """Those at the top level of a file: what could be a builder, and what helps one."""
    return [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]


def class_name(node: ast.ClassDef, path: Path) -> str:
    """The dataset's name that a class would have."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(name))):
                return name
    if node.name == "Builder":
        return name_by_file(path) if path.stem.endswith(BUILDER_SUFFIX) else path.parent.name
    return snake_case(node.name)
