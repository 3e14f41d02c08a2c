"""The entry point of `pathtap`: quiet when it is interrupted before the program is loaded, which takes half a second."""

import os
import signal
from types import FrameType

INTERRUPTED = 130


def _end(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    # Whoever started it with SIGINT ignored, as a shell does in the background, wants it ignored.
    watched = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if watched:
        signal.signal(signal.SIGINT, _end)
    from pathtap.cli.program import run

    try:
        if watched:
            # Commands clean up after themselves.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    finally:
        if watched:
            signal.signal(signal.SIGINT, _end)


if __name__ == "__main__":
    main()
