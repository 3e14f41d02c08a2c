"""How many instructions of classic BPF the kernel executes for a packet of no interest, beside libpcap's own program.

Counted, not timed: both programs are run over the same frames by the interpreter of the tests. The peer is what libpcap makes of
the same expression for Ethernet frames, unchanged.
"""

import statistics
import sys
from dataclasses import replace
from importlib import import_module
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from bench.frames import others, request
from bench.rows import Row, row
from pathtap.agent.bpf import Program
from pathtap.agent.filter import compile_expression, expression, header_program
from pathtap.model.request import CaptureRequest

# A trace of a pod on a node with SNAT and of a service with its endpoints names several addresses on both sides.
TRANSLATED = tuple(IPv4Address("198.51.100.16") + 3 * number for number in range(5))


def measure() -> list[Row]:
    plain = request()
    translated = replace(plain, near=(*plain.near, IPv4Address("192.0.2.10")), far=(*plain.far, *TRANSLATED))
    return [
        *_rows("one address on each side", plain),
        *_rows(f"{len(translated.near)} near and {len(translated.far)} far addresses", translated),
    ]


def _rows(what: str, asked: CaptureRequest) -> list[Row]:
    """The mean over kinds of frames, and the kind that does worst beside its peer."""
    mine, theirs = (executed(program) for program in (header_program(asked), compile_expression(expression(asked))))
    worst = max(mine, key=lambda kind: mine[kind] / theirs[kind])
    name = f"cBPF instructions for a packet that does not match, {what}"
    peer = "peer: libpcap's program for the same expression"
    means = (statistics.mean(mine.values()), statistics.mean(theirs.values()))
    return [
        row(f"{name}, mean of {len(mine)} kinds; {peer}", means[0], means[1], 1.0),
        row(f"{name}, the worst kind, {worst}; {peer}", mine[worst], theirs[worst], 1.0),
    ]


def executed(program: Program) -> dict[str, int]:
    """Instructions by kind of frame. Raises ValueError for a program that selects one of them."""
    machine = _machine()
    runs = {kind: machine.run(program, frame) for kind, frame in others().items()}
    if selected := [kind for kind, run in runs.items() if run.result]:
        raise ValueError(f"the program selects {', '.join(selected)}")
    return {kind: int(run.executed) for kind, run in runs.items()}


def _machine() -> Any:
    """tests/support/cbpf.py, which is no package's."""
    support = str(Path(__file__).parents[1] / "tests/support")
    if support not in sys.path:
        sys.path.append(support)
    return import_module("cbpf")
