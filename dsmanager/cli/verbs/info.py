"""``dsmanager info``: everything that is known of one dataset, without loading it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.errors import ExitCode


def register(app: typer.Typer) -> None:
    app.command("info")(info)


def info(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(help="name[/config][:version]; newest without a version.")],
    preview: Annotated[bool, typer.Option("--preview", help="Show the first examples.")] = False,
) -> None:
    """Show splits, features, sizes, files, checksums, licence and provenance."""
    from dsmanager.library.describing import describe

    context: Context = ctx.obj
    context.begin("info")
    facts = describe(context.library, ref, preview=3 if preview else 0)
    context.output.row(facts.to_json())
    for error in facts.errors:
        context.output.error(error)
    for line in _lines(facts.to_json()):
        context.output.data(line)
    context.exit_code = ExitCode.DONE  # what is here was shown; an unreachable remote is told


def _lines(facts: dict[str, Any]) -> list[str]:
    """The facts as indented lines; what is absent is left out."""
    lines = [f"{facts['ref']}  {facts['state']}"]
    if facts["problem"]:
        lines.append(f"  problem    {facts['problem']}")
    for place in ("built", "cached", "remote", "recorded"):
        if known := facts[place]:
            where = known.get("path") or known.get("url") or ""
            size = size_text(known.get("bytes", known.get("size")))
            lines.append(f"  {place:<10} {size:<10} {where}".rstrip())
            if known.get("sha256"):
                lines.append(f"{'':13}sha256 {known['sha256']}")
    for name, split in facts["splits"].items():
        shards = f"{split['shards']} shard{'s' if split['shards'] != 1 else ''}"
        lines.append(f"  split      {name}: {split['examples']:,} examples in {shards}")
    for name, kind in facts["features"].items():
        lines.append(f"  feature    {name}: {kind}")
    known_facts = ("license", "homepage", "builder_sha256", "tfds_version", "format")
    lines += [f"  {key:<10} {facts[key]}" for key in known_facts if facts[key]]
    lines += [
        f"  source     {source['url']}  {size_text(source.get('size'))}".rstrip()
        for source in facts["sources"]
    ]
    lines += [f"  file       {name}  {size_text(size)}" for name, size in facts["files"].items()]
    for text in (facts["description"], facts["citation"]):
        if text:
            lines += ["", *text.splitlines()]
    for example in facts["preview"]:
        lines.append("")
        lines += [f"  {name}: {_short(value)}" for name, value in example.items()]
    return lines


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:99] + "…"
