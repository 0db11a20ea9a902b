"""Templates mean what bash means, and nothing that is not there is dropped."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.errors import UsageError
from dsmanager.ingest.templates import MAX_NAMES, expand, stem_of

BASH = shutil.which("bash")


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("t-{0..3}", ["t-0", "t-1", "t-2", "t-3"]),
        ("{00..3}", ["00", "01", "02", "03"]),
        ("{00..100..50}", ["000", "050", "100"]),
        ("{3..0}", ["3", "2", "1", "0"]),
        ("{0..9..4}", ["0", "4", "8"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{-1..01}", ["-1", "00", "01"]),
        ("{a..c}", ["a", "b", "c"]),
        ("x{a{1,2},b}y", ["xa1y", "xa2y", "xby"]),
        ("{a}", ["{a}"]),
        ("{a{1,2}}", ["{a1}", "{a2}"]),
        ("{1..2", ["{1..2"]),
        ("{0..3..0}", ["0", "1", "2", "3"]),
        ("{,x}", ["", "x"]),
    ],
)
def test_templates_mean_what_bash_means(template: str, names: list[str]) -> None:
    assert expand(template) == names


ENDS = st.from_regex(r"-?0{0,2}[0-9]{1,2}", fullmatch=True)
RANGES = st.builds("{{{}..{}}}".format, ENDS, ENDS)
STEPS = st.builds("{{{}..{}..{}}}".format, ENDS, ENDS, st.integers(-40, 40))
WORDS = st.text("ab.-0", max_size=3)
PIECES = st.recursive(
    st.one_of(RANGES, STEPS, WORDS),
    lambda inner: st.lists(inner, min_size=2, max_size=3).map(
        lambda pieces: "{" + ",".join(pieces) + "}"
    ),
    max_leaves=3,
)
TEMPLATES = st.lists(PIECES, min_size=1, max_size=2).map("".join)


@pytest.mark.skipif(BASH is None, reason="there is no bash to compare with")
@settings(max_examples=40, deadline=None)
@given(st.lists(TEMPLATES, min_size=1, max_size=3))
def test_any_template_equals_bash(templates: list[str]) -> None:
    assert BASH is not None
    script = "".join(f"printf '%s\\n' x{each}\necho =\n" for each in templates)
    done = subprocess.run([BASH, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("=\n")[:-1] == [
        "".join(f"{name}\n" for name in expand(f"x{each}")) for each in templates
    ]


def test_a_template_of_too_many_names_is_refused() -> None:
    with pytest.raises(UsageError, match=f"more than {MAX_NAMES:,} names"):
        expand("{0..999999}{0..999999}")
    with pytest.raises(UsageError, match="longer than"):
        expand("{" * 5000)


@pytest.mark.parametrize(
    ("template", "stem"),
    [
        ("s3://bucket/x/train-{0..7}.tar.gz", "train"),
        ("/data/a b/val_{00..3}.tar", "val"),
        ("{a,b}-{0..1}.tgz", "data"),
        ("http://host/p/imagenet-train-{000..146}.tar?x=1", "imagenet-train"),
        ("x-{0..1}-of-2.tar.zst", "x-of-2"),
        ("{train,val}/{0..3}.tar", "data"),
        ("odd name.tar.bz2", "odd_name"),
    ],
)
def test_shards_are_called_after_the_template(template: str, stem: str) -> None:
    assert stem_of(template) == stem
