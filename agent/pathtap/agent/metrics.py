"""What the agent counts, in Prometheus's text format 0.0.4. Pure.

Written here and not by prometheus_client: the totals come from another process as they stand, for which that library has no
counter, and it would take 3.7 MiB of an idle agent's memory (measured with 0.26.0) for these lines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pathtap.agent.counts import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The stages of docs/wire.md at which an agent can lose packets: a counter that stands there from the begin can be seen to rise.
STAGES = ("kernel", "limit", "parse", "spool", "stream", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`started` and `failed` count workers: all, and those that ended with something yet to do."""

    connected: bool
    counts: Counts = field(default_factory=Counts)
    started: int = 0
    failed: int = 0


def exposition(reading: Reading) -> str:
    counts = reading.counts
    lost = {f'where="{where}"': counts.lost.get(where, 0) for where in sorted({*STAGES, *counts.lost})}
    lines = (
        *_metric(
            "packets_accepted_total", "counter", "Packets that filters of ended captures accepted.", counts.accepted
        ),
        *_metric("packets_delivered_total", "counter", "Packets handed on to be sent.", counts.delivered),
        *_metric("packets_lost_total", "counter", "Packets lost, by stage.", lost),
        *_metric("captures_armed", "gauge", "Captures that are armed.", counts.captures),
        *_metric("spool_bytes", "gauge", "Bytes of packets that wait to be sent.", counts.waiting),
        *_metric("workers_started_total", "counter", "Processes started to read and capture.", reading.started),
        *_metric(
            "workers_failed_total", "counter", "Of these, those that ended with something yet to do.", reading.failed
        ),
        *_metric("connected", "gauge", "Whether a collector is connected.", int(reading.connected)),
    )
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, kind: str, text: str, value: int | Mapping[str, int]) -> Iterator[str]:
    """`value` by its labels where there are several."""
    full = f"pathtap_agent_{name}"
    yield f"# HELP {full} {text}"
    yield f"# TYPE {full} {kind}"
    for labels, number in value.items() if isinstance(value, Mapping) else {"": value}.items():
        yield f"{full}{{{labels}}} {number}" if labels else f"{full} {number}"
