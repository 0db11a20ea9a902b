"""The rules of a builder that its text alone can break: nothing of it is imported or run.

Rules: ``python`` (it can be parsed), ``name`` (file, folder and class agree, in snake_case, and
mean nothing else), ``version``, ``clash`` (nobody else has the name) and ``checksums`` (the lines
of ``checksums.tsv``). The others need the builder's process:
:mod:`dsmanager.building.child.rehearsal`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsmanager.catalog.find import CATALOGUE, every_builder
from dsmanager.catalog.findings import Finding
from dsmanager.catalog.scaffold import RESERVED
from dsmanager.catalog.scan import (
    BUILDER_SUFFIX,
    NAME,
    class_name,
    classes_with_bases,
    name_by_file,
    parse,
    suspects_in,
)
from dsmanager.errors import NotFoundError, UsageError
from dsmanager.refs import is_version
from dsmanager.text import plain

__all__ = ["definition_lines", "findings_in_text", "suspects_at"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def suspects_at(path: Path) -> tuple[Path, ...]:
    """The files that ``check PATH`` looks at: one, a dataset's own, or all of a folder.

    Raises NotFoundError when there is nothing to look at.
    """
    path = path.expanduser().absolute()
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise NotFoundError(
            f"{plain(str(path))} does not exist",
            hint="name a builder's file or folder, or make one: dsmanager new NAME",
        )
    files = tuple(suspects_in(path))
    if not files:
        raise NotFoundError(
            f"{plain(str(path))} holds no builder",
            hint="a builder's folder x has x_dataset_builder.py or x.py: dsmanager new x",
        )
    return files


def findings_in_text(file: Path, folders: Sequence[Path]) -> list[Finding]:
    """What is wrong with a builder as it is written; ``folders`` are those of the settings."""
    try:
        tree = parse(file)
    except UsageError as error:
        return [_not_python(file, error)]
    found = [*_names(file, tree), *_version(file, tree), *_checksums(file.parent)]
    return [*found, *_clashes(file, folders, _line(file, tree))]


def definition_lines(file: Path) -> dict[str, int]:
    """The line of the builder's class, under "", and of what its body defines, by name."""
    try:
        tree = parse(file)
    except UsageError:
        return {}
    cls = _builder_class(file, tree)
    if cls is None:
        return {}
    lines = {"": cls.lineno}
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            lines[node.name] = node.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            lines |= {each.id: node.lineno for each in targets if isinstance(each, ast.Name)}
    return lines


def _not_python(file: Path, error: UsageError) -> Finding:
    cause = error.__cause__
    line = cause.lineno if isinstance(cause, SyntaxError) else None
    reason = cause.msg if isinstance(cause, SyntaxError) else str(cause)
    return Finding(
        "error", "python", f"this is no valid Python: {reason}", file, line, hint=error.hint
    )


def _builder_class(file: Path, tree: ast.Module) -> ast.ClassDef | None:
    """The class that has the name of the file, else the only one with a base."""
    classes = classes_with_bases(tree)
    named = [node for node in classes if class_name(node, file) == name_by_file(file)]
    return next(iter(named or (classes if len(classes) == 1 else [])), None)


def _line(file: Path, tree: ast.Module) -> int | None:
    cls = _builder_class(file, tree)
    return cls.lineno if cls is not None else None


def _names(file: Path, tree: ast.Module) -> Iterator[Finding]:
    name, line = name_by_file(file), _line(file, tree)
    if not NAME.fullmatch(name):
        text = f"{file.name} is not in snake_case, as the name of its dataset has to be"
        yield Finding("error", "name", text, file, hint="rename the file and its class")
        return
    if name in RESERVED or name.endswith((BUILDER_SUFFIX, "_test")):
        text = f"{name!r} has another meaning, and cannot be the name of a dataset"
        yield Finding("error", "name", text, file, line, hint=f"call it, for example, my_{name}")
    folder = file.parent.name
    if file.stem.endswith(BUILDER_SUFFIX) and folder != name:
        text = f"{file.name} lies in the folder {folder!r}, which TFDS takes for the dataset's name"
        yield Finding("warning", "name", text, file, hint=f"name the folder {name}")
    declared = {class_name(node, file): node for node in classes_with_bases(tree)}
    if name in declared:
        return
    said = ", ".join(f"{node.name} ({made!r})" for made, node in declared.items())
    camel = "".join(part.capitalize() for part in name.split("_"))
    yield Finding(
        "error",
        "name",
        f"the file promises the builder of {name!r}, and defines {said or 'no class with a base'}",
        file,
        line,
        hint=f"name its class {camel} (or Builder in {name}{BUILDER_SUFFIX}.py)",
    )


def _version(file: Path, tree: ast.Module) -> Iterator[Finding]:
    """A version that stands there as text, where TFDS's own refusal would be less clear."""
    cls = _builder_class(file, tree)
    for node in ast.walk(cls) if cls is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id="VERSION")], value=value):
                pass
            case ast.keyword(arg="version", value=value):
                pass
            case _:
                continue
        match value:
            case ast.Call(args=[ast.Constant(value=str(text)), *_]) | ast.Constant(value=str(text)):
                if not is_version(text):
                    yield Finding(
                        "error",
                        "version",
                        f"{text!r} is no version of three numbers (semver), such as '1.0.0'",
                        file,
                        value.lineno,
                        hint='write VERSION = tfds.core.Version("1.0.0")',
                    )


def _clashes(file: Path, folders: Sequence[Path], line: int | None) -> Iterator[Finding]:
    """Who else has the name. A catalogue's builder may take the place of TFDS's of that name."""
    name, own = name_by_file(file), file.resolve()
    is_ours = own.is_relative_to(CATALOGUE.resolve())
    for source in every_builder(folders):
        if source.name != name or source.file is None or source.file.resolve() == own:
            continue
        if is_ours and source.origin == "tfds":
            continue
        whose = {"tfds": "TFDS", "catalogue": "the catalogue"}.get(source.origin, source.file)
        text = f"{whose} has a dataset named {name!r} already"
        yield Finding("error", "clash", text, file, line, hint="choose another name for yours")


def _checksums(folder: Path) -> Iterator[Finding]:
    path = folder / "checksums.tsv"
    if not path.is_file():
        return
    urls: set[str] = set()
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        problem = _problem_of_line(line.strip(), urls)
        if problem:
            yield Finding("error", "checksums", problem, path, number, hint=_CHECKSUMS_HINT)


_CHECKSUMS_HINT = "have it written: dsmanager build --path PATH --register-checksums"


def _problem_of_line(line: str, urls: set[str]) -> str | None:
    """``url, size, sha256[, file name]`` with tabs; older files have spaces and no file name."""
    values = line.split("\t")
    if len(values) == 1:
        values = line.rsplit(" ", 2)
    if len(values) not in (3, 4):
        return "a line holds URL, size, sha256 and file name, with tabs between them"
    url, size, digest = values[:3]
    if not size.isdecimal():
        return f"the size of {url} is no number: {size!r}"
    if not _SHA256.fullmatch(digest):
        return f"the sha256 of {url} has not 64 hexadecimal digits in lower case"
    if url in urls:
        return f"{url} has two lines"
    urls.add(url)
    return None
