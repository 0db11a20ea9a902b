"""``check``: the rules of one builder, read from its text here and tried in its own process.

What the text breaks already is not told again in the words of whatever fails because of it. Never
imports a builder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsmanager.building.process import run_child
from dsmanager.building.run import scratch_folder
from dsmanager.catalog.find import BuilderSource, source_of_file
from dsmanager.catalog.findings import Finding
from dsmanager.catalog.rules import findings_in_text
from dsmanager.errors import CancelledError, DsmanagerError, NoSpaceError
from dsmanager.progress import CancelToken, Progress

__all__ = ["CheckResult", "check"]

_ENDS_IT = {"python", "name"}
"""What breaks one of these rules cannot be imported under its name."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found, errors first."""

    name: str
    file: Path
    findings: tuple[Finding, ...]
    tried: Mapping[str, Mapping[str, int]]
    """Examples that the trial made, by config ("" without) and split."""
    log: Path

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.severity == "error")


def check(
    file: Path,
    *,
    folders: Sequence[Path] = (),
    download_dir: Path,
    manual_dir: Path | None = None,
    log_path: Path,
    progress: Progress,
    cancel: CancelToken,
) -> CheckResult:
    """Every rule of docs/builders.md on the builder in ``file``; nothing is fetched or left behind.

    ``folders`` are the user's own, whose names must not clash. Kept downloads and the manual folder
    are what a trial of a few examples is made from. Raises CancelledError, and NoSpaceError where
    not even that fits; whatever the builder does is a finding.
    """
    source = source_of_file(file)
    found = findings_in_text(file, folders)
    tried: Mapping[str, Mapping[str, int]] = {}
    if not any(each.severity == "error" and each.rule in _ENDS_IT for each in found):
        with scratch_folder(log_path) as folder:
            request = {
                "verb": "check",
                "origin": source.origin,
                "name": source.name,
                "file": str(source.file),
                "stage": str(folder),
                "download_dir": str(download_dir.absolute()),
                "manual_dir": str(manual_dir.absolute()) if manual_dir is not None else None,
            }
            try:
                result = run_child(
                    request, scratch=folder, log_path=log_path, progress=progress, cancel=cancel
                )
            except (CancelledError, NoSpaceError):
                raise
            except DsmanagerError as error:  # its process died
                died = Finding("error", "trial", error.message, file, hint=error.hint)
                result = {"findings": [died.as_json()], "tried": {}}
        found += _more(found, [Finding.of_json(each) for each in result["findings"]])
        tried = result["tried"]
    found = [_as_named(each, source, file) for each in found]
    order = ("error", "warning", "note")
    found.sort(key=lambda each: order.index(each.severity))
    return CheckResult(source.name, file, tuple(found), tried, log_path)


def _as_named(finding: Finding, source: BuilderSource, named: Path) -> Finding:
    """With the path that the user wrote, where the catalogue knows the file by another."""
    file = named if finding.file == source.file else finding.file
    return replace(finding, file=file, hint=finding.hint and source.reached_in(finding.hint))


def _more(known: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """Those of ``found`` that are no consequence of what is known: same rule, or same line."""
    errors = [each for each in known if each.severity == "error"]
    rules = {each.rule for each in errors}
    lines = {(each.file, each.line) for each in errors if each.rule != "clash"}
    return [
        each for each in found if each.rule not in rules and (each.file, each.line) not in lines
    ]
