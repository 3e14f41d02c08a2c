"""A real agent in the node's namespace, connected to `bench.judge` by gRPC over a unix socket."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Child, module, started
from bench.wiring import Wired

NODE_NAME = "bench"
# What a capture may take of a node, so that it is not the limit: more than any measurement sends.
RAISED = ("--max-packets", "100000000", "--max-bytes", str(1 << 33))


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """An agent's process and the judge that it is connected to."""

    agent: Child
    judge: Child

    def ask(self, word: str) -> Any:
        """What the judge answers (`bench.judge`). Raises BenchError."""
        return self.judge.say(word).answer()

    def arm(self) -> None:
        """Raises BenchError where an interface could not be captured."""
        answer = self.ask("arm")
        if answer["unread"] or not answer["interfaces"]:
            raise BenchError(f"the agent armed {answer['interfaces']}: {' '.join(answer['unread'])}")


@contextmanager
def joined(
    wires: Wired, cpu: int | None = None, *, judging: int | None = None, more: Sequence[str] = ()
) -> Iterator[Joined]:
    """The agent runs on processor `cpu`, with `more` options, the judge on processor `judging`; None: where there is room.

    Raises BenchError.
    """
    with tempfile.TemporaryDirectory(prefix="pathtap-bench") as directory:
        socket = Path(directory) / "collector.sock"
        with started(module("bench.judge", str(socket), NODE_NAME), cpu=judging) as judge:
            judge.until("ready")
            options = ("--collector", f"unix:{socket}", "--node", NODE_NAME, "--insecure", "--health-port", "0")
            argv = module("pathtap.agent", *options, *RAISED, "--log-level", "warning", *more)
            with started(argv, namespace=wires.node, cpu=cpu) as agent:
                judge.until("joined")
                yield Joined(agent=agent, judge=judge)
