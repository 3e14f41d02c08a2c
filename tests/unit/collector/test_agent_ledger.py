"""What the collector counts of one agent's packets, over broken streams, restarts and workers that were killed: it adds up."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from journeys import CART_REDIS, handshake
from small_cluster import NODE_1

from pathtap import wire
from pathtap.collector.agents import Agent, Agents, NoAgent
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureEnded, CaptureRequest, CaptureStats, EndCapture, Failure
from pathtap.v1 import agent_pb2 as pb

SEEN = [each for each in handshake() if each.node == NODE_1]
REQUEST = CaptureRequest(id="c", protocol=6, near=(CART_REDIS.source,))


def collector() -> Agents:
    return Agents(lambda: 0)


def join(agents: Agents, packets: int = 0, boot_id: str = "boot") -> Agent:
    hello = pb.ConnectRequest(node=NODE_1, boot_id=boot_id, hello=pb.Hello(packets=packets))
    return agents.join(hello)


def batch(number: int, packets: int, lost: Sequence[Lost] = (), capture: str = "c") -> pb.ConnectRequest:
    own = [replace(SEEN[0], capture=capture, sequence=number * 100 + each) for each in range(packets)]
    return pb.ConnectRequest(node=NODE_1, sequence=number, batch=wire.batch_to_wire(own, lost))


def answer(number: int, command: int, said: CaptureEnded | Failure) -> pb.ConnectRequest:
    return pb.ConnectRequest(node=NODE_1, sequence=number, answer=wire.answer_to_wire(command, said))


def lost(where: str, count: int) -> Lost:
    return Lost(node=NODE_1, where=where, count=count, capture="c", interface="eth0")


def ended(received: int) -> CaptureEnded:
    return CaptureEnded(id="c", stats=(CaptureStats(interface="eth0", received=received, dropped=0),))


def sums(agent: Agent) -> tuple[int, int, dict[str, int]]:
    """Accepted, delivered, lost; what `nodes` shows."""
    ledger = agent.ledger
    return ledger.accepted, ledger.delivered, {where: count for where, count in ledger.losses.items() if count}


def test_a_collector_that_was_restarted_misses_only_what_was_sent_to_itself() -> None:
    agents = collector()
    first = join(agents, packets=5_000)
    agents.receive(first, batch(7, 3))
    agents.leave(first)
    again = join(agents, packets=5_003)
    assert sums(again) == (0, 0, {})
    agents.receive(again, batch(9, 2))
    agents.leave(again)
    assert sums(join(agents, packets=5_009)) == (4, 0, {"stream": 4})


def test_what_comes_late_on_a_stream_that_was_replaced_is_lost_once_and_not_delivered_too() -> None:
    agents = collector()
    with agents.capture("c") as log:
        former = join(agents)
        agents.tell(NODE_1, REQUEST)
        agents.receive(former, batch(1, 2))
        current = join(agents, packets=5)
        agents.receive(former, batch(2, 3))
        assert [(each.where, each.count) for each in log.lost] == [("stream", 3)]
        assert sum(log.delivered.values()) == 2
    assert sums(current) == (3, 0, {"stream": 3})


def test_a_batch_that_is_sent_again_on_the_next_stream_is_counted_once() -> None:
    agents = collector()
    with agents.capture("c") as log:
        former = join(agents)
        agents.tell(NODE_1, REQUEST)
        agents.receive(former, batch(1, 2))
        agents.leave(former)
        current = join(agents, packets=0)
        agents.receive(current, batch(1, 2))
        agents.receive(current, batch(3, 1))
        assert sum(log.delivered.values()) == 3
        assert log.lost == ()
    agents.leave(current)
    assert sums(join(agents, packets=3))[2] == {}


def test_the_end_of_a_capture_says_what_was_accepted() -> None:
    agents = collector()
    agent = join(agents)
    agents.tell(NODE_1, REQUEST)
    agents.receive(agent, batch(1, 2, [lost("kernel", 4)]))
    assert sums(agent) == (0, 2, {"kernel": 4})
    agents.tell(NODE_1, EndCapture(id="c"))
    agents.receive(agent, answer(2, 2, ended(6)))
    assert sums(agent) == (6, 2, {"kernel": 4})


def test_of_a_capture_that_died_with_its_worker_what_is_known_was_accepted() -> None:
    agents = collector()
    agent = join(agents)
    agents.tell(NODE_1, REQUEST)
    agents.receive(agent, batch(1, 2, [lost("spool", 4)]))
    agents.receive(agent, batch(2, 0, [lost("worker", 0)]))
    agents.tell(NODE_1, EndCapture(id="c"))
    agents.receive(agent, answer(3, 2, Failure(reason="No capture c is armed.")))
    assert sums(agent) == (6, 2, {"spool": 4})
    # One that was being armed when it was ended delivers a little more.
    agents.receive(agent, batch(4, 1))
    assert sums(agent) == (7, 3, {"spool": 4})


def test_what_is_left_of_captures_of_an_earlier_stream_was_accepted_too() -> None:
    agents = collector()
    agents.leave(join(agents))
    agent = join(agents)
    agents.receive(agent, batch(1, 3, [lost("spool", 2), lost("stream", 0)]))
    assert sums(agent) == (5, 3, {"spool": 2})


def test_an_end_that_nobody_asked_for_is_not_believed() -> None:
    agents = collector()
    agent = join(agents)
    agents.receive(agent, answer(1, 9, ended(6)))
    assert sums(agent) == (0, 0, {})


def test_what_two_captures_of_one_agent_accepted_is_added_and_kept_apart() -> None:
    agents = collector()
    agent = join(agents)
    for capture in ("c", "d"):
        agents.tell(NODE_1, replace(REQUEST, id=capture))
    agents.receive(agent, batch(1, 2))
    agents.receive(agent, batch(2, 5, capture="d"))
    agents.tell(NODE_1, EndCapture(id="c"))
    agents.receive(agent, answer(3, 3, ended(2)))
    assert sums(agent) == (2, 7, {})
    agents.tell(NODE_1, EndCapture(id="d"))
    agents.receive(agent, answer(4, 4, replace(ended(9), id="d")))
    assert sums(agent) == (11, 7, {})


def test_what_one_capture_lost_is_no_loss_of_another() -> None:
    agents = collector()
    agent = join(agents)
    with agents.capture("c") as log, agents.capture("d") as other:
        agents.tell(NODE_1, REQUEST)
        agents.tell(NODE_1, replace(REQUEST, id="d"))
        agents.receive(agent, batch(1, 0, [lost("kernel", 4)]))
        assert (len(log.lost), other.lost) == (1, ())
        everybodys = replace(lost("stream", 1), capture="")
        agents.receive(agent, batch(2, 0, [everybodys]))
        assert (len(log.lost), other.lost) == (2, (everybodys,))


def test_an_agent_says_nothing_of_a_capture_that_it_was_not_asked_for() -> None:
    """Nor of each, where it names none: what it says would stand in everybody's answers."""
    agents = collector()
    agent = join(agents)
    with agents.capture("c") as log:
        everybodys = replace(lost("stream", 1), capture="")
        agents.receive(agent, batch(1, 2, [lost("kernel", 4), everybodys]))
        assert (log.observations, log.lost, dict(log.delivered)) == ((), (), {})
        agents.tell(NODE_1, REQUEST)
        agents.receive(agent, batch(2, 2, [lost("kernel", 4), everybodys]))
        assert (len(log.observations), len(log.lost)) == (2, 2)


def test_what_the_collector_has_no_room_for_is_accepted_and_lost_there() -> None:
    agents = Agents(lambda: 0, most=0)
    with agents.capture("c"):
        agent = join(agents)
        agents.tell(NODE_1, REQUEST)
        agents.receive(agent, batch(1, 2))
        agents.tell(NODE_1, EndCapture(id="c"))
        agents.receive(agent, answer(2, 2, ended(2)))
    assert sums(agent) == (2, 0, {"collector": 2})


def test_a_collector_that_stops_does_not_say_of_agents_that_they_are_not_there() -> None:
    agents = collector()
    agent = join(agents)
    agents.dismiss()
    with pytest.raises(NoAgent, match="the collector stops"):
        agents.of(NODE_1)
    assert agent.gone == "the collector stops"
