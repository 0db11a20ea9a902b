"""Every parser takes any bytes: they are accepted and mean one thing, or refused with our error.

The properties are those of the fuzz targets; here they meet the committed corpus, arbitrary bytes,
scripts of changes, and damaged versions of what is in the corpus.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmanager.errors import CredentialsError, UsageError, VerificationError
from dsmanager.manifest import read_manifest

CORPUS = Path(__file__).with_name("corpus")
PARSERS = sorted(path.name for path in CORPUS.iterdir())
MOST_CORPUS_BYTES = 200_000
Parser = Callable[[str], ModuleType]


def test_there_is_a_corpus_for_every_parser_and_it_is_small(parser: Parser) -> None:
    from fuzz.targets import NAMES

    assert sorted(NAMES) == PARSERS
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) < MOST_CORPUS_BYTES
    for name in NAMES:
        for seed, content in parser(name).seeds():
            written = (CORPUS / name / seed).read_bytes()
            assert written == content, f"write it again: fuzz/make_corpus.py ({name}/{seed})"


@pytest.mark.parametrize("name", PARSERS)
def test_the_corpus_is_accepted_or_refused_with_our_error(name: str, parser: Parser) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert files
    for path in files:
        parser(name).run(path.read_bytes())


@st.composite
def _damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A file of the corpus with a few bytes changed, put in, taken out, or the rest cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "insert", "remove", "cut", "repeat"]))
        if kind == "change":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        elif kind == "remove":
            del data[at : at + draw(st.integers(1, 600))]
        elif kind == "cut":
            del data[at:]
        else:
            data[at:at] = data[at : at + 512]
    return bytes(data)


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_are_accepted_or_refused_with_our_error(name: str, parser: Parser) -> None:
    run = parser(name).run
    seeds = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    scripts = st.binary(max_size=40).map(lambda tail: b"\xff" + tail)
    arbitrary = st.binary(max_size=600) | scripts | _damaged(seeds)

    @settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
    @given(arbitrary)
    def check(data: bytes) -> None:
        run(data)

    check()


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "name", ["manifest", "sidecar", "features", "dataset_info", "credentials", "conversion_index"]
)
def test_any_json_in_any_place_is_accepted_or_refused_with_our_error(
    name: str, parser: Parser
) -> None:
    target = parser(name)
    whole = json.loads(
        (
            CORPUS
            / name
            / ("ours" if name == "manifest" else "whole" if name != "features" else "new")
        ).read_bytes()
    )

    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        places = list(_places(whole))
        path = data.draw(st.sampled_from(places))
        changed = _with(whole, path, data.draw(_json_values))
        target.run(json.dumps(changed).encode())

    check()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    return [path, *(found for key in keys for found in _places(value[key], (*path, key)))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(value[path[0]], path[1:], new)
    return copied


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_a_manifest_of_any_bytes_is_read_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "datasets.json"
    path.write_bytes(content)
    with suppress(UsageError):
        read_manifest(path)


def test_what_features_accepts_makes_tfds_import_nothing_else(
    parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFDS itself reads what passed; a module that is named in it lies ready to be imported."""
    from tensorflow_datasets.core.features.feature import FeatureConnector

    from dsmanager.loading import check_features
    from fuzz.structure import json_text

    (tmp_path / "evil_module.py").write_text("class Feature: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    target, outcomes = parser("features"), []

    @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=3, max_size=20).map(lambda tail: b"\xfe" + tail))
    def check(script: bytes) -> None:
        value = json.loads(json_text(script, (target.NEW, target.OLD), target.WORDS))
        try:
            check_features(value)
        except VerificationError:
            outcomes.append("refused")
            return
        outcomes.append("accepted")
        with suppress(Exception):  # it may not like it; it may not import it either
            FeatureConnector.from_json(value)
        assert "evil_module" not in sys.modules

    check()
    assert {"accepted", "refused"} <= set(outcomes)


# --- what fuzzing found, each with its own name ------------------------------------------------


def test_a_sidecar_that_could_not_be_written_again_is_refused(parser: Parser) -> None:
    """A download keeps a sidecar by writing it: half a character or infinity would end that."""
    from dsmanager.archives.sidecar import Sidecar

    for name in ("surrogate-license", "infinity", "deep-compression"):
        with pytest.raises(VerificationError):
            Sidecar.from_bytes((CORPUS / "sidecar" / name).read_bytes(), "a.tar.gz.json")


