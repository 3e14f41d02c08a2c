"""Sends the probe a user asked for, from inside the source pod's network namespace, one after another.

Knows how long to wait and what to report; how each protocol is asked, and what its answers mean, is `attempts`'.
"""

import selectors
import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeAlias

from pathtap.agent.attempts import Attempt, Heard, Way, attempt, reason, silence
from pathtap.agent.namespaces import NamespaceError, find_pod_namespace, run_in_namespace
from pathtap.model.address import Protocol
from pathtap.model.request import ProbeOutcome, ProbeReport, ProbeRequest

Clock: TypeAlias = Callable[[], int]


def send_probe(request: ProbeRequest, now: Clock) -> tuple[ProbeReport, ...]:
    """`count` probes one after another; `now` gives `sent_at`, nanoseconds since the Unix epoch. Blocks until all are done.

    Where the source's namespace cannot be found or entered, or a size is asked of TCP, one FAILED report says why.
    """
    if request.size and request.protocol == Protocol.TCP:
        detail = "A TCP probe is a handshake, which carries no payload: ask with UDP or ICMP for a size."
        return (ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=now(), detail=detail),)

    def all_of_them() -> tuple[ProbeReport, ...]:
        return tuple(_probe(request, number, now) for number in range(1, request.count + 1))

    if request.source is None:
        return all_of_them()
    try:
        return run_in_namespace(find_pod_namespace(request.source), all_of_them)
    except NamespaceError as error:
        return (ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=now(), detail=str(error)),)


def _probe(request: ProbeRequest, number: int, now: Clock) -> ProbeReport:
    """An error before anything was sent is FAILED."""
    way = Way(protocol=request.protocol, source=request.source, destination=request.destination, size=request.size)
    sent_at = now()
    try:
        with closing(attempt(way)) as opened:
            sent_at, started = now(), time.monotonic_ns()
            five_tuple = opened.ask(number)
            heard = _wait(opened, started + int(request.timeout * 1_000_000_000))
            elapsed = time.monotonic_ns() - started
    except OSError as error:
        detail = f"The probe could not be sent: {reason(error, way)}."
        return ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=sent_at, detail=detail)
    outcome = ProbeOutcome.SILENT if heard is None else heard.outcome
    return ProbeReport(
        outcome=outcome,
        five_tuple=five_tuple,
        sent_at=sent_at,
        round_trip=elapsed if outcome is ProbeOutcome.ANSWERED else None,
        detail=silence(request.timeout) if heard is None else heard.detail,
    )


def _wait(opened: Attempt, deadline: int) -> Heard | None:
    """The first that is heard; None when the time is over, which is in nanoseconds of the monotonic clock."""
    with selectors.DefaultSelector() as selector:
        selector.register(opened.socket, opened.events)
        # A selector rounds up to milliseconds, so that a last wait is never a busy one.
        while selector.select(max(0, deadline - time.monotonic_ns()) / 1_000_000_000):
            heard = opened.heard()
            if heard:
                return heard[0]
    return None
