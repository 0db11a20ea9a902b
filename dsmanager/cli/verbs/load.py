"""``dsmanager load``: open a dataset with NumPy and print what is in it; the smoke test."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from dsmanager.built import DATASET_INFO
from dsmanager.cli.context import Context
from dsmanager.cli.running import run
from dsmanager.progress import CancelToken, Progress


def register(app: typer.Typer) -> None:
    app.command("load")(load)


def load(
    ctx: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            help="name[/config][:version]; newest without a version. Or a folder: ./OUT."
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="One split, such as train[:10%].")
    ] = None,
    take: Annotated[int, typer.Option("--take", min=0, help="Examples to print of a split.")] = 0,
) -> None:
    """Load a dataset, fetching it where it is not built here, and print split sizes."""
    from dsmanager.loading import load_directory

    context: Context = ctx.obj
    context.begin("load")

    def work(progress: Progress, cancel: CancelToken) -> list[dict[str, Any]]:
        folder = _folder(ref)
        if folder is not None:
            state_dir = context.library.settings.state_dir
            _, loaded = load_directory(folder, split=split, framework="numpy", state_dir=state_dir)
        else:
            _, loaded = context.library.load(
                ref,
                split=split,
                framework="numpy",
                fetch=not context.read_only,
                progress=progress,
                cancel=cancel,
            )
        splits = loaded if split is None else {split: loaded}
        rows = []
        for name, examples in splits.items():
            cancel.check()
            # One example is decoded even where none is printed: it is the proof that this loads.
            first = list(islice(examples, max(take, 1)))
            rows.append(
                {
                    "split": name,
                    "examples": len(examples),
                    "first": [_shown(each) for each in first[:take]],
                }
            )
        return rows

    for row in run(context, ref, work):
        lines = [f"{row['split']}: {row['examples']:,} examples"]
        for example in row["first"]:
            lines += ["", *(f"  {name}: {value}" for name, value in example.items())]
        context.output.row({"ref": ref, **row}, *lines)


def _folder(ref: str) -> Path | None:
    """The folder that is meant, by how it is written or by what is in it; None for a ref."""
    path = Path(ref).expanduser()
    is_written_so = ref.startswith(("/", "./", "../", "~"))
    return path if is_written_so or (path / DATASET_INFO).is_file() else None


def _shown(example: Any, prefix: str = "") -> dict[str, str]:
    """Each leaf of an example as short text."""
    leaves: dict[str, str] = {}
    for name, value in example.items():
        if isinstance(value, dict):
            leaves |= _shown(value, f"{prefix}{name}/")
        else:
            leaves[prefix + name] = _leaf(value)
    return leaves


def _leaf(value: Any) -> str:
    shape = getattr(value, "shape", ())
    if shape:
        return f"{value.dtype} {list(shape)}"
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
        return text if len(text) <= 80 else f"{text[:79]}…"
    return str(value)