def test_a_shape_of_endless_numbers_is_refused_at_once() -> None:
    """Multiplying them first would take hours."""
    from dsmanager.loading import check_features

    tensor = {"shape": {"dimensions": ["9" * 4000] * 4000}, "dtype": "int64", "optional": True}
    name = "tensorflow_datasets.core.features.tensor_feature.Tensor"
    with pytest.raises(VerificationError, match="optional tensor"):
        check_features({"pythonClassName": name, "tensor": tensor})


@pytest.mark.parametrize("size", [float("inf"), float("nan"), "x", [], {}])
def test_an_odd_size_of_a_shape_is_refused(size: Any) -> None:
    from dsmanager.loading import check_features

    tensor = {"shape": {"dimensions": ["1", size]}, "dtype": "int64", "optional": True}
    name = "tensorflow_datasets.core.features.tensor_feature.Tensor"
    with pytest.raises(VerificationError, match="shape"):
        check_features({"pythonClassName": name, "tensor": tensor})


def test_a_deep_value_where_a_feature_belongs_is_shown_in_short() -> None:
    from dsmanager.loading import check_features

    value: Any = []
    for _ in range(100_000):
        value = [value]
    name = "tensorflow_datasets.core.features.sequence_feature.Sequence"
    with pytest.raises(VerificationError) as raised:
        check_features({"pythonClassName": name, "sequence": {"feature": value}})
    assert len(raised.value.message) < 400


@pytest.mark.parametrize(
    "text", ['{"schema": 2, "datasets": {"%s": 1}}', '{"%s": 1}', '{"%s": {}}']
)
def test_a_name_of_a_megabyte_in_a_manifest_is_shown_in_short(text: str) -> None:
    from dsmanager.manifest import parse_manifest

    with pytest.raises(UsageError) as raised:
        parse_manifest(text % ("x" * (1 << 20)), Path("datasets.json"))
    assert len(raised.value.message) < 1000


@pytest.mark.parametrize(
    "split",
    [
        {"name": "x" * 2_000_000},
        {"filepathTemplate": "{SPLIT}" * 300_000},
        {"filepathTemplate": "{SPLIT}" * 30, "name": "x" * 200},
        {"shardLengths": "9" * 1_000_000},
    ],
    ids=["name", "template", "both", "shards"],
)
def test_shard_names_do_not_multiply(split: dict[str, Any], tmp_path: Path) -> None:
    """A name of megabytes times a million shards: a small file would ask for all memory."""
    from dsmanager.built import BuiltDataset
    from dsmanager.refs import Ref

    whole = {"name": "train", "shardLengths": "9" * 100_000, **split}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "d", "splits": [whole]}))
    (tmp_path / "features.json").write_text("{}")
    problems = list(BuiltDataset(Ref("d", None, "1.0.0"), tmp_path).problems())
    assert len(problems) == 1
    assert "splits that cannot be read" in problems[0]


def test_a_split_name_cannot_break_a_line(parser: Parser) -> None:
    parser("dataset_info").run((CORPUS / "dataset_info" / "line-feed-in-a-name").read_bytes())


def test_a_null_character_in_a_builders_folder_is_a_usage_error(tmp_path: Path) -> None:
    from dsmanager.settings import Settings

    (tmp_path / "config.toml").write_bytes((CORPUS / "settings" / "null-in-builders").read_bytes())
    environment = {"DSMANAGER_CONFIG": str(tmp_path / "config.toml")}
    with pytest.raises(UsageError, match="builders"):
        Settings.load(environ=environment, working_dir=tmp_path)


@pytest.mark.parametrize("name", ["deep", "surrogate", "nulls"])
def test_odd_credentials_are_a_credentials_error(name: str) -> None:
    from dsmanager.remotes.client import _read_credentials_file
    from dsmanager.settings import RemoteConfig

    remote = RemoteConfig("x", "s3://bucket/x", credentials_file=CORPUS / "credentials" / name)
    with pytest.raises(CredentialsError):
        _read_credentials_file(remote)
