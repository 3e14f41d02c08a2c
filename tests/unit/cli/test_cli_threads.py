"""What goes wrong in a thread beside the command: a sentence, and nothing of gRPC's, which looks at closed channels."""

import subprocess
import sys

SLOW = """
import sys, time
import grpc._channel as channel
from pathtap.cli import program

class Slow:
    def __init__(self, inner):
        self.inner = inner
    def check_connectivity_state(self, *arguments):
        return self.inner.check_connectivity_state(*arguments)
    def watch_connectivity_state(self, *arguments):
        time.sleep(0.3)
        return self.inner.watch_connectivity_state(*arguments)

poll = channel._poll_connectivity
channel._poll_connectivity = lambda state, inner, connect: poll(state, Slow(inner), connect)
sys.argv = ["pathtap", "--collector", "127.0.0.1:1", "--insecure", "nodes"]
try:
    program.run()
finally:
    time.sleep(0.7)
"""
BROKEN = """
import threading
from pathtap.cli import program
program.cli.main = lambda **_: threading.Thread(target=lambda: 1 / 0).start()
program.run()
"""


def said(script: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    ).stderr.splitlines()


def test_a_channel_that_is_closed_while_grpc_looks_at_it_is_nothing_to_tell() -> None:
    (sentence,) = said(SLOW)
    assert sentence.startswith("pathtap: No collector answers at 127.0.0.1:1")


def test_a_defect_in_a_thread_is_a_sentence() -> None:
    (sentence,) = said(BROKEN)
    assert sentence.startswith("pathtap: failed unexpectedly: ZeroDivisionError")
