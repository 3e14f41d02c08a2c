"""The entry point of `pathtap-collector`, and of its `certificate`: quiet when it is interrupted before either is loaded."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    # Whoever started it with SIGINT ignored, as a shell does in the background, wants it ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    # The handler stays until the event loop has one of its own, for which an interrupt is a request to stop.
    if sys.argv[1:2] == ["certificate"]:
        from pathtap.collector import certify

        certify.command(args=sys.argv[2:], prog_name="pathtap-collector certificate")
    from pathtap.collector.program import command

    command(prog_name="pathtap-collector")


if __name__ == "__main__":
    main()
