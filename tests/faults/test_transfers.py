"""Every kind of fault and every verb that talks to a remote: ended clearly, nothing lost, healed."""

from __future__ import annotations

import pytest
from harness.proxy import Fault
from harness.transfers import CASES, SMALL, TRANSFERS, FaultExperiment

QUICK = [case for case in CASES if case.quick]


@pytest.fixture(scope="module", params=TRANSFERS, ids=lambda transfer: transfer.name)
def experiment(request, zygote, large_starts, proxy, tmp_path_factory):
    root = tmp_path_factory.mktemp("transfer")
    return FaultExperiment(zygote, request.param, large_starts, proxy, root, SMALL)


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_fault_that_stays_ends_clearly_and_the_next_run_heals(experiment, case):
    assert experiment.strike(case).findings.defects == []


ONCE = ("upload", "download", "sync")


@pytest.mark.parametrize(
    "case",
    [case for case in QUICK if case.codes == (5,) and case.fault is not Fault.REFUSE],
    ids=lambda case: case.name,
)
def test_a_fault_that_passes_is_survived(experiment, case):
    if experiment.transfer.name not in ONCE:
        pytest.skip("tried with the verbs that move archives")
    struck = experiment.strike(case, times=1, skip=1)
    assert struck.findings.defects == []
    assert struck.code in (0, None)


def test_there_are_sixteen_kinds_of_faults():
    assert len({case.fault for case in QUICK}) >= 16
