"""The entry points of `pathtap` and of kubectl's plugin: quiet when they are interrupted before the program is loaded, which
takes half a second."""

import os
import signal
from types import FrameType

INTERRUPTED = 130


def _end(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    _start("run")


def plugin() -> None:
    """kubectl-pathtap, which kubectl runs as `kubectl pathtap`."""
    _start("run_plugin")


def complete_plugin() -> None:
    """kubectl_complete-pathtap, which kubectl runs to complete `kubectl pathtap …`."""
    _start("complete_plugin")


def _start(name: str) -> None:
    # Whoever started it with SIGINT ignored, as a shell does in the background, wants it ignored.
    watched = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if watched:
        signal.signal(signal.SIGINT, _end)
    from pathtap.cli import program

    try:
        if watched:
            # Commands clean up after themselves.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        getattr(program, name)()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    finally:
        if watched:
            signal.signal(signal.SIGINT, _end)


if __name__ == "__main__":
    main()
