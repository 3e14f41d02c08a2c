"""The matrix as a table of Markdown: what was measured in each cell, or why there is none. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from translation.matrix import Place, impossible, places

_HEAD = """\
# Who translates, how, in which situation: what `pathtap snat` said

Each cell was arranged on a lab's node and asked through the command line, 64 connections each. `kept` are the ports
that NAT left as they were, of those that count. A cell that no node can have says why.

| writer | situation | store | flag | verdict | exit | first rule | kept |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`rule` is the chain of the rule that comes first, empty where none does."""

    verdict: str
    exit_code: int
    rule: str
    preserved: int
    counted: int

    @classmethod
    def of(cls, snat: Any) -> Self:
        """Of the JSON of an answer, with the exit code beside it."""
        rule = snat.get("rule")
        return cls(
            verdict=snat["verdict"],
            exit_code=snat["exit_code"],
            rule=f"{rule['table']} {rule['chain']}" if rule else "",
            preserved=snat["preserved"],
            counted=snat["statistics"]["counted"] if "statistics" in snat else 0,
        )


def table(measured: Mapping[Place, Measured]) -> str:
    return _HEAD + "".join(f"| {' | '.join(_row(place, measured.get(place)))} |\n" for place in places())


def _row(place: Place, found: Measured | None) -> tuple[str, ...]:
    where = (place.writer.value, place.situation.value, place.store.value, place.flag.value)
    if reason := impossible(place):
        return (*where, f"none: {reason}", "", "", "")
    if found is None:
        return (*where, "not asked", "", "", "")
    kept = f"{found.preserved} of {found.counted}" if found.counted else ""
    return (*where, found.verdict, str(found.exit_code), found.rule, kept)
