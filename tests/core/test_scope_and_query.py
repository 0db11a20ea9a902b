"""Which refs a request means, and which rows a query shows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import NotFoundError, UsageError
from dsmanager.library.presence import STATES, Built, Cached, OnRemote, Presence
from dsmanager.library.query import Query
from dsmanager.library.scope import newest, select
from dsmanager.manifest import Entry
from dsmanager.refs import Ref

REFS = [
    Ref.parse(text)
    for text in ("coco/2014:1.0.0", "coco/2014:1.1.0", "coco/2017:1.1.0", "digit:1.0.8",
                 "digit:1.0.10", "mnist:3.0.1")
]  # fmt: skip


def chosen(*requests: str, newest_only: bool = False) -> list[str]:
    found = select(requests, REFS, newest_only=newest_only, what="cached archive", hint="look")
    return [str(ref) for ref in found]


def test_a_ref_without_version_means_all_versions_or_the_newest():
    assert chosen("digit") == ["digit:1.0.8", "digit:1.0.10"]
    assert chosen("digit", newest_only=True) == ["digit:1.0.10"]
    assert chosen("digit:1.0.8", newest_only=True) == ["digit:1.0.8"]


def test_a_name_means_each_of_its_configs():
    assert chosen("coco", newest_only=True) == ["coco/2014:1.1.0", "coco/2017:1.1.0"]
    assert chosen("coco/2014") == ["coco/2014:1.0.0", "coco/2014:1.1.0"]
    assert [str(ref) for ref in newest(REFS)] == [
        "coco/2014:1.1.0",
        "coco/2017:1.1.0",
        "digit:1.0.10",
        "mnist:3.0.1",
    ]


def test_globs_match_and_each_ref_comes_once_sorted():
    assert chosen("*/2017", "coco/20*:1.1.*") == ["coco/2014:1.1.0", "coco/2017:1.1.0"]
    assert chosen("[dm]*", "digit", newest_only=True) == ["digit:1.0.10", "mnist:3.0.1"]
    with pytest.raises(NotFoundError):
        chosen("mnist/*")


def test_a_plain_name_means_the_archive_of_all_configs_where_there_is_one():
    together = Ref.parse("coco:1.1.0")

    def found(request: str) -> list[str]:
        refs = select([request], [*REFS, together], newest_only=True, what="archive", hint="look")
        return [str(ref) for ref in refs]

    assert found("coco") == ["coco:1.1.0"]
    assert found("coco/2017") == ["coco/2017:1.1.0"]
    assert "coco/2017:1.1.0" in found("*"), "a glob means all that match"
    assert len(found("*")) == 5


@pytest.mark.parametrize(
    ("request_", "near"),
    [
        ("digti", "digit"),
        ("mnits", "mnist"),
        ("digit:1.0.9", "digit:1.0.8 or digit:1.0.10"),
        ("coco/2015", "coco/2014:1.0.0 or coco/2014:1.1.0"),
        ("imagenete", "imagenette"),
    ],
)
def test_a_request_that_means_nothing_is_not_found_with_near_names(request_, near):
    with pytest.raises(NotFoundError) as raised:
        select(
            [request_],
            REFS,
            newest_only=False,
            what="cached archive",
            hint="look",
            others=[Ref.parse("imagenette/full:1.0.0")],
        )
    assert raised.value.message.startswith(
        f"there is no cached archive of {request_}; did you mean"
    )
    assert near in raised.value.message
    assert (raised.value.ref, raised.value.hint) == (request_, "look")


def test_without_near_names_none_are_offered():
    with pytest.raises(NotFoundError) as raised:
        chosen("zzzzzz")
    assert "did you mean" not in raised.value.message


@pytest.mark.parametrize("text", ["a b", "../x", "digit:1", "*\x1b", ""])
def test_what_is_no_ref_is_a_usage_error(text):
    with pytest.raises(UsageError):
        chosen(text)


BUILT = Built("b", 2_000_000_000, 5, "tfrecord", {"train": {"examples": 1350, "shards": 1}})
CACHED = Cached("c", 900_000, "ab" * 32, None)
REMOTE = OnRemote("s3://b/c", "c", 900_000, None, "")
RECORDED = Entry(REFS[3], "c", 900_000, "ab" * 32, ())
ROWS = [
    Presence(REFS[0], built=BUILT),
    Presence(REFS[3], built=BUILT, cached=CACHED, recorded=RECORDED),
    Presence(REFS[5], remote=REMOTE, has_remote=True),
]


def shown(*terms: str) -> list[str]:
    query = Query.parse(terms)
    return [row.ref.name for row in ROWS if query.matches(row)]


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ((), ["coco", "digit", "mnist"]),
        (("IG",), ["digit"]),
        (("c*",), ["coco"]),
        (("*:3.0.1",), ["mnist"]),
        (("in:built",), ["coco", "digit"]),
        (("in:built,remote",), ["coco", "digit", "mnist"]),
        (("not:in:built",), ["mnist"]),
        (("in:built not:in:cached",), ["coco"]),
        (("in:built", "in:cached"), ["digit"]),
        (("state:ok",), ["digit"]),
        (("state:not-built,not-cached",), ["coco", "mnist"]),
        (("size>1g",), ["coco", "digit"]),
        (("size<=900k",), ["mnist"]),
        (("size>=2GB",), ["coco", "digit"]),
        (("size>2g",), []),
        (("size=0.9mb",), ["mnist"]),
        (("examples>=1350",), ["coco", "digit"]),
        (("examples=0",), ["mnist"]),
        (("name:d*",), ["digit"]),
        (("config:2014",), ["coco"]),
        (("config:",), ["digit", "mnist"]),
        (("version:1.0.*",), ["coco", "digit"]),
        (("format:tfrecord",), ["coco", "digit"]),
        (("not:digit", "not:coco"), ["mnist"]),
        (("digit:1.0.8",), ["digit"]),
        (("not:",), []),
    ],
)
def test_predicates(terms, names):
    assert shown(*terms) == names


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("state:great", "there is no state 'great'; there are damaged, differs"),
        ("state:", "there is no state ''"),
        ("in:cloud", "there is no in 'cloud'"),
        ("size>big", "is no predicate"),
        ("size<>5", "is no predicate"),
        ("examples>1x", "is no predicate"),
    ],
)
def test_a_predicate_that_makes_no_sense_is_a_usage_error(term, says):
    with pytest.raises(UsageError, match=says) as raised:
        Query.parse([term])
    assert "dsmanager list" in str(raised.value.hint)


def test_plain_words_are_kept_for_things_with_no_more_than_a_name():
    assert Query.parse(["digit", "not:coco", "size>1g", "mn*"]).words == ("digit", "mn*")


@settings(deadline=None, max_examples=200)
@given(
    st.text(max_size=20)
    | st.tuples(
        st.sampled_from(["size", "examples", "state:", "in:", "not:name:", "config:"]),
        st.sampled_from([">", "<=", "=", "", ">>"]),
        st.text(alphabet="0123456789.kmgt*[]b,", max_size=6) | st.sampled_from(STATES),
    ).map("".join)
)
def test_any_text_is_a_query_or_a_usage_error(text):
    try:
        query = Query.parse([text])
    except UsageError:
        return
    assert all(isinstance(query.matches(row), bool) for row in ROWS)
