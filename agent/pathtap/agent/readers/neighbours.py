"""Reads the neighbour tables of both families. Asks no neighbour anything."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from pathtap.agent.readers import netlink
from pathtap.agent.readers.netlink import Message
from pathtap.model.node import Neighbour

# NUD_* of linux/neighbour.h
_STATES = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


def fetch(socket: Any) -> tuple[Message, ...]:
    return tuple(message for family in netlink.FAMILIES for message in netlink.neighbours(socket, family))


def decode(messages: tuple[Message, ...], names: Mapping[int, str]) -> tuple[Neighbour, ...]:
    """`names` maps interface indices to names. Entries without an address (bridges' tables) are left out."""
    return tuple(
        Neighbour(
            interface=names.get(message["ifindex"], f"if{message['ifindex']}"),
            address=ip_address(message["attrs"]["NDA_DST"]),
            mac=message["attrs"].get("NDA_LLADDR"),
            state=_STATES.get(message["state"], f"{message['state']:#x}"),
        )
        for message in messages
        if message["family"] in netlink.FAMILIES and "NDA_DST" in message["attrs"]
    )
