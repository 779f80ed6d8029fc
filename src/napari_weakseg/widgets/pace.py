"""How often the picture is drawn anew: seldom where drawing is slow, so that the window stays quick."""

import time
from collections.abc import Callable

_SHARE = 0.1  # of the window's time may go into drawing what the machine found
_LONGEST_S = 1.5


class Pace:
    """Tells when to draw again, from how long drawing takes.

    Drawing has two parts: what :meth:`drawn` ends, and the painting of the window right after it, which is noticed
    because the next question comes late.

    Parameters
    ----------
    clock : callable
        Seconds.
    poll_s : float
        How often :meth:`due` is asked.

    Examples
    --------
    >>> now = 0.0
    >>> pace = Pace(lambda: now)
    >>> pace.due()
    True
    >>> now = 0.02
    >>> pace.drawn()
    >>> now = 0.11  # 0.04 s later than a poll of 0.05 s would come: painting took that long
    >>> pace.due()
    False
    >>> now = 0.7
    >>> pace.due()
    True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, poll_s: float = 0.05) -> None:
        self._clock, self._poll_s = clock, poll_s
        self._begun = self._ended = float("-inf")
        self._cost_s = 0.0
        self._fresh = False  # drawn, and not asked since

    def due(self) -> bool:
        """Tell whether to draw now."""
        now = self._clock()
        if self._fresh:
            self._fresh = False
            self._cost_s += max(0.0, now - self._ended - self._poll_s)
        wait = min(self._cost_s / _SHARE, _LONGEST_S)
        if now - self._ended < wait:
            return False
        self._begun = now
        return True

    def drawn(self) -> None:
        """Note that drawing is done."""
        self._ended = self._clock()
        self._cost_s = self._ended - self._begun
        self._fresh = True
