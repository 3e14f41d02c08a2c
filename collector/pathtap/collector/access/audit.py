"""The audit log: who asked for what, and what became of it; one line of JSON for each request. Knows no answer of an agent."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pathtap.collector.access.refusal import quoted

log = logging.getLogger("pathtap.collector.audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: `what` is its kind, the rest its words as they were written."""

    what: str
    id: str = ""
    source: str = ""
    destination: str = ""
    namespace: str = ""


def line(asked: Asked, peer: str, user: str, uid: str, outcome: str, why: str = "") -> str:
    """`peer` is gRPC's name of the other end. ASCII on one line: json escapes whatever else somebody's name or words may hold."""
    fields = {
        "id": asked.id,
        "what": asked.what,
        "user": user,
        "uid": uid,
        "source": asked.source,
        "destination": asked.destination,
        "namespace": asked.namespace,
        "peer": peer,
        "outcome": outcome,
        "why": why,
    }
    return "audit " + json.dumps({key: quoted(value) for key, value in fields.items() if value})


class Seldom:
    """For what strangers can cause as often as they like: a line a second at most, and how many were left out."""

    def __init__(self, now: Callable[[], float] = time.monotonic, pause: float = 1.0) -> None:
        self._now = now
        self._pause = pause
        self._next = 0.0
        self._left_out = 0

    def may_say(self) -> int | None:
        """None to be silent, else how many were left out since the last."""
        if self._now() < self._next:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        self._next = self._now() + self._pause
        return left_out
