"""The entry point of `pathtap-agent`: quiet when it is interrupted before the program is loaded."""

import os
import signal

INTERRUPTED = 130


def main() -> None:
    # Whoever started it with SIGINT ignored, as a shell does in the background, wants it ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from pathtap.agent.program import main as program

    # The handler stays until the event loop has one of its own, for which an interrupt is a request to stop.
    program(prog_name="pathtap-agent")


if __name__ == "__main__":
    main()
