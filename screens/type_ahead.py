"""Keys that are typed ahead go where they would go if they were typed slowly.

Over a slow link the keys of a second arrive together. Textual hands a key to the widget that has
the focus when the key arrives, before the keys in front of it were handled: what follows a Tab went
to the field that was left, what follows a key that opens a dialog to nobody. Here a key waits until
the one before it, and what that one has posted, was handled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump

__all__ = ["TypeAheadApp"]

ResultT = TypeVar("ResultT")

_ROUNDS = 2
"""One for the key; one for what it posted: that a field was submitted, a screen opened."""
_LOOK_EVERY_S = 0.02
_MOST_LOOKS = 100


class TypeAheadApp(App[ResultT]):
    """Delivers what is typed in order, each key to whoever has the focus after the one before.

    Behind each key a message goes the same way, from the widget with the focus up to the app; as
    every widget takes its messages in turn, what stood before it was handled when it arrives. It
    gets lost where the widget is removed, as the button of a dialog that closes, so that is looked
    for; and a handler that takes more than two seconds holds no later key.
    """

    class Arrived(Message):
        """It has gone behind a key, from the focus to the app."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Event] = deque()
        self._sent = 0
        self._rounds_left = 0
        self._via: MessagePump = self
        self._look: asyncio.TimerHandle | None = None

    async def on_event(self, event: events.Event) -> None:
        is_typed = isinstance(event, (events.InputEvent, events.Paste)) and not event.is_forwarded
        if is_typed and self._rounds_left:
            self._held.append(event)
            return
        await super().on_event(event)
        if is_typed and isinstance(event, events.Key):
            self._rounds_left = _ROUNDS
            self._send()

    def _send(self) -> None:
        self._sent += 1
        self._via = self.focused or self.screen
        message = self.Arrived(self._sent)
        if not self._via.post_message(message):
            self.post_message(message)
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(_LOOK_EVERY_S, self._look_for, self._sent, _MOST_LOOKS)

    def _look_for(self, number: int, looks_left: int) -> None:
        if not (looks_left and self._via.is_attached):
            self.post_message(self.Arrived(number))
            return
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(_LOOK_EVERY_S, self._look_for, number, looks_left - 1)

    async def on_type_ahead_app_arrived(self, message: Arrived) -> None:
        message.stop()
        if message.number != self._sent or not self._rounds_left:
            return  # it was given up, and came after all
        if self._look is not None:
            self._look.cancel()
        self._rounds_left -= 1
        if self._rounds_left and self.is_running:
            self._send()
            return
        while self._held and not self._rounds_left:
            await self.on_event(self._held.popleft())
