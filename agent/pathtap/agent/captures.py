"""The captures of one stream, by their ids, and what becomes of them when it ends. Knows no sockets and no gRPC."""

import logging
import threading
from typing import Protocol

from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest

log = logging.getLogger(__name__)


class CommandError(Exception):
    """Why a command cannot be carried out, as a sentence."""


class Capture(Protocol):
    """An armed capture. `end` delivers what the sockets still hold, closes them, and is called once."""

    @property
    def armed(self) -> CaptureArmed: ...

    def end(self) -> CaptureEnded: ...


class Opener(Protocol):
    """Opens the sockets of a capture and arms them."""

    def __call__(self, request: CaptureRequest, /) -> Capture: ...


class Captures:
    """Safe to use from any thread. A capture that is ended, or outlived by its stream, before it is armed ends with its
    arming, or is not armed at all: no socket stays without a trace.

    Each command has a thread of its own, and one that came later may be carried out earlier. So whoever takes commands in
    their order says `announce` for each capture, before its thread says `arm`.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._announced: set[str] = set()
        self._arming: set[str] = set()
        self._running: dict[str, Capture] = {}
        self._over = False

    def announce(self, identity: str) -> None:
        """A capture will be armed, unless it is ended before."""
        with self._lock:
            self._announced.add(identity)

    @property
    def coming(self) -> bool:
        """Whether one will be armed."""
        with self._lock:
            return bool(self._announced or self._arming)

    def arm(self, request: CaptureRequest) -> CaptureArmed:
        """Raises CommandError for an id that is in use or was ended, and whatever opening raises."""
        with self._lock:
            wanted = request.id in self._announced
            self._announced.discard(request.id)
            if request.id in self._arming or request.id in self._running:
                raise CommandError(f"A capture {request.id} is armed already.")
            if not wanted:
                raise _ended_before(request.id)
            self._arming.add(request.id)
        capture = None
        try:
            capture = self._opener(request)
        finally:
            with self._lock:
                wanted = request.id in self._arming
                self._arming.discard(request.id)
                if wanted and capture is not None:
                    self._running[request.id] = capture
        if not wanted:
            capture.end()
            raise _ended_before(request.id)
        return capture.armed

    def end(self, identity: str) -> CaptureEnded:
        """Returns once everything that the capture saw is delivered. Raises CommandError for one that is not armed."""
        with self._lock:
            self._announced.discard(identity)
            self._arming.discard(identity)
            capture = self._running.pop(identity, None)
        if capture is None:
            raise CommandError(f"No capture {identity} is armed.")
        return capture.end()

    def over(self) -> bool:
        """Whether the stream has ended: nobody takes the answers of its commands."""
        return self._over

    def close(self) -> tuple[str, ...]:
        """Ends them all; returns the ids of those that nobody had ended."""
        with self._lock:
            self._over = True
            self._announced.clear()
            self._arming.clear()
            running = dict(self._running)
            self._running.clear()
        for identity, capture in running.items():
            try:
                capture.end()
            except Exception:
                log.exception("capture %s did not end well", identity)
        return tuple(running)


def _ended_before(identity: str) -> CommandError:
    return CommandError(f"Capture {identity} was ended before it was armed.")
