"""The bench's generator: every frame that it counts arrives once, in order, both ways of making them arrive."""

import os
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bench.frames import SIZE, matching, other, request, sequence_of
from bench.generator import open_sender
from bench.injection import available
from bench.processes import module, started
from bench.wiring import POD, POD_END, VETH, Wired, wired
from pathtap.agent.namespaces import run_in_namespace

pytestmark = pytest.mark.netns

COUNT = 5_000
ETH_P_ALL = 0x0003
SO_RCVBUFFORCE = 33


@pytest.fixture(scope="module")
def wires() -> Iterator[Wired]:
    with wired(f"gen{os.getpid()}") as built:
        yield built


def heard(wires: Wired, by: str, *options: str) -> tuple[dict[str, float], list[bytes]]:
    """What the generator says that it sent, and what came on the node's end of the veth."""
    namespace, interface = (wires.node, VETH) if by == "injection" else (wires.pod, POD_END)
    argv = module("bench.generator", interface, "--by", by, *options)
    with (
        run_in_namespace(Path("/run/netns") / wires.node, listening) as tap,
        started(argv, namespace=namespace) as generator,
    ):
        generator.until("ready")
        said = generator.say().answer()
        frames: list[bytes] = []
        while len(frames) < said["sent"]:
            frames.append(tap.recv(2 * SIZE))
        tap.settimeout(0.05)
        with pytest.raises(TimeoutError):
            tap.recv(2 * SIZE)
    return said, frames


def listening() -> socket.socket:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    tap.settimeout(2)
    tap.bind((VETH, ETH_P_ALL))
    return tap


@pytest.mark.parametrize("by", ["sending", "injection"])
def test_every_frame_arrives_once_and_numbered(wires: Wired, by: str) -> None:
    # Old kernels have no injection; the bench then sends.
    by = by if by == "sending" or available() else "sending"
    # Injection lasts its whole time, in which it drops what is too many.
    seconds = "0.5" if by == "injection" else "5"
    said, frames = heard(wires, by, "--packets", str(COUNT), "--seconds", seconds)
    assert said["sent"] == COUNT
    assert [sequence_of(frame) for frame in frames] == list(range(COUNT))
    assert {frame[:38] + bytes(4) + frame[42:] for frame in frames} == {matching()}


@pytest.mark.parametrize("by", ["sending", "injection"])
def test_a_rate_is_kept_within_its_seconds(wires: Wired, by: str) -> None:
    by = by if by == "sending" or available() else "sending"
    said, frames = heard(wires, by, "--rate", "4000", "--seconds", "0.25", "--flow", "other")
    assert len(frames) == said["sent"] <= 1001
    assert {len(frame) for frame in frames} == {SIZE}
    assert frames[0][:38] == other()[:38] != matching()[:38]


def test_a_sender_hears_nothing(wires: Wired) -> None:
    with run_in_namespace(Path("/run/netns") / wires.pod, lambda: open_sender(POD_END)) as sender:
        sender.setblocking(False)
        started_at = time.monotonic()
        while time.monotonic() < started_at + 0.05:
            with pytest.raises(BlockingIOError):
                sender.recv(SIZE)


def test_the_frames_are_those_that_the_capture_asks_for() -> None:
    asked = request()
    assert (asked.near, asked.ports) == ((POD,), (443,))
    assert IPv4Address(matching()[26:30]) == POD
    assert len(matching()) == len(other()) == SIZE
