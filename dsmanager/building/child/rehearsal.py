"""The child's third verb, ``check``: what is wrong with a builder, as far as running it tells.

Each stage needs the one before: import, names and versions, features, and a trial: a build of a
few examples, from the sources that are here. Nothing is fetched, and nothing is written outside
the stage. Runs TFDS and builder code.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import tensorflow_datasets as tfds

from dsmanager.building import forks
from dsmanager.building.child import construction, generate, loader, seams
from dsmanager.building.child.checks import decode_first
from dsmanager.building.child.stand_ins import Sources
from dsmanager.building.writing import pending
from dsmanager.catalog.findings import Finding, Severity
from dsmanager.catalog.rules import definition_lines
from dsmanager.errors import DsmanagerError
from dsmanager.parallel.failures import described
from dsmanager.progress import Progress
from dsmanager.refs import Ref

__all__ = ["EXAMPLES", "check"]

EXAMPLES = 3
"""Of each split, in a trial."""
_FAILED = "the builder failed"


class _Stop(Exception):  # noqa: N818 - no error: what comes next needs what is missing
    """A finding that ends the rehearsal; it is written down already."""


def check(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Findings, and how many examples of each split of each config a trial made."""
    seams.install(progress)
    rehearsal = _Rehearsal(request, progress)
    with suppress(_Stop):
        rehearsal.run()
    return {
        "findings": [finding.as_json() for finding in rehearsal.findings],
        "tried": rehearsal.tried,
    }


