"""Draws packets for a scene: forwarded ones, those for the node, its own, to services, and hairpins."""

from dataclasses import dataclass, replace
from random import Random

from differential.scene import PODS, Scene
from pathtap.forwarding import Packet
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.packet import TcpFlag

FIRST_TOKEN = 0x50540000
STEP = 4
PORTS = (443, 53, 80, 8080, 8081, 30080)
CLIENT_PORTS = 20000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`packet` is what the model is asked about. `kind` is opening, reply or next."""

    token: int
    packet: Packet
    kind: str = "opening"


def opening(dice: Random, scene: Scene, number: int, *, by_ports: bool) -> Sent:
    """The `number` is unique in its configuration. `by_ports` says that routes depend on ports, which raw sockets do not tell."""
    token, port = FIRST_TOKEN + STEP * number, CLIENT_PORTS + number
    protocol = dice.choice((Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.UDP, scene.icmp))
    source, came_by = _source(dice, scene)
    loops = not came_by and dice.random() < 0.1
    if not came_by and by_ports:
        protocol = Protocol.UDP
    destination, towards = _destination(dice, scene, source)
    if loops:
        source = destination = scene.loopback
    if protocol is not scene.icmp and towards in (53,) and dice.random() < 0.8:
        protocol = Protocol.UDP
    flow = FiveTuple(
        protocol=protocol,
        source=scene.address(source),
        source_port=port,
        destination=scene.address(destination),
        destination_port=0 if protocol is scene.icmp else towards,
    )
    packet = replace(Packet.opening(flow, came_by), tos=0x10 if dice.random() < 0.08 else 0)
    if not came_by and dice.random() < 0.25:
        packet = replace(packet, mark=dice.choice((0x80, 0x1)))
    return Sent(token=token, packet=packet)


def _source(dice: Random, scene: Scene) -> tuple[str, str]:
    """The address, and the interface by which it comes, empty for the node itself."""
    pods = list(zip(scene.pods, PODS, strict=True))
    others = [
        (scene.outside[2], "eth0"),
        (scene.peers[0], "eth1"),
        (scene.peers[1], "eth0"),
        (scene.outside[0], "eth0"),
    ]
    return dice.choice([*pods, *pods, *others, (scene.node, ""), (scene.node, ""), (scene.secondary, "")])


def _destination(dice: Random, scene: Scene, source: str) -> tuple[str, int]:
    chance = dice.random()
    if chance < 0.25:
        return dice.choice(scene.services)
    if chance < 0.35:
        return scene.node, dice.choice((30080, 8081, 8080, 53))
    others = [*scene.outside, *scene.outside, *scene.peers, *scene.pods[:2], scene.node, scene.secondary]
    return dice.choice([each for each in others if each != source]), dice.choice(PORTS)


def flags(sent: Sent) -> tuple[TcpFlag, int]:
    """TCP flags and sequence number: an opening acknowledges nothing, an answer and what follows it acknowledge what came."""
    if sent.kind == "opening":
        return TcpFlag.SYN, sent.token
    if sent.kind == "reply":
        return TcpFlag.SYN | TcpFlag.ACK, sent.token
    return TcpFlag.ACK, sent.token - 1
