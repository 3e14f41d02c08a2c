"""Composes hooks and routing into one packet's way through one node.

Knows no fabric and no neighbours: what the VPC makes of the packet, and whether the next hop answers, is
for others. Follows ip_rcv, ip_forward, ip_local_deliver, __ip_local_out and ip_mc_output (net/ipv4).
"""

from collections.abc import Callable
from dataclasses import replace

from pathtap.forwarding.chains import EGRESS, FORWARD, INGRESS, INPUT, OUTPUT, POSTROUTING, PREROUTING, Stage
from pathtap.forwarding.conclusion import conclude
from pathtap.forwarding.netfilter import Walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.prediction import DnatPrediction, MarkChange, Outcome, Prediction, Shown, SnatPrediction
from pathtap.forwarding.routing import LOOPBACK, RoutingDecision
from pathtap.forwarding.sources import martian, unwelcome, validate
from pathtap.forwarding.world import TooManyPossibilitiesError, World, merge
from pathtap.model.address import Socket

__all__ = [
    "DnatPrediction",
    "MarkChange",
    "NodeModel",
    "Outcome",
    "Prediction",
    "RoutingDecision",
    "Shown",
    "SnatPrediction",
    "predict",
]

REFUSED = {
    "no route": Outcome.NO_ROUTE,
    "blackhole": Outcome.DROPPED,
    "unreachable": Outcome.REJECTED,
    "prohibit": Outcome.REJECTED,
}


def predict(
    model: NodeModel, packet: Packet, translated_to: Socket | None = None, shown: Shown | None = None
) -> Prediction:
    """What the node must do with the packet, from the interface it came in by, or from its own socket, to its way out.

    `translated_to` is the destination that conntrack or packets showed after DNAT: of several possible backends the one
    that was really chosen. Where no rule leads there, nothing is chosen and the prediction's `unknown` says so.
    `shown` decides in which order chains of equal priority ran, where it can, and nothing else.
    """
    try:
        began = World(packet=replace(packet, first=packet.five_tuple))
        worlds, notes = _Passage(model, translated_to).run(began)
    except TooManyPossibilitiesError:
        why = "the rules that cannot be evaluated leave too many possibilities"
        return Prediction(outcome=Outcome.UNKNOWN, packet=packet, unknown=(why,))
    return conclude(_as_ordered(worlds, shown) if shown else worlds, notes)


class _Passage:
    def __init__(self, model: NodeModel, translated_to: Socket | None) -> None:
        self._model = model
        self._translated_to = translated_to
        self._notes: tuple[str, ...] = ()

    def run(self, world: World) -> tuple[list[World], tuple[str, ...]]:
        worlds = [world]
        if not world.packet.in_interface:
            worlds = self._each(worlds, self._route)
            worlds = [_on_its_way(each) for each in self._hook(OUTPUT, worlds)]
            worlds = self._each(self._hook(POSTROUTING, worlds), self._leaving)
            worlds = [_looped(each) if each.outcome is None else each for each in worlds]
        worlds = self._each(worlds, self._coming)
        worlds = self._hook(PREROUTING, worlds)
        worlds = self._each(worlds, self._received)
        worlds = self._hook(INPUT, worlds, local=True)
        worlds = self._hook(FORWARD, worlds, local=False)
        worlds = self._each(self._hook(POSTROUTING, worlds, local=False), self._leaving)
        return [_arrived(each) if each.outcome is None else each for each in worlds], self._notes

    def _each(self, worlds: list[World], step: Callable[[World], list[World]]) -> list[World]:
        return merge(after for world in worlds for after in ([world] if world.outcome else step(world)))

    def _hook(self, hook: str, worlds: list[World], *, local: bool | None = None) -> list[World]:
        """Runs the hook for those still on their way; `local` picks those that were routed so."""
        walk = Walk(self._model, hook)
        passing = [each for each in worlds if each.outcome is None and local in (None, _is_local(each))]
        others = [each for each in worlds if each not in passing]
        for stage in self._model.stages(passing[0].packet.family, hook) if passing else ():
            after = merge(each for world in passing for each in self._staged(walk, stage, hook, world))
            if stage.nat and hook in (PREROUTING, OUTPUT):
                after = self._settled(after)
            others.extend(each for each in after if each.outcome)
            passing = [each for each in after if not each.outcome]
        return merge([*others, *passing])

    def _coming(self, world: World) -> list[World]:
        found = self._at_device(INGRESS, world.packet.in_interface, world)
        why = unwelcome(world.packet)
        return [each.ended(Outcome.DROPPED, why) if why and not each.outcome else each for each in found]

    def _leaving(self, world: World) -> list[World]:
        delivered = _is_local(world) and world.packet.in_interface
        return [world] if delivered else self._at_device(EGRESS, world.packet.out_interface, world)

    def _at_device(self, hook: str, device: str, world: World) -> list[World]:
        """The interface's own hook: before the kernel looks at the packet as IP at all, or after all else."""
        walk, worlds = Walk(self._model, hook), [world]
        for stage in self._model.stages(world.packet.family, hook, device):
            worlds = merge(after for each in worlds for after in ([each] if each.outcome else walk.stage(stage, each)))
        return worlds

    def _staged(self, walk: Walk, stage: Stage, hook: str, world: World) -> list[World]:
        after = walk.stage(stage, world)
        if hook != OUTPUT:
            return after
        routes_again = any(chain.reroutes for group in stage.groups for chain in group)
        found: list[World] = []
        for each in after:
            moved = each.packet.five_tuple.destination != world.packet.five_tuple.destination
            marked = routes_again and _routing_keys(each) != _routing_keys(world)
            found.extend(self._routed_again(each) if (moved or marked) and each.outcome is None else [each])
        return found

    def _routed_again(self, world: World) -> list[World]:
        """The rest of OUTPUT still sees the interface of the first lookup: nf_hook_state is filled once (__ip_local_out)."""
        seen = world.packet.out_interface
        return [replace(each, packet=replace(each.packet, out_interface=seen)) for each in self._route(world)]

    def _settled(self, worlds: list[World]) -> list[World]:
        """Only the worlds whose destination is the one that was recorded, where there are any."""
        seen = self._translated_to
        if seen is None or any(world.packet.in_interface == "lo" for world in worlds):
            return worlds
        chosen = [world for world in worlds if not world.outcome and world.packet.five_tuple.destination_socket == seen]
        if not chosen:
            self._notes = (f"the destination became {seen}, and no rule that was read does that",)
        return chosen or worlds

    def _route(self, world: World) -> list[World]:
        """The output lookup: the way out of a packet of the node itself."""
        found = self._model.tables.possibilities(world.packet)
        choices = range(1, len(found) + 1) if len(found) > 1 else (0,)
        decided = [_decided(world, decision, choice) for choice, decision in zip(choices, found, strict=True)]
        return decided if world.packet.in_interface else [self._sendable(each) for each in decided]

    def _sendable(self, world: World) -> World:
        """A loopback source does not leave by another interface unless that has route_localnet (__mkroute_output, IPv4 alone)."""
        source, interface = world.packet.five_tuple.source, world.packet.out_interface
        stays = source.version == 6 or not source.is_loopback or interface == LOOPBACK
        if world.outcome or stays or self._model.either_switch(interface, "route_localnet"):
            return world
        return world.ended(Outcome.DROPPED, f"{source} does not leave by {interface}: its route_localnet is off")

    def _received(self, world: World) -> list[World]:
        """The input lookup, whether this interface's packets are forwarded at all, and whether their source is believed."""
        why = martian(self._model, world.packet)
        if why:
            return [world.ended(Outcome.DROPPED, why)]
        after = self._route(world)
        interface = world.packet.in_interface
        if self._model.forwards(world.packet.family, interface) is False:
            why = f"forwarding is switched off for packets that came in by {interface}"
            after = [each if each.outcome or _is_local(each) else each.ended(Outcome.DROPPED, why) for each in after]
        return [left for each in after for left in self._validated(each)]

    def _validated(self, world: World) -> list[World]:
        """What source validation leaves of it: the world, the world dropped, or both where nobody can tell."""
        if world.outcome or world.routing is None:
            return [world]
        found = validate(self._model, world.packet, world.routing)
        choices = [world.assuming(found.unknown, 0) if found.unknown else world] if found.passes else []
        for number, refusal in enumerate(found.refusals, 1):
            dropped = replace(world, reverse_path=refusal.reverse_path).ended(Outcome.DROPPED, refusal.reason)
            choices.append(dropped.assuming(found.unknown, number) if found.unknown else dropped)
        return choices


