"""Plans as files: written by ``sync --plan``, read again and carried out by ``sync --apply``.

A file holds the lines, what was asked for, the places, and what every ref looked like. What a line
does is decided by the planner alone, again from fresh facts: a file only says which refs and that
nothing may be different from what was planned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.files import write_json
from dsmanager.library.presence import Presence
from dsmanager.refs import Ref
from dsmanager.syncing.facts import Facts
from dsmanager.syncing.plan import Action, Line, Options, Plan, plan_ref

if TYPE_CHECKING:
    from dsmanager.library.places import LibraryPlaces

__all__ = ["PlanFile", "read_plan", "write_plan"]

SCHEMA = 1
_MAX_BYTES = 256 << 20
_PLACES = ("recorded", "built", "cached", "remote")

Seen = Mapping[str, str | None]


@dataclass(frozen=True)
class PlanFile:
    """A plan as it was written; ``steps`` and ``seen`` by ref."""

    options: Options
    places: Mapping[str, str | None]
    steps: Mapping[Ref, tuple[tuple[Action, int], ...]]
    seen: Mapping[Ref, Seen]

    def require_places(self, library: LibraryPlaces) -> None:
        """Raises UsageError for a plan of another data dir, manifest or remote."""
        here = _places(library)
        for name, planned in self.places.items():
            if planned != here.get(name):
                raise UsageError(
                    f"the plan was made for the {name.replace('_', ' ')} {planned}, "
                    f"and this is {here.get(name)}",
                    hint="make a plan here: dsmanager sync --plan FILE",
                )

    def match(self, facts: tuple[Facts, ...]) -> tuple[Plan, dict[Ref, str], tuple[Ref, ...]]:
        """What is left of the plan as things are now.

        Returns the plan to carry out, why some refs cannot be (by ref), and the refs whose steps
        were all done before.
        """
        known = {each.ref: each for each in facts}
        left: list[tuple[Facts, tuple[Line, ...]]] = []
        broken: dict[Ref, str] = {}
        done: list[Ref] = []
        for ref, steps in self.steps.items():
            now = known.get(ref) or Facts(Presence(ref))
            lines = plan_ref(now, self.options)
            if all(action is Action.KEEP for action, _ in steps):
                left.append((now, (_kept(ref),)))
            elif changed := self._changed(ref, now, lines, steps):
                broken[ref] = changed
            elif _is_keep(lines) and not _is_same(lines, steps):
                done.append(ref)
            else:
                left.append((now, lines))
        plan = Plan(self.options, tuple(f for f, _ in left), tuple(lines for _, lines in left))
        return plan, broken, tuple(done)

    def _changed(
        self,
        ref: Ref,
        now: Facts,
        lines: tuple[Line, ...],
        steps: tuple[tuple[Action, int], ...],
    ) -> str | None:
        """What is different from what was planned, in words; None where the plan still holds."""
        seen, is_now = self.seen[ref], _seen(now)
        differing = [place for place in _PLACES if seen[place] != is_now[place]]
        if "recorded" in differing:
            return "the manifest says something else"
        if not differing:
            return None if _is_same(lines, steps) else "it would be planned differently now"
        if _is_keep(lines):
            return None
        actions = tuple(line.action for line in lines)
        planned = tuple(action for action, _ in steps)
        if len(actions) < len(planned) and planned[-len(actions) :] == actions:
            return None  # an earlier try did the first steps
        return f"something else is {' and '.join(differing)} now"


def write_plan(library: LibraryPlaces, plan: Plan, path: Path) -> None:
    """Writes ``plan``, atomically."""
    options = plan.options
    value = {
        "schema": SCHEMA,
        "places": _places(library),
        "options": {
            "push": options.push,
            "verify": options.verify,
            "delete": options.delete,
            "extract": options.extract,
            "prefer": options.prefer,
        },
        "lines": [line.to_json() for line in plan.all_lines],
        "seen": {str(facts.ref): dict(_seen(facts)) for facts in plan.facts},
    }
    write_json(path, value)


def read_plan(path: Path) -> PlanFile:
    """Reads and checks a plan file. Raises UsageError that says what is wrong with it."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        value = json.loads(path.read_text("utf-8"))
        return _parsed(value)
    except OSError as error:
        problem = error.strerror or str(error)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem = str(error) or type(error).__name__
    except DsmanagerError as error:
        problem = error.message
    raise UsageError(
        f"{path} is no plan that can be carried out: {problem}",
        hint="make one: dsmanager sync --plan FILE",
    )


def _parsed(value: Any) -> PlanFile:
    if value["schema"] != SCHEMA:
        raise ValueError(f"schema {ascii(value['schema'])[:40]} is not known, only {SCHEMA}")
    given = value["options"]
    options = Options(
        **{name: _flag(given[name]) for name in ("push", "verify", "delete", "extract")},
        prefer=_text_or_none(given["prefer"]),
    )
    steps: dict[Ref, tuple[tuple[Action, int], ...]] = {}
    for line in value["lines"]:
        ref, size_bytes = Ref.parse(line["ref"]), line["bytes"]
        if ref.version is None or type(size_bytes) is not int:
            raise ValueError(f"the line of {ref} has no version or no bytes")
        steps[ref] = (*steps.get(ref, ()), (Action(line["action"]), size_bytes))
    places = {name: _text_or_none(value["places"][name]) for name in _PLACE_NAMES}
    seen = {
        ref: {place: _text_or_none(value["seen"][str(ref)][place]) for place in _PLACES}
        for ref in steps
    }
    return PlanFile(options, places, steps, seen)


_PLACE_NAMES = ("data_dir", "manifest", "remote")


def _places(library: LibraryPlaces) -> dict[str, str | None]:
    settings = library.settings
    remote = settings.current_remote()
    return {
        "data_dir": str(settings.data_dir),
        "manifest": str(settings.manifest_path),
        "remote": remote.url if remote else None,
    }


def _seen(facts: Facts) -> Seen:
    """What identifies the content of each place, short of reading it."""
    row = facts.row
    recorded, built, cached, there = row.recorded, row.built, row.cached, row.remote
    return {
        "recorded": f"{recorded.size} {recorded.sha256}" if recorded else None,
        "built": f"{built.files} files {built.size_bytes}" if built else None,
        "cached": f"{cached.path.name} {cached.size_bytes} {_mtime_ns(cached.path)}"
        if cached
        else None,
        "remote": f"{there.name} {there.size_bytes} {there.last_modified}" if there else None,
    }


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _kept(ref: Ref) -> Line:
    return Line(Action.KEEP, ref, "kept, as planned")


def _is_keep(lines: tuple[Line, ...]) -> bool:
    return all(line.action is Action.KEEP for line in lines)


def _is_same(lines: tuple[Line, ...], steps: tuple[tuple[Action, int], ...]) -> bool:
    return tuple((line.action, line.size_bytes) for line in lines) == steps


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("an option is neither true nor false")
    return value


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{ascii(value)[:40]} is no text")
    return value
