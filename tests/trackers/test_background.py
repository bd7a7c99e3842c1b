"""Calls in a thread of their own: their order, their bound."""

import threading

from tutelage.trackers.background import BACKLOG, BackgroundCalls


def test_calls_are_made_in_their_order_after_the_first():
    made = []
    calls = BackgroundCalls("a", lambda: made.append("first"))
    for number in range(5):
        calls.put(lambda number=number: made.append(number))
    calls.close()
    assert calls.join(30)
    assert made == ["first", 0, 1, 2, 3, 4]
    assert tuple(calls.counts()) == (0, 0, 0)


def test_the_backlog_is_bounded_for_what_may_be_left_out():
    go_on, made = threading.Event(), []
    calls = BackgroundCalls("a", go_on.wait)
    for number in range(3 * BACKLOG):
        calls.put(lambda number=number: made.append(number), optional=True)
    for number in range(2 * BACKLOG):
        calls.put(lambda number=-1 - number: made.append(number))
    assert tuple(calls.counts()) == (2 * BACKLOG, 0, 3 * BACKLOG)
    assert not calls.join(0.01)
    go_on.set()
    calls.close()
    assert calls.join(30)
    assert made == [*range(BACKLOG), *range(-1, -1 - 2 * BACKLOG, -1)]


def test_waiting_for_the_first_ends_when_it_fails():
    def fail():
        raise OSError

    calls = BackgroundCalls("a", fail)
    calls.wait_for_first(30)
    assert calls.trouble == "OSError"
    calls.close()
    assert calls.join(30)
