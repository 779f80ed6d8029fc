"""Ordered events are never lost; what only tells the newest state does not pile up."""

import pickle
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_weakseg.engine.mailbox import Mailbox
from napari_weakseg.engine.messages import (
    Conflict,
    Phase,
    Predict,
    Preview,
    Progress,
    Refused,
    Start,
    StateChanged,
    View,
    replaces,
)

TILE = np.zeros((2, 2), np.uint8)
ordered = st.one_of(
    st.builds(StateChanged, st.sampled_from(Phase), st.text(max_size=3)),
    st.builds(Conflict, st.sampled_from("ab"), st.integers(0, 9)),
    st.builds(Refused, st.integers(0, 9), st.just("p"), st.just("r")),
)
replaceable = st.one_of(
    st.builds(Progress, st.integers(0, 99), st.just(0.0), st.just(0.0)),
    st.builds(Preview, st.sampled_from("ab"), st.just(()), st.tuples(st.integers(0, 5)), st.just(TILE)),
)


@given(st.lists(st.one_of(ordered, replaceable, st.none()), max_size=60), st.integers(1, 8))
def test_order_is_kept_nothing_ordered_is_lost_and_the_rest_is_bounded(events, limit):
    mailbox = Mailbox(limit)
    drained = []
    for event in events:
        if event is None:
            drained.append(mailbox.drain())
        else:
            mailbox.put(event)
    drained.append(mailbox.drain())
    got = [event for part in drained for event in part]
    sent = [event for event in events if event is not None]
    assert [e for e in got if replaces(e) is None] == [e for e in sent if replaces(e) is None]
    places = [next(i for i, e in enumerate(sent) if e is g) for g in got if sent.count(g) == 1]
    assert places == sorted(places)
    for part in drained:
        keys = [replaces(e) for e in part if replaces(e) is not None]
        assert len(keys) == len(set(keys)) <= limit


@given(st.lists(replaceable, min_size=1, max_size=40))
def test_the_newest_of_each_kind_arrives(events):
    mailbox = Mailbox()
    for event in events:
        mailbox.put(event)
    newest = {replaces(event): event for event in events}
    got = {replaces(event): event for event in mailbox.drain()}
    assert got.keys() == newest.keys()
    assert all(got[key] is newest[key] for key in got)


def test_several_threads_may_put():
    mailbox = Mailbox()

    def put(name: str) -> None:
        for n in range(500):
            mailbox.put(Conflict(name, n))

    threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    got = []
    while any(thread.is_alive() for thread in threads):
        got += mailbox.drain()
    got += mailbox.drain()
    for name in "abc":
        assert [e.pixels for e in got if e.image == name] == list(range(500))


def test_waiting_ends_with_an_event_or_the_time():
    mailbox = Mailbox()
    assert not mailbox.wait(0.01)
    threading.Timer(0.02, mailbox.put, [Conflict("a", 1)]).start()
    assert mailbox.wait(5)


def test_messages_can_be_sent_to_another_process():
    for message in (
        Start(seconds=3, run_id=1),
        View("a", (1,), (slice(0, 4), slice(2, 6))),
        Predict(1, "a"),
        StateChanged(Phase.IDLE, "Done."),
        Progress(1, 2.0, 0.5, {"set": 0.5}),
    ):
        assert pickle.loads(pickle.dumps(message)) == message
    copy = pickle.loads(pickle.dumps(Preview("a", (), (0, 0), TILE)))
    np.testing.assert_array_equal(copy.labels, TILE)
