"""Text from outside can neither steer a terminal nor carry secrets to it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmanager.text import plain, redact


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_plain_text_has_no_control_format_or_surrogate_characters(text):
    shown = plain(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert plain(shown) == shown


@pytest.mark.parametrize("text", ["digit", "Größe 5", "数据集", "a[/b] [red]x", "e\u0301"])
def test_ordinary_text_stays_as_it_is(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "a\nb", "a\rb", "a\x00b", "a\u202eb", "a\u2028b", "a\x9bb", "a\udc80b"]
)
def test_what_steers_a_terminal_becomes_a_mark(text):
    assert plain(text).startswith("a\N{REPLACEMENT CHARACTER}")


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://user:{SECRET}@host/x failed",
        f"https://user:p@{SECRET}@host/x",
        f"s3://key:{SECRET}@bucket/prefix",
        f"https://h/x?X-Amz-Signature={SECRET}&a=1",
        f"https://h/x?X-Amz-Security-Token={SECRET}",
        f"https://h/x?a=1&X-Amz-Credential={SECRET}%2F2026",
        f"https://h/x?AWSAccessKeyId=A&Signature={SECRET}",
        f"https://h/x?x-goog-signature={SECRET}",
        f"https://h/x?sv=1&sig={SECRET}",
        f"https://h/x?token={SECRET}&b=2",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
    ],
)
def test_secrets_in_urls_are_taken_out(text):
    assert SECRET not in redact(text)


def test_redacting_leaves_the_rest():
    url = f"https://user:{SECRET}@host:9000/a/b?X-Amz-Signature={SECRET}&part=2"
    assert redact(url) == "https://host:9000/a/b?X-Amz-Signature=…&part=2"
    assert redact("s3://bucket/datasets/cache a@b") == "s3://bucket/datasets/cache a@b"
    assert redact("tokens=5 design=x") == "tokens=5 design=x"
