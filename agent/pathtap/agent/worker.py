"""Blocking work, each piece in a thread of its own that nobody need wait for. Knows nothing of the work.

No executor: its few threads would let the slow probes of one trace hold up another trace, and the interpreter waits for
them at its exit.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def begin(work: Callable[[], Result]) -> Future[Result]:
    """What `work` will have returned or raised. Its thread begins in the caller's network namespace.

    Raises RuntimeError where the system grants no thread.
    """
    future: Future[Result] = Future()
    # It runs at once, so that `cancel` refuses.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the future's `result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
