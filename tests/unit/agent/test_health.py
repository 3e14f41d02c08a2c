"""The health endpoint: its answers, and refusals for everything else."""

import asyncio

import pytest

from pathtap.agent.counts import Counts, from_bytes, to_bytes
from pathtap.agent.health import response, serve_health
from pathtap.agent.metrics import Reading, exposition

WELL, ALONE = Reading(connected=True), Reading(connected=False)
COUNTS = Counts(accepted=12, delivered=7, lost={"kernel": 3, "elsewhere": 2}, captures=1, waiting=160)


@pytest.mark.parametrize(
    ("line", "reading", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", WELL, b"200 OK"),
        (b"GET /healthz HTTP/1.1\r\n", ALONE, b"503 Service Unavailable"),
        (b"GET /metrics HTTP/1.1\r\n", ALONE, b"200 OK"),
        (b"GET / HTTP/1.1\r\n", WELL, b"404 Not Found"),
        (b"POST /healthz HTTP/1.1\r\n", WELL, b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n", WELL, b"404 Not Found"),
        (b"\x16\x03\x01\x02\x00\x01", WELL, b"400 Bad Request"),
        (b"", WELL, b"400 Bad Request"),
    ],
)
def test_response(line: bytes, reading: Reading, status: bytes) -> None:
    assert response(line, reading).startswith(b"HTTP/1.1 " + status + b"\r\n")


@pytest.mark.parametrize("path", [b"/healthz", b"/metrics"])
def test_head_has_no_body(path: bytes) -> None:
    assert response(b"HEAD " + path + b" HTTP/1.1\r\n", WELL).endswith(b"\r\n\r\n")


def test_served_on_loopback_and_a_taken_port_is_a_sentence() -> None:
    async def ask() -> tuple[bytes, str]:
        server = await serve_health(0, lambda: WELL)
        port = server.sockets[0].getsockname()[1]
        assert server.sockets[0].getsockname()[0] == "127.0.0.1"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with pytest.raises(OSError, match="choose another --health-port") as taken:
            await serve_health(port, lambda: WELL)
        server.close()
        await server.wait_closed()
        return answer, str(taken.value)

    answer, sentence = asyncio.run(ask())
    assert answer.endswith(b"\r\n\r\nconnected\n")
    assert sentence.startswith("/healthz cannot be served on 127.0.0.1:")


def samples(reading: Reading) -> dict[str, str]:
    """By name and labels; each name is described and typed in the lines before its first sample."""
    found, typed = {}, set[str]()
    for line in exposition(reading).splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name.partition("{")[0] in typed
            found[name] = value
    return found


def test_every_count_has_its_metric_and_every_stage_stands_there_before_anything_is_lost() -> None:
    said = samples(Reading(connected=True, counts=COUNTS, started=3, failed=1))
    assert said["pathtap_agent_packets_accepted_total"] == "12"
    assert said["pathtap_agent_packets_delivered_total"] == "7"
    assert said['pathtap_agent_packets_lost_total{where="kernel"}'] == "3"
    assert said['pathtap_agent_packets_lost_total{where="elsewhere"}'] == "2"
    assert said["pathtap_agent_captures_armed"] == "1"
    assert said["pathtap_agent_spool_bytes"] == "160"
    assert said["pathtap_agent_workers_started_total"] == "3"
    assert said["pathtap_agent_workers_failed_total"] == "1"
    assert said["pathtap_agent_connected"] == "1"
    assert samples(ALONE)['pathtap_agent_packets_lost_total{where="spool"}'] == "0"
    assert samples(ALONE)["pathtap_agent_connected"] == "0"


def test_counts_come_through_as_they_were_told_and_those_of_a_worker_that_is_gone_stay() -> None:
    assert from_bytes(to_bytes(COUNTS)) == COUNTS
    both = COUNTS.past() + COUNTS
    assert (both.accepted, both.delivered, dict(both.lost)) == (24, 14, {"kernel": 6, "elsewhere": 4})
    assert (both.captures, both.waiting) == (1, 160)


def test_of_a_worker_that_was_killed_what_it_told_adds_up() -> None:
    """Of captures that had not ended, what came was accepted; of those that had, what did not come is lost with the worker."""
    unfinished = Counts(accepted=5, delivered=20, lost={"kernel": 2}, captures=2, waiting=80).past()
    assert (unfinished.accepted, unfinished.delivered, dict(unfinished.lost)) == (22, 20, {"kernel": 2})
    spooled = Counts(accepted=30, delivered=20, lost={"kernel": 2}, waiting=640).past()
    assert (spooled.accepted, spooled.delivered, dict(spooled.lost)) == (30, 20, {"kernel": 2, "worker": 8})
    assert (unfinished.captures, spooled.waiting) == (0, 0)
