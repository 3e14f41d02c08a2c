"""Compares what the model said with what the kernel did. Knows neither rules nor routes."""

from differential.exchange import Sight
from pathtap.forwarding import Outcome, Prediction
from pathtap.model.address import FiveTuple
from pathtap.model.netfilter import Random

FATES = {Outcome.FORWARDED: "forwarded", Outcome.LOCAL: "delivered"}
SENDER_IS_TOLD = (Outcome.REJECTED, Outcome.NO_ROUTE)


def contradiction(prediction: Prediction, sight: Sight) -> str:
    """Empty where the kernel did what the model said; else a sentence. Predictions with gaps are not to be given here."""
    fate = FATES.get(prediction.outcome, "stopped")
    if fate != sight.fate:
        return (
            f"{prediction.outcome.value} was said ({prediction.reason or _way(prediction)}), but it was {_words(sight)}"
        )
    if fate == "stopped":
        told = sight.refused and prediction.outcome not in SENDER_IS_TOLD
        return f"{prediction.outcome.value} was said ({prediction.reason}), but the sender was told" if told else ""
    if fate == "forwarded" and (prediction.routing is None or prediction.routing.interface != sight.interface):
        return f"{_way(prediction)} was said, but it was {_words(sight)}"
    return _translation(prediction, sight) or _marks(prediction, sight)


def _marks(prediction: Prediction, sight: Sight) -> str:
    packet = prediction.packet
    if packet.mark != sight.mark:
        return f"fwmark {packet.mark:#x} was said, but it was {sight.mark:#x}"
    connmark = packet.connmark if packet.tracked else None
    if connmark != sight.connmark:
        return f"connmark {_mark(connmark)} was said, but it was {_mark(sight.connmark)}"
    return ""


def _mark(value: int | None) -> str:
    return "none" if value is None else f"{value:#x}"


def _translation(prediction: Prediction, sight: Sight) -> str:
    said, made = prediction.packet.five_tuple, sight.tuple
    if made is None:
        return ""
    wrong = f"{said} was said, but it was {made}"
    if said.destination_socket != made.destination_socket:
        return wrong
    snat = prediction.snat
    if snat is None:
        return "" if said == made else wrong
    if snat.address is not None and snat.address != made.source:
        return wrong
    if snat.ports is not None and made.source_port not in snat.ports:
        return f"a port within {snat.ports.first}-{snat.ports.last} was said, but it was {made}"
    if snat.random is Random.NONE and snat.ports is None and said.source_port != made.source_port:
        return wrong
    return "" if _port_class(said) == _port_class(made) or said.source_port == 0 else wrong


def _port_class(flow: FiveTuple) -> int:
    """nf_nat_l4proto_unique_tuple: the port stays below 512, below 1024, or above. An ICMP identifier has no class."""
    if flow.protocol in (1, 58):
        return 0
    return 0 if flow.source_port < 512 else 1 if flow.source_port < 1024 else 2


def _way(prediction: Prediction) -> str:
    return prediction.routing.text if prediction.routing else "nothing"


def _words(sight: Sight) -> str:
    by = f" by {sight.interface} as {sight.tuple}" if sight.interface else ""
    return f"{sight.fate}{by}{' and refused' if sight.refused else ''}"
