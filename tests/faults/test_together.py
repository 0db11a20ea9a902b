"""Two and sixteen processes at once, on one ref and on one manifest."""

from __future__ import annotations

import pytest
from harness.together import CROWDS, crowd, crowd_on_manifest, crowd_on_shared_manifest


@pytest.mark.parametrize("name", CROWDS)
def test_two_at_once_on_one_ref(name, zygote, starts, tmp_path):
    assert crowd(zygote, starts, tmp_path / "machine", name, 2).defects == []


@pytest.mark.parametrize("name", ["package", "different verbs"])
def test_sixteen_at_once_on_one_ref_and_some_die(name, zygote, starts, tmp_path):
    assert crowd(zygote, starts, tmp_path / "machine", name, 16, killed=3).defects == []


def test_sixteen_add_fifty_entries_each_to_one_manifest(zygote, starts, tmp_path):
    assert crowd_on_manifest(zygote, starts, tmp_path / "machine", 16).defects == []


def test_sixteen_push_fifty_entries_each_to_one_remote(zygote, starts, tmp_path):
    assert crowd_on_shared_manifest(zygote, starts, tmp_path / "machines", 16).defects == []
