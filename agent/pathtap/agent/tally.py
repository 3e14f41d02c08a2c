"""Counts what a worker's captures accept, beside what its spool counts: the worker's half of the metrics."""

import threading
from dataclasses import dataclass

from pathtap.agent.captures import Capture
from pathtap.agent.counts import Counts
from pathtap.agent.spool import Spool
from pathtap.model.request import CaptureArmed, CaptureEnded


class Tally:
    """Safe to use from any thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._accepted = 0
        self._captures = 0

    def watched(self, capture: Capture) -> Capture:
        """The same capture; its end is counted."""
        with self._lock:
            self._captures += 1
        return _Watched(capture, self)

    def ended(self, accepted: int) -> None:
        with self._lock:
            self._captures -= 1
            self._accepted += accepted

    def counts(self) -> Counts:
        """Without `delivered`, which is for whom it was delivered to to count."""
        lost, waiting = self._spool.counted()
        with self._lock:
            return Counts(accepted=self._accepted, lost=lost, captures=self._captures, waiting=waiting)


@dataclass(frozen=True, slots=True)
class _Watched:
    capture: Capture
    tally: Tally

    @property
    def armed(self) -> CaptureArmed:
        return self.capture.armed

    def end(self) -> CaptureEnded:
        accepted = 0
        try:
            ended = self.capture.end()
            accepted = sum(each.received for each in ended.stats)
            return ended
        finally:
            self.tally.ended(accepted)
