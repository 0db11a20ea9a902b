"""Every kind of fault, every verb that talks to a remote: ended clearly, nothing lost, healed."""

from __future__ import annotations

import pytest
from harness.starts import RANGES_PAYLOAD_BYTES, SMALL_PAYLOAD_BYTES
from harness.transfers import CASES, SMALL, TRANSFERS, FaultExperiment

QUICK = [case for case in CASES if case.quick]
PASSING = ("reset", "drop while receiving", "lose the answer", "truncate", "500")


@pytest.fixture(
    scope="module",
    params=[each for each in TRANSFERS if each.quick],
    ids=lambda transfer: transfer.name,
)
def experiment(request, zygote, starts_with, proxy, tmp_path_factory):
    root = tmp_path_factory.mktemp("transfer")
    is_upload = request.param.start == "packaged"
    starts = starts_with(SMALL_PAYLOAD_BYTES if is_upload else RANGES_PAYLOAD_BYTES)
    return FaultExperiment(zygote, request.param, starts, proxy, root, SMALL)


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_fault_that_stays_ends_clearly_and_the_next_run_heals(experiment, case):
    assert experiment.strike(case).findings.defects == []


def test_faults_that_pass_are_survived(experiment):
    for case in (each for each in CASES if each.name in PASSING):
        struck = experiment.strike(case, times=1, skip=1)
        assert struck.findings.defects == []
        assert struck.code in (0, None), case.name


def test_there_are_sixteen_kinds_of_faults():
    assert len({case.fault for case in QUICK}) >= 16
