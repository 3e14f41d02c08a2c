"""GET and PUT over one plain connection with a deadline. Follows no redirect and asks no proxy."""

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, InvalidURL
from threading import Event, Timer
from time import monotonic
from types import TracebackType
from typing import Self

_LARGEST = 16 * 1024 * 1024


class Client:
    """One connection to `host`:`port`, kept open between requests, that answers until `seconds` have passed."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._server = f"{host}:{port}"
        self._seconds = seconds
        self._connection = HTTPConnection(host, port)
        self._socket: socket.socket | None = None
        self._over = Event()
        self._watch = Timer(seconds, self._expire)
        self._watch.daemon = True
        self._deadline = monotonic() + seconds

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._watch.cancel()
        self._connection.close()

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and body. Raises OSError whose message is a sentence, TimeoutError where the deadline has passed."""
        try:
            self._connect()
            self._connection.request(method, path, headers=headers or {})
            response = self._connection.getresponse()
            body = response.read(_LARGEST + 1)
        except (OSError, HTTPException, ValueError) as error:
            raise self._failure(error) from error
        if self._over.is_set():
            raise self._silence()
        if len(body) > _LARGEST:
            raise OSError(f"{self._server} answered with more than {_LARGEST >> 20} MiB")
        return response.status, body.decode("utf-8", errors="replace")

    def _connect(self) -> None:
        if self._connection.sock is None:
            self._connection.timeout = max(0.001, self._deadline - monotonic())
            self._connection.connect()
            self._socket = self._connection.sock
        if self._over.is_set():
            raise self._silence()

    def _expire(self) -> None:
        """Ends whatever is being read: a socket's own time-out begins anew with each byte, so a drip would never end."""
        self._over.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _failure(self, error: Exception) -> OSError:
        if self._over.is_set() or isinstance(error, TimeoutError):
            return self._silence()
        match error:
            case InvalidURL() | ValueError():
                # What it said before became part of this request.
                return OSError(f"{self._server} said what cannot be asked for: {error}")
            case OSError(strerror=str(reason)):
                return OSError(f"{self._server}: {reason}")
            case _:
                return OSError(f"{self._server} gave no HTTP answer ({type(error).__name__})")

    def _silence(self) -> TimeoutError:
        return TimeoutError(f"{self._server} did not answer within {self._seconds:g} s")
