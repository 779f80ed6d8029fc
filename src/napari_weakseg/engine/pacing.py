"""When to show something new: soon after a stroke, then ever more seldom."""

import time
from collections.abc import Callable

#: Steps after a stroke before its effect is worth showing.
STEPS_AFTER_STROKE = 3
FIRST_INTERVAL_S = 1.0
LONGEST_INTERVAL_S = 5.0
_GROWTH = 1.5
#: A preview may take this share of the time at most, so that showing does not crowd out learning.
_TIME_SHARE = 0.2

Clock = Callable[[], float]


class Stopwatch:
    """Seconds that count, pauses left out."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._before_s = 0.0
        self._since_s: float | None = None

    def go(self) -> None:
        """Count from now on."""
        if self._since_s is None:
            self._since_s = self._clock()

    def hold(self) -> None:
        """Stop counting."""
        self._before_s, self._since_s = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._before_s + (0.0 if self._since_s is None else self._clock() - self._since_s)


class Pace:
    """Decides when the next preview is due.

    At once for something new on screen, a few steps after a stroke, and else at intervals that grow from 1 s
    to 5 s; longer still where a preview takes long.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._interval_s = FIRST_INTERVAL_S
        self._next_s = 0.0
        self._stroke_step: int | None = None

    def stroke(self, step: int) -> None:
        """Note that marks changed and were taken in at this step."""
        if self._stroke_step is None:  # keep the earliest: painting on and on must not put the preview off
            self._stroke_step = step
        self._interval_s = FIRST_INTERVAL_S

    def now(self) -> None:
        """Something new is on screen."""
        self._next_s = 0.0

    def due(self, step: int) -> bool:
        """Tell whether to predict now."""
        stroke = self._stroke_step is not None and step >= self._stroke_step + STEPS_AFTER_STROKE
        return stroke or self._clock() >= self._next_s

    def shown(self, took_s: float) -> None:
        """Note that a preview was made and how long it took."""
        wait_s = max(self._interval_s, took_s * (1 / _TIME_SHARE - 1))
        self._next_s = self._clock() + wait_s
        self._interval_s = min(self._interval_s * _GROWTH, LONGEST_INTERVAL_S)
        self._stroke_step = None


class Every:
    """True at most once in so many seconds."""

    def __init__(self, interval_s: float, clock: Clock = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._last_s = clock()

    def due(self) -> bool:
        """Tell whether the time is up, and begin anew if so."""
        now_s = self._clock()
        if now_s - self._last_s < self._interval_s:
            return False
        self._last_s = now_s
        return True
