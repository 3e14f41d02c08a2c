"""What captures may take of a node, whatever a collector asks for: packets, bytes, time, and how many there may be at once.

Knows no socket: stands between whoever opens a capture and whoever asked for it. What a limit costs is told as a loss.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

from pathtap.agent.captures import Capture, CommandError
from pathtap.agent.config import Limits
from pathtap.agent.delivery import Deliver, Packets
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest
from pathtap.model.rows import ROW

log = logging.getLogger(__name__)

# In seconds: as long as a trace may last, and its end. Whoever armed a capture that ended by itself may ask so much later.
REMEMBERED = 630.0

Open: TypeAlias = Callable[[CaptureRequest, Deliver], Capture]


class Limiter:
    """All captures of one agent. Safe to use from any thread."""

    def __init__(self, node: str, limits: Limits) -> None:
        self._node = node
        self._limits = limits
        self._lock = threading.Lock()
        self._count = 0
        # Of captures that ended by themselves and whose end nobody has asked for yet, until when somebody may.
        self._unasked: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        """Whether a capture is open, or ended by itself so short a time ago that somebody may still ask what it saw."""
        with self._lock:
            return self._count > 0 or any(until > time.monotonic() for until in self._unasked.values())

    def open(self, request: CaptureRequest, deliver: Deliver, opener: Open) -> Capture:
        """What `opener` opens, within the limits. Raises CommandError beyond them, and whatever `opener` raises."""
        most, why = _packets(request, self._limits)
        with self._lock:
            if self._count >= self._limits.captures:
                raise CommandError(
                    f"The agent has {self._count} captures armed and may have no more (--max-captures): try again later."
                )
            self._count += 1
        try:
            return _Limited(
                opener(replace(request, limit=most), _saying(why, deliver) if why else deliver),
                self._limits.seconds,
                lambda: self._expire(request, deliver),
                self._release,
                lambda: self._asked(request.id),
            )
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        with self._lock:
            self._count -= 1

    def _expire(self, request: CaptureRequest, deliver: Deliver) -> None:
        """How many packets came later is not known, hence 0."""
        log.warning("capture %s was not ended in time and ends now", request.id)
        why = f"the agent ends a capture after {self._limits.seconds:g} s (--max-seconds)"
        deliver(Packets(lost=(Lost(node=self._node, where="limit", count=0, capture=request.id, why=why),)))
        with self._lock:
            self._unasked[request.id] = time.monotonic() + REMEMBERED

    def _asked(self, capture: str) -> None:
        with self._lock:
            self._unasked.pop(capture, None)


class _Limited:
    """A capture that ends by itself when its time is over; who ends it later gets what it said then."""

    def __init__(
        self,
        capture: Capture,
        seconds: float,
        expired: Callable[[], None],
        release: Callable[[], None],
        asked: Callable[[], None],
    ) -> None:
        self._capture = capture
        self._expired = expired
        self._release = release
        self._asked = asked
        self._lock = threading.Lock()
        self._ended: Future[CaptureEnded] = Future()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:
            # The kernel grants no more threads (pids.max).
            capture.end()
            raise

    @property
    def armed(self) -> CaptureArmed:
        return self._capture.armed

    def end(self) -> CaptureEnded:
        self._timer.cancel()
        self._finish()
        self._asked()
        return self._ended.result()

    def _expire(self) -> None:
        self._finish(self._expired)

    def _finish(self, before: Callable[[], None] = lambda: None) -> None:
        """Once. `before` is done before anybody can know of the end."""
        with self._lock:
            if self._ended.done():
                return
            try:
                before()
                self._ended.set_result(self._capture.end())
            except BaseException as error:  # noqa: BLE001 - raised again by `end`
                self._ended.set_exception(error)
            finally:
                self._release()


def _packets(request: CaptureRequest, limits: Limits) -> tuple[int, str]:
    """How many packets the capture may take, and why; nothing where that is what was asked for."""
    most = min(request.limit, limits.packets, limits.bytes // ROW.size)
    if most == request.limit:
        return most, ""
    if most == limits.packets:
        return most, f"the agent takes {most} packets of one capture (--max-packets)"
    return most, f"the agent takes {limits.bytes} bytes of one capture, {ROW.size} for each packet (--max-bytes)"


def _saying(why: str, deliver: Deliver) -> Deliver:
    """Hands on with this reason what was lost by the limit."""

    def said(packets: Packets) -> None:
        if packets.lost:
            lost = (replace(each, why=why) if each.where == "limit" else each for each in packets.lost)
            packets = replace(packets, lost=tuple(lost))
        deliver(packets)

    return said
