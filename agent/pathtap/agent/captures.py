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
    """Safe to use from any thread. A capture that is ended, or outlived by its stream, while it is being armed ends with
    its arming: no socket stays without a trace."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._arming: set[str] = set()
        self._running: dict[str, Capture] = {}

    def arm(self, request: CaptureRequest) -> CaptureArmed:
        """Raises CommandError for an id that is in use, and whatever opening raises."""
        with self._lock:
            if request.id in self._arming or request.id in self._running:
                raise CommandError(f"A capture {request.id} is armed already.")
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
            raise CommandError(f"Capture {request.id} was ended while it was being armed.")
        return capture.armed

    def end(self, identity: str) -> CaptureEnded:
        """Returns once everything that the capture saw is delivered. Raises CommandError for one that is not armed."""
        with self._lock:
            self._arming.discard(identity)
            capture = self._running.pop(identity, None)
        if capture is None:
            raise CommandError(f"No capture {identity} is armed.")
        return capture.end()

    def close(self) -> tuple[str, ...]:
        """Ends them all; returns the ids of those that nobody had ended."""
        with self._lock:
            self._arming.clear()
            running = dict(self._running)
            self._running.clear()
        for identity, capture in running.items():
            try:
                capture.end()
            except Exception:
                log.exception("capture %s did not end well", identity)
        return tuple(running)
