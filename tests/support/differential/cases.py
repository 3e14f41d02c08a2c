"""Keeps what contradicted the model: a directory with the configuration, the snapshot that was read of it, the packet, and
what the kernel did. A unit test asks the model again, without root.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from differential.configuration import Configuration
from differential.exchange import Experience, Sight
from pathtap.forwarding import Packet, State
from pathtap.model.address import FiveTuple
from pathtap.model.netfilter import RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import TcpFlag
from pathtap.v1 import node_pb2
from pathtap.wire.node import snapshot_from_wire, snapshot_to_wire

DIRECTORY = Path(__file__).parents[2] / "netns" / "differential_cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`why` is what the model had said against the kernel, before it was mended."""

    snapshot: NodeSnapshot
    packet: Packet
    sight: Sight
    why: str


def write(directory: Path, drawn: Configuration, case: Case) -> None:
    """Three files: the words of the tools for people, the snapshot in the wire's JSON, the packet with what became of it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "configuration.txt").write_text(_words(drawn))
    # What a prediction does not read would only be noise.
    kept = replace(case.snapshot, taken_at=0, counters={}, neighbours=(), interiors=())
    told = MessageToDict(snapshot_to_wire(kept), preserving_proto_field_name=True)
    (directory / "snapshot.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    record = {
        "why": case.why,
        "packet": _packet(case.packet),
        "kernel": _sight(case.sight),
        # No agent can read them, so they do not travel by the wire.
        "registrations": dict(_registrations(case.snapshot)),
    }
    (directory / "case.json").write_text(json.dumps(record, indent=1) + "\n")


def read(directory: Path) -> Case:
    record = json.loads((directory / "case.json").read_text())
    told = json.loads((directory / "snapshot.json").read_text())
    snapshot = snapshot_from_wire(ParseDict(told, node_pb2.NodeSnapshot()))
    rule_sets = tuple(_registered(each, record["registrations"]) for each in snapshot.rule_sets)
    kernel = record["kernel"]
    return Case(
        snapshot=replace(snapshot, rule_sets=rule_sets),
        packet=_packet_from(record["packet"]),
        sight=Sight(**{**kernel, "tuple": _tuple_from(kernel["tuple"])}),
        why=record["why"],
    )


def of(experience: Experience, snapshot: NodeSnapshot, why: str) -> Case:
    return Case(snapshot=snapshot, packet=experience.sent.packet, sight=experience.sight, why=why)


def _words(drawn: Configuration) -> str:
    parts = [f"# stores are loaded in this order: {', '.join(drawn.order)}"]
    parts += [f"ip -{drawn.family} rule add {text}" for text in drawn.rules]
    parts += [f"ip -{drawn.family} route add {text}" for text in drawn.routes]
    parts += [f"sysctl {name.replace('/', '.')}={value}" for name, value in drawn.sysctls]
    for name, text in (("ipset restore", drawn.ipsets), ("legacy restore", drawn.legacy), ("nft restore", drawn.nft)):
        parts += [f"\n# {name}", text] if text else []
    parts += [f"\n# nft -f\n{table.text}" for table in drawn.native]
    return "\n".join(parts) + "\n"


def _registrations(snapshot: NodeSnapshot) -> list[tuple[str, int]]:
    return [
        (_key(rule_set, chain.name), chain.registration)
        for rule_set in snapshot.rule_sets
        for chain in rule_set.chains
        if chain.registration
    ]


def _registered(rule_set: RuleSet, registrations: Mapping[str, int]) -> RuleSet:
    chains = tuple(
        replace(chain, registration=registrations.get(_key(rule_set, chain.name), 0)) for chain in rule_set.chains
    )
    return replace(rule_set, chains=chains)


def _key(rule_set: RuleSet, chain: str) -> str:
    return f"{rule_set.backend.value} {rule_set.family} {rule_set.table} {chain}"


def _sight(sight: Sight) -> dict[str, Any]:
    return {**asdict(sight), "tuple": _tuple(sight.tuple)}


def _packet(packet: Packet) -> dict[str, Any]:
    entry = packet.entry
    return {
        "five_tuple": _tuple(packet.five_tuple),
        "translated": _tuple(packet.translated),
        "entry": [_tuple(each) for each in entry] if entry else None,
        "in_interface": packet.in_interface,
        "mark": packet.mark,
        "connmark": packet.connmark,
        "state": packet.state.value,
        "reply": packet.reply,
        "dnated": packet.dnated,
        "snated": packet.snated,
        "icmp_type": packet.icmp_type,
        "tcp_flags": None if packet.tcp_flags is None else int(packet.tcp_flags),
        "tos": packet.tos,
    }


def _packet_from(told: dict[str, Any]) -> Packet:
    flow, entry, flags = _tuple_from(told["five_tuple"]), told["entry"], told["tcp_flags"]
    assert flow is not None
    made: dict[str, Any] = {
        **told,
        "five_tuple": flow,
        "translated": _tuple_from(told["translated"]),
        "entry": tuple(_tuple_from(each) for each in entry) if entry else None,
        "state": State(told["state"]),
        "tcp_flags": None if flags is None else TcpFlag(flags),
    }
    return Packet(**made)


def _tuple(flow: FiveTuple | None) -> list[Any] | None:
    if flow is None:
        return None
    return [int(flow.protocol), str(flow.source), flow.source_port, str(flow.destination), flow.destination_port]


def _tuple_from(told: list[Any] | None) -> FiveTuple | None:
    if told is None:
        return None
    protocol, source, source_port, destination, destination_port = told
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=source_port,
        destination=ip_address(destination),
        destination_port=destination_port,
    )
