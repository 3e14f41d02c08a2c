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
    """Safe to use from any thread. Once closed, no capture outlives its arming: no socket without a trace."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._running: dict[str, Capture | None] = {}
        self._closed = False

    def arm(self, request: CaptureRequest) -> CaptureArmed:
        """Raises CommandError for an id that is in use, and whatever opening raises."""
        with self._lock:
            if request.id in self._running:
                raise CommandError(f"A capture {request.id} is armed already.")
            self._running[request.id] = None
        try:
            capture = self._opener(request)
        except BaseException:
            with self._lock:
                del self._running[request.id]
            raise
        with self._lock:
            if not self._closed:
                self._running[request.id] = capture
                return capture.armed
        capture.end()
        raise CommandError(f"The stream ended while capture {request.id} was being armed.")

    def end(self, identity: str) -> CaptureEnded:
        """Returns once everything that the capture saw is delivered. Raises CommandError for an unknown id."""
        with self._lock:
            capture = self._running.get(identity)
            if capture is None:
                raise CommandError(f"No capture {identity} is armed.")
            del self._running[identity]
        return capture.end()

    def close(self) -> tuple[str, ...]:
        """Ends them all; returns the ids of those that nobody had ended."""
        with self._lock:
            self._closed = True
            running = {identity: capture for identity, capture in self._running.items() if capture is not None}
            self._running.clear()
        for identity, capture in running.items():
            try:
                capture.end()
            except Exception:
                log.exception("capture %s did not end well", identity)
        return tuple(running)
