"""Who listens to the generator: our capture, tcpdump and scapy, each started, asked for what it kept, and ended alike."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bench.frames import request
from bench.injection import available
from bench.ladder import Trial
from bench.processes import BenchError, Child, module, processor_time, started, tree
from bench.wiring import POD_END, VETH, Wired
from pathtap.agent.filter import expression

# The generator's processor, on which the kernel also carries its frames to the sockets, and the listener's.
SENDING, LISTENING = 0, 1
# tcpdump's buffer, in KiB: what libpcap makes a ring of, as large as an agent's (docs/benchmarks.md).
BUFFER = 32 * 1024
SNAP = 96
# A listener has read what it holds once nothing was added for so many seconds, and at most so many are waited.
QUIET, LONGEST_DRAIN = 0.3, 10.0
BLOCK_TIMEOUT = 1.1
_COUNTED = re.compile(r"(\d+) packets? captured")


class Listener(Protocol):
    """A process that is listening. `finish` lets it read what it holds, ends it, and returns how many packets it kept."""

    @property
    def child(self) -> Child: ...

    def finish(self) -> int: ...


Listen: TypeAlias = Callable[[Wired], AbstractContextManager[Listener]]
# What goes on beside a listener while it is sent to.
Beside: TypeAlias = Callable[[Child], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One of the bench's own programs, which is asked how many packets it has kept."""

    child: Child

    def finish(self) -> int:
        deadline, last, kept = time.monotonic() + LONGEST_DRAIN, -1, self.kept()
        while kept != last and time.monotonic() < deadline:
            time.sleep(QUIET)
            last, kept = kept, self.kept()
        answer = self.child.say("end").answer()
        return int(answer["kept"])

    def kept(self) -> int:
        return int(self.child.say().answer()["kept"])


@dataclass(frozen=True, slots=True)
class Tcpdump:
    """Reads a block of its ring that is not full after a second (its pcap_set_timeout), and says at its end how many packets it
    has written or printed."""

    child: Child

    def finish(self) -> int:
        time.sleep(BLOCK_TIMEOUT)
        line = self.child.interrupt().until("captured")
        found = _COUNTED.search(line)
        if found is None:
            raise BenchError(f"tcpdump said {line!r} at its end.")
        return int(found[1])


@contextmanager
def ours(wires: Wired, *interfaces: str) -> Iterator[Listener]:
    with started(module("bench.ours", *(interfaces or (VETH,))), namespace=wires.node, cpu=LISTENING) as child:
        child.until("ready")
        yield Asked(child)


@contextmanager
def sockets(wires: Wired, *interfaces: str) -> Iterator[Listener]:
    """Of `bench.sockets`, which have our filter and no ring."""
    with started(module("bench.sockets", *interfaces), namespace=wires.node, cpu=LISTENING) as child:
        child.until("ready")
        yield Asked(child)


@contextmanager
def scapy(wires: Wired) -> Iterator[Listener]:
    with started(module("bench.scapys", VETH, expression(request())), namespace=wires.node, cpu=LISTENING) as child:
        child.until("ready")
        yield Asked(child)


@contextmanager
def tcpdump_writing(wires: Wired) -> Iterator[Listener]:
    with _tcpdump(wires, "-w", "/dev/null") as listener:
        yield listener


@contextmanager
def tcpdump_printing(wires: Wired) -> Iterator[Listener]:
    """To /dev/null, where its standard output leads."""
    with _tcpdump(wires, "-nn") as listener:
        yield listener


@contextmanager
def _tcpdump(wires: Wired, *options: str) -> Iterator[Listener]:
    words = ["tcpdump", "-i", VETH, "-s", str(SNAP), "-B", str(BUFFER), "-Z", "root", *options, expression(request())]
    with started(words, namespace=wires.node, cpu=LISTENING, speaks="stderr") as child:
        child.until("listening on")
        yield Tcpdump(child)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one sending. `cpu` is the time of the listener's threads until all was read; both times are in seconds.
    `share` is how much of a processor they had while frames were sent, 1 for all of it."""

    trial: Trial
    seconds: float
    cpu: float
    share: float


def alone(_: Child) -> AbstractContextManager[None]:
    return nullcontext()


def hear(wires: Wired, listen: Listen, *, rate: float, seconds: float, beside: Beside = alone) -> Heard:
    """Sends at `rate` (0: as fast as possible) for `seconds` to one listener, started for it. Raises BenchError."""
    with generator(wires, rate=rate, seconds=seconds) as sender, listen(wires) as listener:
        with beside(listener.child):
            before, began = _clocks(listener)
            sent = sender.say().answer()
            then, ended = _clocks(listener)
        # What it holds it reads now; its process must still live for its time to be read.
        time.sleep(QUIET)
        cpu = _clocks(listener)[0] - before
        kept = listener.finish()
    return Heard(
        trial=Trial(rate=sent["rate"], sent=sent["sent"], kept=kept),
        seconds=sent["seconds"],
        cpu=cpu,
        share=(then - before) / (ended - began),
    )


def _clocks(listener: Listener) -> tuple[float, float]:
    """Seconds that its threads were on a processor, and the time."""
    return processor_time(tree(listener.child.pid)), time.monotonic()


@contextmanager
def generator(wires: Wired, *, rate: float, seconds: float) -> Iterator[Child]:
    """One that is ready and waits for a line. It injects where the kernel lets it, and sends from the pod where not."""
    injects = available()
    interface, namespace, by = (VETH, wires.node, "injection") if injects else (POD_END, wires.pod, "sending")
    bounds = ("--seconds", f"{seconds:g}", "--rate", f"{rate:g}", "--by", by, "--cpu", str(SENDING))
    with started(module("bench.generator", interface, *bounds), namespace=namespace, cpu=SENDING) as child:
        child.until("ready")
        yield child
