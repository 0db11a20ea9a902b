"""Every kind of fault, every verb that talks to a remote: ended clearly, nothing lost, healed."""

from __future__ import annotations

import functools

import pytest
from harness.starts import RANGES_PAYLOAD_BYTES, SMALL_PAYLOAD_BYTES
from harness.transfers import CASES, SMALL, TRANSFERS, FaultExperiment, Transfer

VERBS = [each for each in TRANSFERS if each.quick]
QUICK = [case for case in CASES if case.quick]
PASSING = ("reset", "drop while receiving", "lose the answer")


@pytest.fixture(scope="module")
def experiments(zygote, starts_with, proxy, tmp_path_factory):
    """The experiment of each verb, made when it is first asked for."""

    @functools.cache
    def make(transfer: Transfer) -> FaultExperiment:
        root = tmp_path_factory.mktemp("transfer")
        is_upload = transfer.start == "packaged"
        starts = starts_with(SMALL_PAYLOAD_BYTES if is_upload else RANGES_PAYLOAD_BYTES)
        return FaultExperiment(zygote, transfer, starts, proxy, root, SMALL)

    return make


@pytest.mark.parametrize(
    ("transfer", "case"),
    [(each, case) for each in VERBS for case in QUICK if case.befalls(each)],
    ids=lambda each: each.name,
)
def test_a_fault_that_stays_ends_clearly_and_the_next_run_heals(transfer, case, experiments):
    struck = experiments(transfer).strike(case)
    assert struck.findings.defects == []


@pytest.mark.parametrize("transfer", VERBS, ids=lambda transfer: transfer.name)
def test_faults_that_pass_are_survived(transfer, experiments):
    experiment = experiments(transfer)
    for case in (each for each in CASES if each.name in PASSING):
        struck = experiment.strike(case, times=1, skip=1)
        assert struck.findings.defects == []
        assert struck.code in (0, None), case.name


def test_there_are_sixteen_kinds_of_faults():
    assert len(QUICK) >= 16
    assert len(CASES) >= 24
