"""kill -9 of every verb: nothing damaged is listed as good, nothing good is lost, a retry works.

A few points a verb, another set for each verb; ``make soak`` tries all of them.
"""

from __future__ import annotations

import os
import random
import signal

import pytest
from harness.kills import VERBS, KillExperiment, kill_builder_alone
from harness.partition_kills import PartitionKills
from harness.servers import serve_killed

from dsmanager.remotes import server

CHANGES = 1
MOMENTS = 1
POINTS_OF_PARTITIONS = int(os.environ.get("KILLS_OF_PARTITIONS", "4"))


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_killed_verb_loses_nothing_and_its_next_run_succeeds(
    verb, zygote, starts, builders, tmp_path
):
    experiment = KillExperiment(zygote, verb, starts, builders, tmp_path)
    chance = random.Random(verb.name)
    moments = 0 if verb.name.startswith("build") else MOMENTS
    findings = experiment.run(experiment.points(CHANGES, moments, chance))
    assert findings.defects == []
    assert findings.tries >= 1


@pytest.fixture(scope="module")
def partition_kills(zygote, tmp_path_factory):
    return PartitionKills(zygote, tmp_path_factory.mktemp("partition-kills") / "all")


@pytest.mark.parametrize("number", range(POINTS_OF_PARTITIONS))
def test_a_killed_build_keeps_its_finished_partitions(partition_kills, number):
    point = list(partition_kills.points(POINTS_OF_PARTITIONS))[number]
    findings = partition_kills.run(point)
    assert findings.defects == []
    assert findings.tries == 1


def test_a_builder_killed_alone_is_told_and_leaves_nothing(zygote, starts, builders, tmp_path):
    findings = kill_builder_alone(zygote, starts, builders, tmp_path / "machine", after_s=0.9)
    assert findings.defects == []


def test_a_server_that_nobody_wrote_down_is_not_left_and_its_data_come_back(zygote, tmp_path):
    findings = serve_killed(zygote, tmp_path / "machine", kill_after="subprocess.Popen")
    assert findings.defects == []
    assert findings.tries == 1


def test_kills_are_sigkill(zygote, starts, tmp_path):
    machine, _ = starts.make("built", tmp_path / "machine")
    ended = zygote.run(machine, "package", "tiny", kill_at=5)
    assert ended.code == -signal.SIGKILL
    assert ended.changes is None
    assert server.statuses(state_dir=machine.root / "state") == ()
