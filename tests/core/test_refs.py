"""Refs: what parses prints the same, order is by number, and no file name crashes the parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import UsageError
from dsmanager.refs import (
    COMPRESSION_SUFFIXES,
    Ref,
    RefPattern,
    _of_subdir,
    is_version,
    parse_archive_name,
)

bounded = settings(deadline=None, max_examples=80)

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
segments = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+,=\-]{0,10}", fullmatch=True)
configs = st.none() | st.lists(segments, min_size=1, max_size=3).map("/".join)
numbers = st.integers(min_value=0, max_value=10**17)
versions = st.tuples(numbers, numbers, numbers).map(lambda parts: "{}.{}.{}".format(*parts))
refs = st.builds(Ref, names, configs, st.none() | versions)
# Names from which an archive name can be read back without guessing.
plain_words = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.\-]|_[A-Za-z0-9]){0,12}", fullmatch=True)
named = st.builds(Ref, plain_words, st.none() | plain_words, versions)


@bounded
@given(refs)
def test_every_ref_prints_what_it_parses_from(ref):
    assert Ref.parse(str(ref)) == ref
    assert ref.is_proper


@bounded
@given(st.text(max_size=40))
def test_any_text_is_a_ref_that_prints_the_same_or_a_usage_error(text):
    try:
        assert str(Ref.parse(text)) == text
    except UsageError as error:
        problem = error
    else:
        return
    assert problem.message.isprintable()
    assert problem.hint


@bounded
@given(st.text(alphabet="ab*?[]!/:1.\n\x1b", max_size=20), refs)
def test_any_text_is_a_pattern_or_a_usage_error(text, ref):
    try:
        pattern = RefPattern.parse(text)
    except UsageError:
        return
    assert isinstance(pattern.matches(ref), bool)
    assert str(pattern) == text


@bounded
@given(refs)
def test_a_ref_as_pattern_matches_itself_and_open_parts_match_all(ref):
    assert RefPattern.parse(str(ref)).matches(ref)
    assert RefPattern.parse(ref.name).matches(ref)
    assert RefPattern.parse(f"{ref.name}/*").matches(ref) == (ref.config is not None)
    assert not RefPattern.parse(f"{ref.name}x").matches(ref)


@bounded
@given(refs, refs, refs)
def test_order_is_total(first, second, third):
    one, two, three = sorted([first, second, third])
    assert one <= two <= three
    assert one <= three
    assert (first < second) + (second < first) + (first.sort_key == second.sort_key) == 1


def test_versions_are_ordered_as_numbers():
    texts = ["b:1.0.0", "a/x:1.10.0", "a:2.0.0", "a/x:1.9.0", "a:10.0.0"]
    ordered = [str(ref) for ref in sorted(map(Ref.parse, texts))]
    assert ordered == ["a:2.0.0", "a:10.0.0", "a/x:1.9.0", "a/x:1.10.0", "b:1.0.0"]


@bounded
@given(named, st.sampled_from(sorted(COMPRESSION_SUFFIXES)))
def test_archive_names_are_read_back(ref, compression):
    assert parse_archive_name(ref.archive_name(compression)) == (ref, compression)


@bounded
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("utf-8", "ignore")))
def test_no_file_name_crashes_the_archive_parser(text):
    for name in (
        text,
        f"{text}__1.0.0__cache.tar.gz",
        f"x__{text}__cache.tar",
        f"a__{text}.tar.zst",
    ):
        found = parse_archive_name(name)
        if found is not None:
            assert found[0].is_proper
            assert sorted([found[0], Ref("a", None, "1.0.0")])


def test_archive_names_are_armorys_and_a_config_with_slashes_stays_one_file_name():
    assert Ref.parse("digit:1.0.8").archive_name() == "digit__1.0.8__cache.tar.gz"
    assert Ref.parse("coco/2017:1.1.0").archive_name("zst") == "coco__2017__1.1.0__cache.tar.zst"
    deep = Ref.parse("wiki/en/small:1.0.0")
    assert deep.archive_name("none") == "wiki__en-small__1.0.0__cache.tar"
    assert parse_archive_name(deep.archive_name())[0] == Ref("wiki", "en-small", "1.0.0")
    assert str(deep.subdir) == "wiki/en/small/1.0.0"


@pytest.mark.parametrize(
    "name",
    [
        "digit__1.0.8__cache.tar.gz.json",
        ".digit__1.0.8__cache.tar.gz.0a1b2c3d.tmp",
        "digit__1.0__cache.tar.gz",
        "digit__01.0.8__cache.tar.gz",
        "__1.0.8__cache.tar.gz",
        "../digit__1.0.8__cache.tar.gz",
        "a__b/c__1.0.0__cache.tar.gz",
        "a__..__1.0.0__cache.tar.gz",
        f"{'n' * 300}__1.0.0__cache.tar.gz",
        f"a__1.0.{'9' * 5000}__cache.tar.gz",
        "digit_1.0.8.tar.gz",
    ],
)
def test_what_is_no_archive_name_of_ours_is_none(name):
    assert parse_archive_name(name) is None


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", "a/", "/a", "a//b", "a/../b", "..", ".a", "a b", "a:1", "a:1.0", "a:01.0.0",
     "a:1.0.0:2", "a:1.0.٣", "a\n", "a/b/", "é", "-a", "a:1.0.0\n", "x" * 201],
)  # fmt: skip
def test_what_is_no_ref_is_refused(text):
    with pytest.raises(UsageError, match="is not a ref"):
        Ref.parse(text)


def test_versions_are_ascii_and_bounded():
    assert is_version("1.0.8")
    assert not is_version("1\N{ARABIC-INDIC DIGIT ZERO}.0.0")
    assert not is_version("1." + "9" * 5000 + ".0")
    assert not is_version("1.0.0\n")


@pytest.mark.parametrize("version", ["1.0.0", "1.0", "", "a:1.0.0", "1.0.0:1.0.0"])
@pytest.mark.parametrize("folders", ["digit", "coco/2017", "a//b", "", ".", "a:b", "/a", "a/../b"])
def test_a_version_folder_has_a_ref_when_its_parts_can_be_printed_and_read(folders, version):
    name, _, config = folders.partition("/")
    ref = Ref(name, config if "/" in folders else None, version)
    assert Ref.of_subdir(f"{folders}/{version}") == (ref if ref.is_proper else None)


def test_long_names_that_are_none_are_not_remembered():
    before = _of_subdir.cache_info().currsize
    assert Ref.of_subdir("a" * 100_000 + "/1.0.0") is None
    assert _of_subdir.cache_info().currsize == before