class _Rehearsal:
    def __init__(self, request: dict[str, Any], progress: Progress) -> None:
        self.findings: list[Finding] = []
        self.tried: dict[str, dict[str, int]] = {}
        self._request = request
        self._progress = progress
        self._file = Path(request["file"])
        self._lines = definition_lines(self._file)

    def run(self) -> None:
        cls = self._imported()
        builders = [builder for builder in self._constructed(cls) if self._is_sound(builder)]
        self._read_checksums(cls)
        pending.use_threads(1)
        for builder in builders:
            self._try(builder)

    def _imported(self) -> Any:
        """The one class of the file; whatever is wrong with it is a finding."""
        request = self._request
        try:
            with forks.one_process():
                classes = loader.concrete_classes(request["origin"], request["name"], self._file)
        except DsmanagerError as error:
            self._fail("one-builder", error)
        except BaseException as error:
            self._fail("import", error)
        if len(classes) != 1:
            said = ", ".join(cls.__name__ for cls in classes) or "none"
            text = f"a file defines one concrete builder class, and this one defines {said}"
            self._add("error", "one-builder", text)
            raise _Stop
        if classes[0].name != request["name"]:
            text = f"the class builds {classes[0].name!r}, but the file says {request['name']!r}"
            self._add("error", "name", text)
            raise _Stop
        return classes[0]

    def _constructed(self, cls: Any) -> Iterator[Any]:
        """A builder of each config; what TFDS refuses to make is a finding."""
        configs = [config.name for config in cls.BUILDER_CONFIGS]
        for twice in sorted({name for name in configs if configs.count(name) > 1}):
            self._add("error", "config", f"two configs are named {twice!r}", at="BUILDER_CONFIGS")
        for name in dict.fromkeys(configs) or [None]:
            if name is None and not cls.VERSION:
                hint = 'write VERSION = tfds.core.Version("1.0.0")'
                self._add("error", "version", "the builder has no VERSION", hint=hint)
                continue
            try:
                builder = construction.make(cls, name, self._request["stage"])
            except BaseException as error:
                self._add_failure("construct", error, at="BUILDER_CONFIGS" if name else "_info")
                continue
            yield builder

    def _is_sound(self, builder: Any) -> bool:
        """Names, versions and features of one config."""
        before = len(self._errors)
        version, config = str(builder.version), builder.builder_config_name
        if not Ref(builder.name, config, version).is_proper:
            text = f"{config!r} cannot be a config's name: letters, digits and _ . + , = - / only"
            self._add("error", "config", text, at="BUILDER_CONFIGS")
        if version not in {str(each) for each in builder.release_notes or ()}:
            text = f"RELEASE_NOTES say nothing of version {version}"
            hint = f'write RELEASE_NOTES = {{"{version}": "What is new."}}'
            self._add("error", "release-notes", text, at="RELEASE_NOTES", hint=hint)
        try:
            generate.check_features(builder)
        except BaseException as error:
            self._add_failure("features", error, at="_info")
            return False
        return not any(each.rule == "config" for each in self._errors[before:])

    def _read_checksums(self, cls: Any) -> None:
        try:
            cls.url_infos  # noqa: B018 - it reads and keeps them
        except BaseException as error:
            self._fail("checksums", error, at="_split_generators")

    def _try(self, builder: Any) -> None:
        """Builds a few examples. Without the sources only the URLs are looked at."""
        if isinstance(builder, tfds.core.BeamBasedBuilder):
            self._add(
                "note",
                "trial",
                "not tried: it is made by Apache Beam, which a trial does not start",
            )
            return
        sources = Sources(builder, self._request, self._progress)
        try:
            self._build(builder, sources)
        except BaseException as error:
            if sources.absent:
                self._note_absent(sources, error)
            elif sources.used_manual_dir and isinstance(error, FileNotFoundError):
                self._add("note", "trial", f"not tried: {error}", at="_split_generators")
            else:
                self._add_failure("trial", error, at="_split_generators")
        self._judge_urls(builder, sources)

    def _build(self, builder: Any, sources: Sources) -> None:
        builder._make_download_manager = sources.manager
        if isinstance(builder, tfds.core.ShardBasedBuilder):
            _shorten_shards(builder)
        forks.guard(builder)
        generate.forget_accesses(builder.info)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                try_download_gcs=False, max_examples_per_split=EXAMPLES
            ),
            file_format="tfrecord",
        )
        generate.require_examples(builder.info.splits)
        decode_first(Path(builder.data_dir), builder.info, self._progress)
        self.tried[builder.builder_config_name or ""] = {
            name: split.num_examples for name, split in builder.info.splits.items()
        }

    def _judge_urls(self, builder: Any, sources: Sources) -> None:
        known = builder.url_infos or {}
        for url in sources.urls:
            if url not in known:
                hint = "have it written: dsmanager build --path PATH --register-checksums"
                text = f"{url} has no line in checksums.tsv"
                self._add("error", "checksums", text, at="_split_generators", hint=hint)

    def _note_absent(self, sources: Sources, error: BaseException) -> None:
        what = ", ".join(sources.absent[:2])
        more = f" and {len(sources.absent) - 2} more" if len(sources.absent) > 2 else ""
        text = f"not tried: its sources are not here ({what}{more})"
        if sources.dummy_data is not None:
            why = described(error, _FAILED)["message"].removeprefix(f"{_FAILED}: ")
            text += f", and dummy_data does not do instead: {why}"
        hint = "name the folder that has them: dsmanager check PATH --manual-dir FOLDER"
        self._add("note", "trial", text, at="_split_generators", hint=hint)

    @property
    def _errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    def _fail(self, rule: str, error: BaseException, at: str = "") -> NoReturn:
        self._add_failure(rule, error, at=at)
        raise _Stop from error

    def _add_failure(self, rule: str, error: BaseException, at: str) -> None:
        """What code raised, at the last line of the builder's own folder that it went through."""
        traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            raise error
        about = described(error, _FAILED)
        text = about["message"].removeprefix(f"{_FAILED}: ").removeprefix(f"{self._file}: ")
        file, line = self._place(error)
        self._add("error", rule, text, at=at, file=file, line=line, hint=about["hint"])

    def _place(self, error: BaseException) -> tuple[Path | None, int | None]:
        own = self._file.parent
        if isinstance(error, SyntaxError) and error.filename:
            path = Path(error.filename)
            return (path, error.lineno) if path.is_relative_to(own) else (None, None)
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).is_relative_to(own):
                return Path(frame.filename), frame.lineno
        return None, None

    def _add(
        self,
        severity: Severity,
        rule: str,
        text: str,
        *,
        at: str = "",
        file: Path | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        if file is None:
            line = self._lines.get(at) or self._lines.get("")
        finding = Finding(severity, rule, text, file or self._file, line, hint)
        if finding not in self.findings:  # of another config
            self.findings.append(finding)


def _shorten_shards(builder: Any) -> None:
    """TFDS's limit of examples does not reach builders that make their own shards."""
    whole = builder._shard_iterators_per_split

    def first_ones(dl_manager: Any) -> dict[str, list[Any]]:
        return {
            split: [_first(shard) for shard in islice(shards, 2)]
            for split, shards in whole(dl_manager).items()
        }

    builder._shard_iterators_per_split = first_ones


def _first(shard: Any) -> Any:
    return lambda: islice(shard(), EXAMPLES)
