"""Counts what a campaign saw. Adds up, and travels as JSON between its processes."""

import json
from collections import Counter
from dataclasses import dataclass, field

from differential.exchange import Experience
from pathtap.forwarding import Prediction

# Longer sentences are told apart by their beginnings.
WORDS = 200


@dataclass(slots=True)
class Tally:
    """`counts` by kind, `reasons` of the unknown by sentence, `contradictions` and `refused` (configurations) as sentences."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    contradictions: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, each: Experience, wrong: str) -> None:
        prediction, packet = each.prediction, each.sent.packet
        self.counts.update(("packets", each.sent.kind, f"IPv{packet.family}"))
        if prediction.unknown:
            self.counts["unknown"] += 1
            self.reasons.update(why[:WORDS] for why in prediction.unknown[:1])
            return
        self.counts.update((prediction.outcome.value.lower(), *_kinds(prediction)))
        self.counts["told"] += each.sight.fate == "stopped" and each.sight.refused
        self.counts["own"] += not packet.in_interface
        self.counts["contradictions"] += bool(wrong)

    def merge(self, other: "Tally") -> None:
        self.counts += other.counts
        self.reasons += other.reasons
        self.contradictions += other.contradictions
        self.refused += other.refused

    def to_json(self) -> str:
        return json.dumps(
            {
                "counts": dict(sorted(self.counts.items())),
                "reasons": dict(self.reasons.most_common()),
                "contradictions": self.contradictions,
                "refused": self.refused,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        told = json.loads(text)
        return cls(Counter(told["counts"]), Counter(told["reasons"]), told["contradictions"], told["refused"])

    def text(self) -> str:
        counts = self.counts
        total = counts["packets"] or 1
        lines = [f"{counts['configurations']:8} configurations, {counts['packets']} packets"]
        others = [(name, number) for name, number in counts.most_common() if name not in ("configurations", "packets")]
        lines += [f"{number:8} {name} ({100 * number / total:.2f} %)" for name, number in others]
        lines += [f"{number:8} unknown: {why}" for why, number in self.reasons.most_common(20)]
        lines += [f"contradiction: {text}" for text in self.contradictions]
        lines += [f"a tool refused what was drawn: {text}" for text in self.refused[:3]]
        return "\n".join(lines)


def _kinds(prediction: Prediction) -> list[str]:
    found = {
        "dnat": prediction.dnat is not None or prediction.packet.dnated,
        "snat": prediction.snat is not None or prediction.packet.snated,
        "marked": bool(prediction.packet.mark),
        "connmarked": bool(prediction.packet.connmark),
        "untracked": not prediction.packet.tracked,
        "reverse path": prediction.reverse_path is not None,
    }
    return [name for name, holds in found.items() if holds]
