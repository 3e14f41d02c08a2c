"""The own flow's pace and its round trips, without a socket; what pairs of windows say of a stress."""

from bench.paced import ANSWER_BYTES, GRACE, REQUESTS, Pace, Window, share
from bench.stress import Pair, Stressed, shared, told

STEP = 1 / REQUESTS


def test_requests_fall_due_at_their_pace_and_those_that_are_late_all_at_once() -> None:
    pace = Pace(10.0, 0.01)
    assert (pace.ask(10.0), pace.ask(10.0 + STEP / 2)) == (1, 0)
    assert pace.next == 10.0 + STEP
    assert pace.ask(10.0 + 3.5 * STEP) == 3
    assert pace.ask(11.0) == 6
    assert pace.next is None
    assert not pace.over


def test_a_round_trip_is_counted_from_when_it_was_due_and_not_from_when_it_was_sent() -> None:
    pace = Pace(0.0, 2 * STEP)
    pace.ask(1.5 * STEP)
    pace.take(ANSWER_BYTES + 1, 1.5 * STEP)
    pace.take(ANSWER_BYTES - 1, 1.75 * STEP)
    assert pace.over
    window = pace.window()
    assert (window.due, window.delivered) == (2 * ANSWER_BYTES, 2 * ANSWER_BYTES)
    assert [round(each) for each in (window.median, window.highest)] == [1500, 1500]


def test_what_comes_after_the_window_is_answered_and_not_delivered() -> None:
    pace = Pace(0.0, STEP)
    pace.ask(0.0)
    pace.take(ANSWER_BYTES, 3 * STEP)
    assert (pace.window().delivered, round(pace.window().median)) == (0, 3000)


def test_what_never_comes_counts_as_long_as_it_was_waited_for() -> None:
    pace = Pace(0.0, 3 * STEP)
    pace.ask(STEP)
    window = pace.window()
    assert window.delivered == 0
    # Two were asked, the last never; the oldest waited longest.
    assert (round(window.median), round(window.highest)) == tuple(round(1e6 * (GRACE + n * STEP)) for n in (2, 3))


def test_a_part_of_ordered_values() -> None:
    hundred = [float(number) for number in range(100)]
    assert (share(hundred, 0.5), share(hundred, 0.99), share([3.0], 0.99), share([], 0.5)) == (50.0, 99.0, 3.0, 0.0)


def stressed(delivered: int, trip: float, flood: float = 200_000, lost: int = 0) -> Stressed:
    flow = Window(due=1000, delivered=delivered, median=trip, highest=10 * trip)
    return Stressed(flow=flow, flood=flood, agent=0.15, accepted=100_000, lost=lost)


def test_a_flow_that_keeps_what_it_had_meets_its_goals_on_a_machine_whose_pace_drifts() -> None:
    measured = [
        Pair(untraced=stressed(1000, 80.0 * 2**n), armed=stressed(990, 84.0 * 2**n, lost=25_000)) for n in range(6)
    ]
    delivered, middle, highest, agent = told("is flooded", measured)
    assert [round(each["ours"] or 0, 4) for each in (delivered, middle, highest, agent)] == [0.99, 1.05, 1.05, 15.0]
    assert [each["met"] for each in (delivered, middle, highest, agent)] == [True, True, None, None]
    assert delivered["note"] == "6 pairs: median 0.990, 97% between 0.990 and 0.990"
    assert "of 200,000 packets/s the trace lost 25.0%" in agent["note"]


def test_a_flow_that_is_slowed_does_not() -> None:
    delivered, middle, *_ = told("x", [Pair(untraced=stressed(1000, 80.0), armed=stressed(900, 120.0))] * 6)
    assert (delivered["met"], middle["met"]) == (False, False)


def test_a_flood_that_the_capture_held_up_is_another_stress() -> None:
    rows = told("x", [Pair(untraced=stressed(1000, 80.0), armed=stressed(1000, 80.0, flood=100_000))] * 6)
    assert [each["met"] for each in rows] == [None] * 4
    assert all(each["note"].startswith("void: with a capture armed 50% of the flood came") for each in rows)


def test_beside_a_process_that_computes_the_slowest_are_told_without_a_goal() -> None:
    told_of = shared([Pair(untraced=stressed(1000, 20.0), armed=stressed(1000, 50.0))] * 6)
    assert (told_of["ours"], told_of["met"]) == (2.5, None)
    assert "what any process does that computes in such turns; no goal; 500 µs and 200 µs" in told_of["note"]
