"""The thread the engine lives in, and its door to the outside."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from napari_weakseg.engine.checkpoints import Checkpoints
from napari_weakseg.engine.failures import explain
from napari_weakseg.engine.holder import Holder
from napari_weakseg.engine.inbox import Inbox
from napari_weakseg.engine.loop import Counter, Loop
from napari_weakseg.engine.mailbox import Mailbox
from napari_weakseg.engine.messages import (
    Command,
    Finished,
    Grow,
    Phase,
    Predict,
    Refused,
    Review,
    Shutdown,
    Start,
    StateChanged,
    Status,
    Store,
    Suggest,
)
from napari_weakseg.engine.protocol import TrainerProtocol
from napari_weakseg.engine.showing import Showing

THREAD_NAME = "weakseg-engine"
_log = logging.getLogger(__name__)


def _no_record(entry: Mapping[str, Any]) -> None:
    return None


class Runner:
    """Runs trainers in a thread of its own, which begins with the first command.

    Parameters
    ----------
    make_trainer : callable
        Called in the thread; torch may be imported there.
    mailbox : Mailbox
        Where events go.
    checkpoints : Checkpoints
    count_marks : Counter
        Tells what there is to learn from.
    record : callable, optional
        Takes an entry for the project's history after each run.

    Notes
    -----
    The thread is a daemon and sleeps while there is nothing to do. All methods may be called from any thread.
    """

    def __init__(
        self,
        make_trainer: Callable[[], TrainerProtocol],
        mailbox: Mailbox,
        checkpoints: Checkpoints,
        *,
        count_marks: Counter,
        record: Callable[[Mapping[str, Any]], None] = _no_record,
    ) -> None:
        self._mailbox = mailbox
        self._inbox = Inbox()
        holder = Holder(make_trainer, checkpoints, self._say)
        showing = Showing(holder, self._inbox, mailbox.put, self._say)
        self._loop = Loop(self._inbox, holder, showing, mailbox.put, count_marks=count_marks, record=record)
        self._lock = threading.RLock()  # re-entered where garbage collection closes a session within `send`
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def status(self) -> Status:
        """What the engine is doing at this moment."""
        return self._loop.status

    def send(self, command: Command) -> None:
        """Hand over a command and return at once; after `shutdown` what wants an answer is refused."""
        with self._lock:
            if self._closed:
                self._turn_away(command)
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
                self._thread.start()
            self._inbox.send(command)

    def shutdown(self, timeout: float | None = None) -> bool:
        """Save, free everything and end the thread; False where that takes longer than `timeout` seconds."""
        with self._lock:
            thread = self._thread
            if thread is None and not self._closed:
                self._close()
            elif not self._closed:
                self._inbox.send(Shutdown())
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _say(self, message: str) -> None:
        self._loop.say(message)

    def _work(self) -> None:
        try:
            self._loop.run()
        except BaseException as error:  # whatever it is, nobody must be left waiting
            _log.exception("the engine thread broke off")
            self._mailbox.put(explain(error))
        finally:
            with self._lock:
                self._close()
                for command in self._inbox.left():
                    self._turn_away(command)

    def _close(self) -> None:
        self._closed = True
        self._loop.status = replace(self._loop.status, phase=Phase.CLOSED, message="Closed.")
        self._mailbox.put(StateChanged(Phase.CLOSED, "Closed."))

    def _turn_away(self, command: Command) -> None:
        match command:
            case Start():
                self._mailbox.put(Finished(command.run_id, "stopped", self.status.step, 0.0))
            case Predict() | Store() | Grow() | Suggest() | Review():
                self._mailbox.put(
                    Refused(command.request_id, "The session is closed.", "Open the project in a new session.")
                )
