"""The table of a run as README shows it: the figures that have a goal there, by short names, in their order. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.rows import Row
from bench.table import goal, number, state

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEADS = ("figure", "against", "ours", "peer's", "ratio", "goal", "met")
TCPDUMP = "`tcpdump -s 96 -w /dev/null`"
SCAPY = "`scapy.sniff(store=False)`"
LIBPCAP = "libpcap's program"
LITTLE = "with 2.7 % of a processor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a row whose figure begins with `figure` is called."""

    figure: str
    name: str
    against: str


def _line(figure: str, name: str, against: str = "–") -> Line:
    return Line(figure=figure, name=name, against=against)


_LOSSLESS = "highest packets/s without loss"
_BUSY = "with 2.7 % of a processor, the rest of it busy, headers decoded; peer:"
_PACKET = "cBPF instructions for a packet that does not match"
_ONE, _SEVERAL = f"{_PACKET}, one address on each side", f"{_PACKET}, 2 near and 6 far addresses"
_BYTE = "processor time for a byte of a node's"
_TRACED = "while another flow is traced, upper end of the 95 % interval; peer:"
_RINGLESS = "while packet sockets with the trace's filter and no ring are open, upper"
_OWN = "a node's own flow while another that is traced is flooded"
_TAKEN = "per cent of a processor that the agent takes while a flow that is traced is flooded"
_ROUND, _TAIL = "the same, median round trip (at most)", "the same, 99th percentile of round trips (at most)"
_AGENT = "the same, per cent of a processor for the agent"
_IDLE = "an idle agent"
_FIRST, _LAST = "before its first trace", "30 s after its last trace"
_WORST, _SOCKETS = "the same, the worst kind of packet", "the same for sockets with our filter and no ring"
_PROCESSOR, _PACKET_SOCKETS = "the same, per cent of a processor", "the same, packet sockets"
LINES = (
    _line("packets/s kept under a flood, headers", "kept under a flood, packets/s", TCPDUMP),
    _line("packets/s kept under a flood with", f"the same {LITTLE}", TCPDUMP),
    _line(f"{_LOSSLESS}, headers decoded; peer: tcpdump", "highest rate without loss, packets/s", TCPDUMP),
    _line(f"{_LOSSLESS} {_BUSY} tcpdump", f"the same {LITTLE}", TCPDUMP),
    _line(f"{_LOSSLESS}, headers decoded; peer: scapy", "highest rate without loss, packets/s", SCAPY),
    _line(f"{_LOSSLESS} {_BUSY} scapy", f"the same {LITTLE}", SCAPY),
    _line("ns of processor time for a matching", "processor time for a packet at 100,000/s, ns", "`tcpdump -nn -s 96`"),
    _line(f"{_ONE}, mean", "cBPF instructions for a packet of no interest, mean", LIBPCAP),
    _line(f"{_ONE}, the worst", _WORST, LIBPCAP),
    _line(f"{_SEVERAL}, mean", "cBPF instructions for the same of a translated flow, mean", LIBPCAP),
    _line(f"{_SEVERAL}, the worst", _WORST, LIBPCAP),
    _line(
        f"{_BYTE} UDP {_TRACED} untraced", "processor time for a byte of UDP, another flow traced (at most)", "no trace"
    ),
    _line(f"{_BYTE} UDP {_RINGLESS}", _SOCKETS, "no sockets"),
    _line(f"{_BYTE} UDP {_TRACED} while", "the same of a trace beside such sockets", "those sockets"),
    _line("more of a node's UDP lost", "more UDP lost, percentage points (at most)", "2"),
    _line(
        f"{_BYTE} TCP {_TRACED} untraced", "processor time for a byte of TCP, another flow traced (at most)", "no trace"
    ),
    _line(f"{_BYTE} TCP {_RINGLESS}", _SOCKETS, "no sockets"),
    _line(f"{_BYTE} TCP {_TRACED} while", "the same of a trace beside such sockets", "those sockets"),
    *(
        _line(figure, name, against)
        for stress, said in (
            ("", ""),
            (", its collector slow", ", slow collector"),
            (", its collector stopped", ", stopped collector"),
        )
        for figure, name, against in (
            (f"{_OWN}{stress}: bytes", f"another flow delivered, the traced one flooded{said} (at least)", "no trace"),
            (f"{_OWN}{stress}: median", _ROUND, "no trace"),
            (f"{_OWN}{stress}: 99th", _TAIL, "no trace"),
            (f"{_TAKEN}{stress};", _AGENT, "all of one"),
        )
    ),
    _line(
        "a node's own flow, nothing armed, beside a process",
        "another flow, nothing armed, 99th percentile of round trips (at most)",
        "no process that only computes",
    ),
    _line("events/s from one agent's ring", "from the ring to the collector's log, events/s", f"{TCPDUMP}, lossless"),
    _line("wall time of one warm trace: pod to pod, other node, ICMP", "a warm ICMP trace, ms", "ping + 250 ms"),
    _line(f"{_IDLE}, {_FIRST}: MB", f"{_IDLE} {_FIRST}, MB", "60 MB"),
    _line(f"{_IDLE}, {_FIRST}: per cent", _PROCESSOR, "0.1 %"),
    _line(f"{_IDLE}, {_FIRST}: packet sockets", _PACKET_SOCKETS, "none"),
    _line(f"{_IDLE}, {_LAST}: MB", f"{_IDLE} {_LAST}, MB", "60 MB"),
    _line(f"{_IDLE}, {_LAST}: per cent", _PROCESSOR, "0.1 %"),
    _line(f"{_IDLE}, {_LAST}: packet sockets", _PACKET_SOCKETS, "none"),
)


def section(rows: Iterable[Row], caption: str) -> str:
    """The caption, the table, and what there is to say of the rows whose goal is not met. Raises ValueError where a row is
    missing: what is shown is of one run."""
    measured = list(rows)
    found = [(line, _of(line, measured)) for line in LINES]
    return "\n".join(
        [
            caption,
            "",
            f"| {' | '.join(HEADS)} |",
            "|---|---|---:|---:|---:|---:|---|",
            *(_cells(line, row) for line, row in found),
            "",
            *_remarks(found),
        ]
    )


def placed(page: str, text: str) -> str:
    """The page with `text` between its two marks. Raises ValueError where it has not both of them once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"The page needs one {BEGIN} and one {END}.")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.partition(END)[2]}"


def _of(line: Line, rows: Sequence[Row]) -> Row:
    fitting = [row for row in rows if row["figure"].startswith(line.figure)]
    if len(fitting) != 1:
        raise ValueError(f"There are {len(fitting)} rows of {line.figure!r}, not one: measure all groups in one run.")
    return fitting[0]


def _cells(line: Line, row: Row) -> str:
    numbers = (number(row["ours"]), number(row["peer"]), number(row["ratio"]), goal(row))
    return f"| {' | '.join((line.name, line.against, *numbers, state(row)))} |"


def _remarks(found: Iterable[tuple[Line, Row]]) -> list[str]:
    """Of what is not simply met: once for all rows with the same to say."""
    told: dict[str, list[str]] = {}
    whole = ""
    for line, row in found:
        same = line.name.startswith("the same")
        name = f"{whole}, {line.name.removeprefix('the same').lstrip(', ')}" if same else line.name
        whole = whole if same else line.name
        if row["note"] and (row["met"] is not True or "second goal" in row["note"]):
            told.setdefault(row["note"], []).append(name)
    return [f"* {_sentence(' and '.join(names))}: {note}." for note, names in told.items()]


def _sentence(text: str) -> str:
    return re.sub(r"^[a-z]", lambda found: found[0].upper(), text)
