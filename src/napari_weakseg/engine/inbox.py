"""Commands on their way to the engine thread, gathered into what it has to see to at its next boundary."""

from collections import deque
from queue import Empty, SimpleQueue

from napari_weakseg.engine.messages import (
    AnnotationsChanged,
    Command,
    Grow,
    Pause,
    Predict,
    Request,
    Resume,
    Review,
    Save,
    Shutdown,
    Start,
    Stop,
    Store,
    Suggest,
    View,
)


class Inbox:
    """A queue of commands and the wishes they add up to.

    `send` may be called from any thread; everything else belongs to the engine thread. Commands take effect
    in the order of sending: a Stop ends what was asked for before it, not what comes after.

    Attributes
    ----------
    start : Start or None
        A run that waits to begin.
    stop, paused, save, shutdown : bool
    changed : list of str
        Images whose marks changed, each once.
    view : View or None
        What is on screen.
    view_changed : bool
        Nothing was predicted for it yet.
    requests : deque of Request
    replaced, stopped : list of Start
        Runs that never began, because of another Start or a Stop.
    cancelled : list of Request
        Those that a Stop ended before they were met.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Command] = SimpleQueue()
        self.start: Start | None = None
        self.stop = False
        self.paused = False
        self.save = False
        self.shutdown = False
        self.changed: list[str] = []
        self.view: View | None = None
        self.view_changed = False
        self.requests: deque[Request] = deque()
        self.replaced: list[Start] = []
        self.stopped: list[Start] = []
        self.cancelled: list[Request] = []

    def send(self, command: Command) -> None:
        """Add a command; returns at once."""
        self._queue.put(command)

    def read(self, timeout: float | None = 0.0) -> None:
        """Take in every command that has come; wait for one, at most `timeout` seconds if given."""
        try:
            if timeout is None or timeout > 0:
                self._take(self._queue.get(timeout=timeout))
            while True:
                self._take(self._queue.get_nowait())
        except Empty:
            return

    @property
    def interrupted(self) -> bool:
        """What is going on is to end at once."""
        return self.stop or self.shutdown

    @property
    def waiting(self) -> bool:
        """Something is to be done even where nothing is trained."""
        return bool(
            self.start
            or self.requests
            or self.cancelled
            or self.replaced
            or self.stopped
            or self.view_changed
            or self.changed
            or self.save
            or self.shutdown
        )

    def _take(self, command: Command) -> None:
        match command:
            case Start():
                if self.start is not None:
                    self.replaced.append(self.start)
                self.start, self.paused = command, False
            case Stop() | Shutdown():
                self._cancel()
                self.stop = True
                self.shutdown |= isinstance(command, Shutdown)
            case Pause():
                self.paused = True
            case Resume():
                self.paused = False
            case AnnotationsChanged(image):
                if image not in self.changed:
                    self.changed.append(image)
            case View():
                self.view_changed |= command != self.view and command.image is not None
                self.view = command if command.image is not None else None
            case Predict() | Store() | Grow() | Suggest() | Review():
                self.requests.append(command)
            case Save():
                self.save = True

    def _cancel(self) -> None:
        if self.start is not None:
            self.stopped.append(self.start)
        self.start, self.paused = None, False
        self.cancelled += self.requests
        self.requests.clear()

    def left(self) -> list[Command]:
        """Take out what still waits for an answer, read or not."""
        left: list[Command] = [*self.stopped, *self.replaced, *self.cancelled, *self.requests]
        left += [self.start] if self.start is not None else []
        while True:
            try:
                left.append(self._queue.get_nowait())
            except Empty:
                return left
