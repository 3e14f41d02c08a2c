"""How a way out of a node is said. Pure; decides nothing."""

from pathtap.collector.telling import words
from pathtap.forwarding.routing import RoutingDecision
from pathtap.model.node import Interface, table_name
from pathtap.model.trace import Egress


def egress_by(node: str, name: str, interface: Interface | None, decision: RoutingDecision | None) -> Egress:
    """Out of the interface `name`; with table, rule and route where the decision leads there."""
    agreed = decision if decision is not None and decision.interface == name else None
    return Egress(
        node=node,
        interface=name,
        eni_id=interface.eni_id if interface else "",
        table=table_name(agreed.route.table) if agreed and agreed.route else "",
        rule=words.rule_words(agreed.rule) if agreed and agreed.rule else "",
        route=agreed.route.text if agreed and agreed.route else "",
    )
