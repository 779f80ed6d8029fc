"""The engine's state machine, as straight code that runs in one thread."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import methodcaller
from typing import Any, Protocol

from napari_weakseg.core.errors import WeaksegError
from napari_weakseg.engine.failures import explain
from napari_weakseg.engine.holder import KEEP_AFTER_PREDICTION_S, KEEP_AFTER_RUN_S, Holder
from napari_weakseg.engine.inbox import Inbox
from napari_weakseg.engine.messages import (
    Conflict,
    Event,
    Finished,
    FinishReason,
    Phase,
    Progress,
    Saved,
    Start,
    StateChanged,
    Status,
)
from napari_weakseg.engine.pacing import Every, Pace, Stopwatch
from napari_weakseg.engine.progress import History, MarkCount, sentence
from napari_weakseg.engine.protocol import Report, TrainerProtocol
from napari_weakseg.engine.showing import Showing, doing, refusal

REPORT_INTERVAL_S = 0.5
GROWN_INTERVAL_S = 5.0
#: Training time that a killed process may cost.
SAVE_INTERVAL_S = 60.0
#: A rest between two steps, in which a window gets the interpreter lock without asking for it.
BREATH_S = 0.0005

_log = logging.getLogger(__name__)


class Counter(Protocol):
    """Counts what there is to learn from."""

    def changed(self, image: str) -> None:
        """Forget the count of an image."""

    def __call__(self) -> MarkCount:
        """Count what there is now."""


class Loop:
    """Does what the inbox asks for, until it asks for the end.

    ::

        idle ── Start ──▶ preparing ──▶ training ◀── Pause, Resume ──▶ paused
          ▲                  │              │                            │
          └──── Stop, end of the budget ────┴────────────────────────────┘
        failed: as idle, after an error     predicting: from idle, training or paused and back
        closed: after Shutdown, from anywhere

    Commands are read between steps, between tiles and between stages of preparing; nothing is ever killed.
    """

    def __init__(
        self,
        inbox: Inbox,
        holder: Holder,
        showing: Showing,
        post: Callable[[Event], None],
        *,
        count_marks: Counter,
        record: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._inbox = inbox
        self._holder = holder
        self._showing = showing
        self._post = post
        self._count_marks = count_marks
        self._record = record
        self.status = Status(trained=holder.trained)
        self._watch = Stopwatch()
        self._run = Start()
        self._run_step = 0
        self._conflicts: dict[str, int] = {}

    def run(self) -> None:
        """Work until Shutdown."""
        while not self._inbox.shutdown:
            self._inbox.read(0.0 if self._inbox.waiting else self._holder.rest_s)
            self._tell_cancelled()
            self._inbox.stop = False
            if not self._inbox.shutdown:
                try:
                    self._turn()
                except Exception as error:
                    self._fail(error)
        self._tell_cancelled()
        self._save()
        self._holder.release()

    def say(self, message: str) -> None:
        """Tell the person something without a change of phase."""
        self._enter(self.status.phase, message)

    def _turn(self) -> None:
        """Do one thing while nothing is trained."""
        inbox = self._inbox
        self._take_in_strokes()
        if inbox.start is not None:
            start, inbox.start = inbox.start, None
            self._train(start)
        elif inbox.save:
            if self._save():
                self._holder.release_in(KEEP_AFTER_RUN_S)
        elif inbox.requests:
            self._answer()
            self._holder.release_in(KEEP_AFTER_PREDICTION_S)
        elif inbox.view_changed:
            self._preview_at_rest()
        elif self._holder.rest_s == 0.0:
            self._holder.release()

    def _preview_at_rest(self) -> None:
        if not self._holder.trained:
            self._inbox.view_changed = False
            return
        inbox, rest_s = self._inbox, self._holder.rest_s
        self._showing.preview(
            ends=lambda: inbox.interrupted or inbox.view_changed or bool(inbox.start or inbox.requests)
        )
        self._holder.release_in(KEEP_AFTER_PREDICTION_S if rest_s is None else rest_s)

    # ------------------------------------------------------------------ a run

    def _train(self, start: Start) -> None:
        self._begin(start)
        reason: FinishReason = "failed"
        try:
            if self._prepare(start):
                self._enter(Phase.TRAINING, "Learning.")
                reason = self._steps()
            else:
                reason = "stopped"
        except Exception as error:
            self._fail(error)
        if reason == "failed":  # outside of the except block: a traceback keeps arrays alive
            self._holder.release()
        self._end(reason)

    def _begin(self, start: Start) -> None:
        self._run, self._watch = start, Stopwatch()
        self._run_step = self._began_step = 0
        self._history = History()
        self._reports, self._growths, self._saves = (
            Every(REPORT_INTERVAL_S),
            Every(GROWN_INTERVAL_S),
            Every(SAVE_INTERVAL_S),
        )
        self._showing.pace = Pace()
        self._rounds = -1
        self._last: Report | None = None
        self._conflicts = {}

    def _prepare(self, start: Start) -> bool:
        """Make a trainer ready; False where a Stop came."""
        self._enter(Phase.PREPARING, "Getting ready.")
        self._save()
        saved = self._holder.usable if start.resume else []
        for path in [*saved, None]:
            self._holder.make()
            if not self._holder.surviving(self._prepared):
                self._holder.release()
                return False
            self._holder.prepared = True
            if path is None or self._holder.load(path):
                break
        self._run_step = self._began_step = self._holder.steps
        self._tell_conflicts()
        return True

    def _prepared(self, trainer: TrainerProtocol) -> bool:
        for stage in trainer.prepare():
            self._enter(Phase.PREPARING, stage)
            self._inbox.read()
            if self._inbox.interrupted:
                return False
        return True

    def _steps(self) -> FinishReason:
        """Train until the budget is spent or something else is wanted."""
        self._watch.go()
        while True:
            self._inbox.read()
            self._see_to_commands()
            reason = self._reason_to_end()
            if reason is not None:
                if self._holder.steps > self._began_step:
                    self._report()
                return reason
            if self._inbox.paused:
                self._hold()
                continue
            self._holder.surviving(lambda trainer: trainer.step())
            self._tell()
            time.sleep(BREATH_S)

    def _see_to_commands(self) -> None:
        self._tell_cancelled()
        self._take_in_strokes()
        if self._inbox.save:
            self._save()
        while self._inbox.requests and not self._inbox.interrupted and (self._holder.steps or self._inbox.paused):
            self._answer()

    def _reason_to_end(self) -> FinishReason | None:
        if self._inbox.interrupted:
            return "stopped"
        if self._inbox.start is not None:
            if not self._inbox.start.resume:
                return "replaced"
            self._adopt(self._inbox.start)
        steps, seconds = self._run.steps, self._run.seconds
        spent = steps is not None and self._holder.steps - self._run_step >= steps
        late = seconds is not None and self._watch.seconds >= seconds
        return "budget" if spent or late else None

    def _adopt(self, start: Start) -> None:
        """Let a new run go on with the trainer of the old one."""
        self._finished("replaced")
        self._inbox.start = None
        self._run, self._run_step, self._watch = start, self._holder.steps, Stopwatch()
        self._watch.go()

    def _hold(self) -> None:
        """Wait for Resume, or for anything that ends the run."""
        self._watch.hold()
        self._enter(Phase.PAUSED, "Paused.")
        self._inbox.view_changed |= self._inbox.view is not None
        while self._inbox.paused and self._inbox.start is None and not self._inbox.interrupted:
            self._see_to_commands()
            if self._inbox.view_changed:
                self._show(lambda: self._inbox.interrupted or not self._inbox.paused or self._inbox.view_changed)
            else:
                self._inbox.read(None)
        self._watch.go()
        if not self._inbox.interrupted:
            self._enter(Phase.TRAINING, "Learning.")

    def _end(self, reason: FinishReason) -> None:
        """Save, say so, and give the memory back soon."""
        self._watch.hold()
        if reason != "failed" and not self._save():
            reason = "failed"
            self._enter(Phase.FAILED, "What was learned could not be saved; it is kept in memory.")
        elif reason != "failed":
            self._note_in_history()
            self._enter(Phase.IDLE, "Stopped." if reason == "stopped" else "Done.")
            self._inbox.view_changed |= self._inbox.view is not None and self._holder.steps > 0
            self._holder.release_in(KEEP_AFTER_RUN_S)
        self._finished(reason)

    def _note_in_history(self) -> None:
        if self._last is None:
            return
        entry = {
            "event": "trained",
            "step": self._last.step,
            "seconds": round(self._watch.seconds, 1),
            "loss": self._last.loss,
            "quality": self._last.quality,
        }
        try:
            self._record(entry)
        except Exception:  # a line in a log is not worth an error
            _log.exception("cannot write the history")

    def _finished(self, reason: FinishReason) -> None:
        self._post(Finished(self._run.run_id, reason, self.status.step, self._watch.seconds))

    # --------------------------------------------------------------- telling

    def _tell(self) -> None:
        """Report, preview and save where due."""
        view = self._inbox.view
        if self._reports.due():
            self._report()
        if view is not None and (self._inbox.view_changed or self._showing.pace.due(self._holder.steps)):
            self._show(lambda: self._inbox.interrupted or self._inbox.paused or self._inbox.view_changed)
        if view is not None and self._growths.due():
            self._showing.grown()
        if self._saves.due():
            self._save()

    def _show(self, ends: Callable[[], bool]) -> None:
        if self._holder.steps:
            self._showing.preview(ends=ends)
        else:
            self._inbox.view_changed = False

    def _report(self) -> None:
        report = self._holder.surviving(lambda trainer: trainer.report())
        self._last = report
        self._history.add(report.loss, report.quality)
        count, seconds = self._count_marks(), self._watch.seconds
        self.status = replace(self.status, step=report.step, seconds=seconds, trained=report.step > 0)
        self._post(
            Progress(
                report.step,
                seconds,
                report.loss,
                dict(report.terms),
                report.quality,
                report.quality_n,
                report.note,
                count.marks,
                count.images,
                sentence(count, seconds, self._history.trend),
                self._run.seconds,
                self._run.steps,
            )
        )
        if report.rounds != self._rounds:
            self._rounds = report.rounds
            self._showing.grown()

    def _take_in_strokes(self) -> None:
        changed, self._inbox.changed = self._inbox.changed, []
        for image in changed:
            self._count_marks.changed(image)
            if self._holder.trainer is not None and self._holder.prepared:
                self._holder.surviving(methodcaller("annotations_changed", image))
                self._showing.pace.stroke(self._holder.steps)
        if changed:
            self._tell_conflicts()

    def _tell_conflicts(self) -> None:
        if self._holder.trainer is None or not self._holder.prepared:
            return
        found = {name: n for name, n in self._holder.trainer.conflicts().items() if n}
        for name in {**self._conflicts, **found}:
            if found.get(name, 0) != self._conflicts.get(name, 0):
                self._post(Conflict(name, found.get(name, 0)))
        self._conflicts = found

    def _tell_cancelled(self) -> None:
        inbox = self._inbox
        for request in inbox.cancelled:
            self._post(refusal(request))
        for start in inbox.replaced:
            self._post(Finished(start.run_id, "replaced", self.status.step, 0.0))
        for start in inbox.stopped:
            self._post(Finished(start.run_id, "stopped", self.status.step, 0.0))
        if inbox.stopped:  # the window took it for begun
            self._enter(self.status.phase, self.status.message or "Stopped.")
        inbox.cancelled, inbox.replaced, inbox.stopped = [], [], []

    def _answer(self) -> None:
        """Meet the oldest request, in the phase `predicting`; it does not count as training time."""
        request = self._inbox.requests.popleft()
        before = self.status
        self._watch.hold()
        self._enter(Phase.PREDICTING, doing(request))
        self._showing.answer(request)
        training = before.phase is Phase.TRAINING
        if training:
            self._watch.go()
        self._enter(Phase.IDLE if before.phase is Phase.FAILED else before.phase, before.message)

    def _fail(self, error: Exception) -> None:
        expected = isinstance(error, WeaksegError)  # told in words; its traceback helps nobody
        _log.log(logging.INFO if expected else logging.ERROR, "the engine failed", exc_info=error)
        failure = explain(error)
        self._post(failure)
        self._enter(Phase.FAILED, failure.problem)

    def _save(self) -> bool:
        """Save what is new; where the disk refuses say so, keep it in memory and return False."""
        self._inbox.save = False
        try:
            path = self._holder.save()
        except Exception as error:
            _log.exception("cannot save")
            self._post(explain(error))
            return False
        if path is not None:
            self._post(Saved(path))
        return True

    def _enter(self, phase: Phase, message: str) -> None:
        trained = self._holder.trained
        self.status = replace(self.status, phase=phase, message=message, seconds=self._watch.seconds, trained=trained)
        self._post(StateChanged(phase, message))
