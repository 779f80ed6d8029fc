"""Where the engine thread leaves its events until somebody fetches them."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Condition

from napari_weakseg.engine.messages import Event, replaces

#: Previews and progress kept at most; beyond it the oldest go (a later preview covers the same tiles again).
REPLACEABLE_LIMIT = 1024


class Mailbox:
    """Events in order; those that only tell the newest state replace their predecessor.

    State changes, failures, answers and the like are never lost. Progress and previews are latest-wins, so a
    window that was busy for a while has little to catch up on. Safe to use from several threads.
    """

    def __init__(self, limit: int = REPLACEABLE_LIMIT) -> None:
        self._limit = limit
        self._events: OrderedDict[int, Event] = OrderedDict()
        self._newest: OrderedDict[Hashable, int] = OrderedDict()
        self._count = 0
        self._changed = Condition()

    def put(self, event: Event) -> None:
        """Add an event, in place of the one it makes out of date."""
        key = replaces(event)
        with self._changed:
            self._count += 1
            self._events[self._count] = event
            if key is not None:
                self._drop(key)
                self._newest[key] = self._count
                if len(self._newest) > self._limit:
                    self._drop(next(iter(self._newest)))
            self._changed.notify_all()

    def _drop(self, key: Hashable) -> None:
        number = self._newest.pop(key, None)
        if number is not None:
            del self._events[number]

    def drain(self) -> list[Event]:
        """Take out everything, oldest first."""
        with self._changed:
            events = list(self._events.values())
            self._events.clear()
            self._newest.clear()
        return events

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until there is an event or `timeout` seconds are over; True where there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._events), timeout)