def _as_ordered(worlds: list[World], shown: Shown) -> list[World]:
    """Without the orders by which nothing comes to what was shown; all of them where that is none's outcome."""
    possible = {world.orders for world in worlds if world.orders and _leads_to(shown, world)}
    return [world for world in worlds if not world.orders or world.orders in possible] if possible else worlds


def _leads_to(shown: Shown, world: World) -> bool:
    packet, routing = world.packet, world.routing
    if world.outcome is Outcome.UNKNOWN:
        return True
    if shown.interface and (
        world.outcome is not Outcome.FORWARDED or not routing or routing.interface != shown.interface
    ):
        return False
    if shown.connmark is not None and packet.tracked and packet.connmark != shown.connmark:
        return False
    return shown.source in (None, packet.five_tuple.source) or (world.snat is not None and world.snat.socket is None)


def _routing_keys(world: World) -> tuple[int, int]:
    """What a route chain may change: ipt_mangle_out of iptable_mangle.c, nf_route_table_hook4 of nft_chain_route.c."""
    return world.packet.mark, world.packet.tos


def _decided(world: World, decision: RoutingDecision, choice: int) -> World:
    """`choice` numbers one of several possible decisions and is 0 where there is one."""
    made = replace(decision, unknown=()) if decision.decided else decision
    leaving = replace(world.packet, out_interface=decision.interface)
    routed = replace(world, routing=made, routed=world.packet, packet=leaving)
    for why in decision.unknown if choice else ():
        routed = routed.assuming(why, choice)
    if not decision.decided:
        return routed.ended(Outcome.UNKNOWN, "; ".join(decision.unknown))
    if decision.refused:
        return routed.ended(REFUSED[decision.refused], decision.text)
    return routed


def _is_local(world: World) -> bool:
    return world.routing is not None and world.routing.local


def _on_its_way(world: World) -> World:
    """After OUTPUT the packet's interface is that of its last lookup."""
    if world.outcome or world.routing is None:
        return world
    return replace(world, packet=replace(world.packet, out_interface=world.routing.interface))


def _looped(world: World) -> World:
    """A packet to the node itself comes in again by the loopback interface; any other has left."""
    if not _is_local(world):
        return world.ended(Outcome.FORWARDED, "")
    return replace(world, packet=replace(world.packet, in_interface="lo", out_interface=""))


def _arrived(world: World) -> World:
    return world.ended(Outcome.LOCAL if _is_local(world) else Outcome.FORWARDED, "")
