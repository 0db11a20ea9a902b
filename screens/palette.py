"""The command palette: every action as ``area: Verb``, and every dataset to go to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from dsmanager.screens.actions import ACTIONS, key_words
from dsmanager.screens.view import COLUMNS
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.screens.app import DsmanagerApp

__all__ = ["PROVIDERS"]

_MOST_DATASETS = 50


class _Ours(Provider):
    @property
    def own_app(self) -> DsmanagerApp:
        from dsmanager.screens.app import DsmanagerApp

        assert isinstance(self.app, DsmanagerApp)
        return self.app


class ActionProvider(_Ours):
    """The actions, and what a column can sort and group by."""

    def _entries(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        app = self.own_app
        for action in ACTIONS:
            if action.id != "palette":
                key = key_words(app.keys[action.id])
                words = f"{action.help}{f' ({key})' if key else ''}"
                yield f"{action.area}: {action.verb}", words, partial(_do, app, action.id)
        for name, column in COLUMNS.items():
            yield f"View: Sort by {column.title}", "", partial(app.library.sort_by, name)
            yield f"View: Group by {column.title}", "", partial(app.library.group_by, name)
        yield "View: Group by nothing", "", partial(app.library.group_by, None)

    async def discover(self) -> Hits:
        for title, words, do in self._entries():
            yield DiscoveryHit(Content(title), do, title, words)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, words, do in self._entries():
            if (score := matcher.match(title)) > 0:
                yield Hit(score, matcher.highlight(title), do, title, words)


def _do(app: DsmanagerApp, action_id: str) -> None:
    app.library.action_do(action_id)


class DatasetProvider(_Ours):
    """Datasets whose ref holds what was typed: plain search, quick with ten thousand."""

    async def search(self, query: str) -> Hits:
        library = self.own_app.library
        wanted = query.lower()
        found = 0
        for row in library.model.rows:
            at = row.ref.lower().find(wanted)
            if at < 0:
                continue
            found += 1
            if found > _MOST_DATASETS:
                return
            score = 0.5 if at else 0.9
            title = f"Go to: {plain(row.ref)}"
            yield Hit(score, Content(title), partial(library.go_to, row.ref), title, row.state)


PROVIDERS = (ActionProvider, DatasetProvider)
