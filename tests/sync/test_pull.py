"""What a pull does, on real folders and a real server."""

from __future__ import annotations

import dsmanager
from dsmanager.syncing.plan import Options
from dsmanager.syncing.sync import make_plan, sync


def outcomes(result):
    return [(str(row.line.action), str(row.line.ref), row.outcome) for row in result.rows]


def test_a_new_machine_gets_what_the_team_recorded(publish, machine):
    team = publish("digit:1.0.8", "mnist:3.0.1")
    machine.manifest.write_bytes(team.manifest.read_bytes())
    result = sync(machine.library)
    assert not result.errors
    assert outcomes(result) == [
        ("download", "digit:1.0.8", "downloaded"),
        ("extract", "digit:1.0.8", "extracted"),
        ("download", "mnist:3.0.1", "downloaded"),
        ("extract", "mnist:3.0.1", "extracted"),
    ]
    assert {row.state for row in machine.library.survey().rows} == {"ok"}
    again = sync(machine.library)
    assert {row.outcome for row in again.rows} == {"kept"}
    assert {row.line.mark for row in again.rows} == {"="}
    assert not machine.leftovers()


def test_the_api_does_it_in_one_call(publish, machine):
    team = publish("digit:1.0.8")
    machine.manifest.write_bytes(team.manifest.read_bytes())
    result = dsmanager.sync("digit", library=machine.library, extract=False)
    assert outcomes(result) == [("download", "digit:1.0.8", "downloaded")]


def test_planning_changes_nothing(publish, machine):
    team = publish("digit:1.0.8")
    machine.manifest.write_bytes(team.manifest.read_bytes())
    before = machine.files()
    plan = make_plan(machine.library, (), Options())
    assert [line.action for line in plan.all_lines] == ["download", "extract"]
    size = next(iter(machine.library.manifest.entries.values())).size
    assert {line.size_bytes for line in plan.all_lines} == {size}
    assert machine.files() == before
