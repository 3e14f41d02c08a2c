"""The session's conversations, told as plays: what comes in on the left, what is ordered on the right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap.agent.session import (
    LONGEST_WAIT,
    Broke,
    Connected,
    Dial,
    Elapsed,
    EndCaptures,
    Event,
    Exit,
    HangUp,
    Order,
    Perform,
    Received,
    Session,
    Start,
    State,
    Stop,
    Wait,
)
from pathtap.v1.agent_pb2 import ConnectResponse, EndCapture, ReadSnapshot

Play = list[tuple[Event, tuple[Order, ...]]]
READ = ConnectResponse(command=1, read_snapshot=ReadSnapshot())
END = ConnectResponse(command=2, end_capture=EndCapture(id="a"))
STOPPED = EndCaptures("the agent was stopped")


def refused(lived: float = 0.0, jitter: float = 0.0) -> Broke:
    return Broke("connection refused", lived, jitter)


PLAYS: dict[str, Play] = {
    "connects and does what it is told": [
        (Start(), (Dial(),)),
        (Connected(), ()),
        (Received(READ), (Perform(READ),)),
        (Received(END), (Perform(END),)),
    ],
    "backs off while nobody is there": [
        (Start(), (Dial(),)),
        (refused(), (Wait(0.1),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(0.2),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(0.4),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(0.8),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(1.6),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(2.0),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(2.0),)),
    ],
    "resumes: ends captures, waits, dials, goes on": [
        (Start(), (Dial(),)),
        (Connected(), ()),
        (Broke("reset", 60.0, 0.0), (EndCaptures("reset"), Wait(0.1))),
        (Elapsed(), (Dial(),)),
        (Connected(), ()),
        (Received(READ), (Perform(READ),)),
    ],
    "a stream refused at once is no success": [
        (Start(), (Dial(),)),
        (Connected(), ()),
        (Broke("replaced", 0.01, 0.0), (EndCaptures("replaced"), Wait(0.1))),
        (Elapsed(), (Dial(),)),
        (Connected(), ()),
        (Broke("replaced", 0.01, 0.0), (EndCaptures("replaced"), Wait(0.2))),
    ],
    "a long life starts the back-off anew": [
        (Start(), (Dial(),)),
        (refused(), (Wait(0.1),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(0.2),)),
        (Elapsed(), (Dial(),)),
        (Connected(), ()),
        (Broke("reset", 2.1, 0.0), (EndCaptures("reset"), Wait(0.1))),
    ],
    "comes back slowly where it is not let in, and as before once that is over": [
        (Start(), (Dial(),)),
        (Broke("who are you", 0.1, 0.0, refused=True), (Wait(30.0),)),
        (Elapsed(), (Dial(),)),
        (Broke("who are you", 0.1, 0.5, refused=True), (Wait(22.5),)),
        (Elapsed(), (Dial(),)),
        (refused(), (Wait(0.1),)),
    ],
    "comes back at once where it was let in, and is not any more: there may be another token by now": [
        (Start(), (Dial(),)),
        (Connected(), ()),
        (Broke("expired", 3600.0, 0.0, refused=True), (EndCaptures("expired"), Wait(0.1))),
        (Elapsed(), (Dial(),)),
        (Broke("who are you", 0.1, 0.0, refused=True), (Wait(30.0),)),
    ],
    "chance shortens the wait by up to half": [
        (Start(), (Dial(),)),
        (refused(jitter=0.5), (Wait(0.1 * 0.75),)),
    ],
    "stops while it talks: captures first": [
        (Start(), (Dial(),)),
        (Connected(), ()),
        (Stop(), (STOPPED, HangUp())),
        (Received(READ), ()),
        (Stop(), ()),
        (Broke("hung up", 5.0, 0.0), (Exit(),)),
    ],
    "stops while it dials": [
        (Start(), (Dial(),)),
        (Stop(), (HangUp(),)),
        (Connected(), ()),
        (refused(), (Exit(),)),
    ],
    "stops while it waits": [(Start(), (Dial(),)), (refused(), (Wait(0.1),)), (Stop(), (Exit(),)), (Elapsed(), ())],
    "stops before it starts": [(Stop(), (Exit(),)), (Start(), ())],
}


@pytest.mark.parametrize("name", PLAYS)
def test_play(name: str) -> None:
    session = Session()
    for number, (event, orders) in enumerate(PLAYS[name], start=1):
        assert session.handle(event) == orders, f"line {number}, {event}"


EVENTS = st.one_of(
    st.sampled_from([Start(), Connected(), Received(READ), Elapsed(), Stop()]),
    st.builds(Broke, st.just("reset"), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True)),
)


@given(events=st.lists(EVENTS, max_size=60))
def test_whatever_happens(events: list[Event]) -> None:
    """In any order of events: waits are short, a command is carried out only on a stream, a broken stream ends captures."""
    session = Session()
    for event in events:
        before = session.state
        orders = session.handle(event)
        assert all(0 < order.seconds <= LONGEST_WAIT for order in orders if isinstance(order, Wait))
        assert before is State.TALKING or not any(isinstance(order, Perform) for order in orders)
        left = before is State.TALKING and session.state is not State.TALKING
        assert left == any(isinstance(order, EndCaptures) for order in orders)
        assert (Exit() in orders) == (before is not State.OVER and session.state is State.OVER)


def test_a_night_without_a_collector() -> None:
    session = Session()
    session.handle(Start())
    for _ in range(20_000):
        orders = session.handle(refused())
        session.handle(Elapsed())
    assert orders == (Wait(LONGEST_WAIT),)
