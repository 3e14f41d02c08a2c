"""The agent's side of a conversation with a collector, as a table of states: events in, orders out.

Knows no socket, no gRPC, no thread and no clock: how long a connection lived and the jitter of the next wait are passed
in with the event. `daemon` is the counterpart that brings the events and carries out the orders.

    IDLE ──Start──► DIALLING ──Connected──► TALKING ──Stop──► CLOSING ──Broke──► OVER
                     ▲    └─────Broke────────┐ │ Broke                             ▲
                     └──────Elapsed───────WAITING ◄┘ ──────────Stop────────────────┘
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from pathtap.v1.agent_pb2 import ConnectResponse

# A collector that came back is found again within 5 s: this, and the time that one attempt may take (stream.DIAL_TIMEOUT).
LONGEST_WAIT = 2.0
# Who was refused is refused again until somebody changes something.
REFUSED_WAIT = 30.0
SHORTEST_WAIT = 0.1


@dataclass(frozen=True, slots=True)
class Start:
    """The daemon is up."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The collector took the stream and the Hello on it."""


@dataclass(frozen=True, slots=True)
class Received:
    """A command."""

    command: ConnectResponse


@dataclass(frozen=True, slots=True)
class Broke:
    """The stream ended, or never began. `lived` is in seconds; `jitter` is in [0, 1), drawn anew for each event; `refused` is
    for a collector that does not let this agent in."""

    reason: str
    lived: float
    jitter: float
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The wait that was ordered is over."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The process was asked to end."""


Event: TypeAlias = Start | Connected | Received | Broke | Elapsed | Stop


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a stream and greet the collector on it."""


@dataclass(frozen=True, slots=True)
class Perform:
    """Have a command carried out and answered."""

    command: ConnectResponse


@dataclass(frozen=True, slots=True)
class EndCaptures:
    """Close every capture, for nobody is there any more to end them, and tell of it with the reason when somebody is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Bring Elapsed after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send what is left, end the stream, and bring Broke."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Nothing more will be ordered."""


Order: TypeAlias = Dial | Perform | EndCaptures | Wait | HangUp | Exit


class State(Enum):
    IDLE = auto()
    DIALLING = auto()
    TALKING = auto()
    WAITING = auto()
    CLOSING = auto()
    OVER = auto()


class Session:
    """`handle` takes one event and returns what to do, in order. An event that a state does not expect orders nothing."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self._failures = 0

    def handle(self, event: Event) -> tuple[Order, ...]:
        match self.state, event:
            case State.IDLE, Start():
                return self._enter(State.DIALLING, Dial())
            case State.DIALLING, Connected():
                return self._enter(State.TALKING)
            case State.TALKING, Received(command):
                return (Perform(command),)
            case State.TALKING, Broke(reason):
                # Refused after it was let in: for the token that it came with, of which there may be another by now.
                return self._enter(State.WAITING, EndCaptures(reason), self._wait(replace(event, refused=False)))
            case State.DIALLING, Broke():
                return self._enter(State.WAITING, self._wait(event))
            case State.WAITING, Elapsed():
                return self._enter(State.DIALLING, Dial())
            case State.TALKING, Stop():
                return self._enter(State.CLOSING, EndCaptures("the agent was stopped"), HangUp())
            case State.DIALLING, Stop():
                return self._enter(State.CLOSING, HangUp())
            case State.CLOSING, Broke():
                return self._enter(State.OVER, Exit())
            case ((State.IDLE | State.WAITING), Stop()):
                return self._enter(State.OVER, Exit())
            case _:
                return ()

    def _enter(self, state: State, *orders: Order) -> tuple[Order, ...]:
        self.state = state
        return orders

    def _wait(self, broke: Broke) -> Wait:
        """Doubles from SHORTEST_WAIT to LONGEST_WAIT, less up to half of it by chance, so that agents come back one by one.

        Only a stream that lived longer than the longest wait starts anew: one that is refused at once is no success.
        """
        if broke.refused:
            return Wait(REFUSED_WAIT * (1 - broke.jitter / 2))
        self._failures = 1 if broke.lived > LONGEST_WAIT else self._failures + 1
        # Capped before it is raised: two to the power of a night without a collector does not fit a float.
        ceiling = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(self._failures - 1, 16))
        return Wait(ceiling * (1 - broke.jitter / 2))
