"""Captures by their ids: whatever happens while one is being armed, none is left behind."""

import threading
from ipaddress import IPv4Address

import pytest

from pathtap.agent.captures import Capture, Captures, CommandError
from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest


def request(identity: str = "a") -> CaptureRequest:
    return CaptureRequest(id=identity, protocol=0, near=(IPv4Address("192.0.2.1"),))


def arm(captures: Captures, identity: str = "a") -> CaptureArmed:
    captures.announce(identity)
    return captures.arm(request(identity))


class Tap:
    """Counts those that are open."""

    open = 0

    def __init__(self, request: CaptureRequest) -> None:
        self.armed = CaptureArmed(id=request.id, interfaces=("eth0",))
        type(self).open += 1

    def end(self) -> CaptureEnded:
        type(self).open -= 1
        return CaptureEnded(id=self.armed.id, stats=())


@pytest.fixture
def tap() -> type[Tap]:
    return type("CountedTap", (Tap,), {"open": 0})


def test_armed_and_ended(tap: type[Tap]) -> None:
    captures = Captures(tap)
    assert arm(captures).interfaces == ("eth0",)
    assert tap.open == 1
    assert captures.end("a").id == "a"
    assert tap.open == 0
    with pytest.raises(CommandError, match="No capture a is armed"):
        captures.end("a")


def test_an_id_is_free_again_after_a_failure_and_after_its_end(tap: type[Tap]) -> None:
    refusals = [OSError("eth0 is gone")]

    def opener(wanted: CaptureRequest) -> Capture:
        if refusals:
            raise refusals.pop()
        return tap(wanted)

    captures = Captures(opener)
    with pytest.raises(OSError, match="gone"):
        arm(captures)
    arm(captures)
    with pytest.raises(CommandError, match="armed already"):
        arm(captures)
    captures.end("a")
    arm(captures)
    assert captures.close() == ("a",)
    assert tap.open == 0


@pytest.mark.parametrize("interruption", ["end", "close"])
def test_ended_while_it_is_being_armed(tap: type[Tap], interruption: str) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def opener(wanted: CaptureRequest) -> Capture:
        opening.set()
        assert go_on.wait(5)
        return tap(wanted)

    captures, said = Captures(opener), []

    def arm_it() -> None:
        try:
            arm(captures)
        except CommandError as error:
            said.append(str(error))

    thread = threading.Thread(target=arm_it)
    thread.start()
    assert opening.wait(5)
    if interruption == "end":
        with pytest.raises(CommandError, match="No capture a is armed"):
            captures.end("a")
    else:
        assert captures.close() == ()
    go_on.set()
    thread.join(5)
    assert said == ["Capture a was ended before it was armed."]
    assert tap.open == 0


@pytest.mark.parametrize("interruption", ["end", "close"])
def test_ended_before_its_arming_began(tap: type[Tap], interruption: str) -> None:
    """Commands are carried out in threads: one that came later may begin earlier."""
    captures = Captures(tap)
    captures.announce("a")
    if interruption == "end":
        with pytest.raises(CommandError, match="No capture a is armed"):
            captures.end("a")
    else:
        assert captures.close() == ()
    with pytest.raises(CommandError, match=r"^Capture a was ended before it was armed\.$"):
        captures.arm(request())
    assert tap.open == 0


def test_one_that_ends_badly_does_not_keep_the_others(tap: type[Tap]) -> None:
    class Stuck(Tap):
        def end(self) -> CaptureEnded:
            raise OSError("bad file descriptor")

    captures = Captures(lambda wanted: Stuck(wanted) if wanted.id == "a" else tap(wanted))
    for identity in ("a", "b", "c"):
        arm(captures, identity)
    assert captures.close() == ("a", "b", "c")
    assert tap.open == 0
