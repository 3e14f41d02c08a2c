"""GET and PUT over one plain connection with a deadline. Follows no redirect and asks no proxy."""

from http.client import HTTPConnection, HTTPException
from time import monotonic
from types import TracebackType
from typing import Self

_LARGEST = 16 * 1024 * 1024


class Client:
    """One connection to `host`:`port`, kept open between requests, that answers until `seconds` have passed."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._server = f"{host}:{port}"
        self._seconds = seconds
        self._connection = HTTPConnection(host, port, timeout=seconds)
        self._deadline = monotonic() + seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and body. Raises OSError whose message is a sentence, TimeoutError where the deadline has passed."""
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise self._silence()
        self._connection.timeout = remaining
        if self._connection.sock is not None:
            self._connection.sock.settimeout(remaining)
        try:
            self._connection.request(method, path, headers=headers or {})
            response = self._connection.getresponse()
            return response.status, response.read(_LARGEST).decode("utf-8", errors="replace")
        except TimeoutError as error:
            raise self._silence() from error
        except HTTPException as error:
            raise OSError(f"{self._server} gave no HTTP answer ({type(error).__name__})") from error
        except OSError as error:
            raise OSError(f"{self._server}: {error.strerror or error}") from error

    def _silence(self) -> TimeoutError:
        return TimeoutError(f"{self._server} did not answer within {self._seconds:g} s")
