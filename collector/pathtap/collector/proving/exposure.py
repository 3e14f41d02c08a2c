"""What a race for ports, or their lack, costs a node: its counters before and after, and who holds which ports. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.proving.ranges import CLIENTS, class_of
from pathtap.model.address import Address, Socket
from pathtap.model.node import PortRange
from pathtap.model.snat import CpuRise, Exposure, PortsInUse
from pathtap.model.survey import PortUsage, SurveyReport

LOST = "insert_failed"
# Destinations that are shown.
MOST_SHOWN = 5

# Protocol, destination, translated address.
Towards = tuple[int, Socket, Address]


def exposure_of(
    before: SurveyReport, after: SurveyReport, inventory: Inventory, ports: PortRange | None = None
) -> Exposure:
    """`ports` is the range of the rule that translates, None where it leaves the choice to the source port's class."""
    return Exposure(
        cpus=rises(before, after),
        ports=ports_in_use((before.usage, after.usage), inventory, ports),
        entries=after.count,
        most_entries=after.most,
    )


def rises(before: SurveyReport, after: SurveyReport) -> tuple[CpuRise, ...]:
    """By processor; one that only one of the two has is left out: nothing can be said of its rise."""
    first = {cpu.cpu: cpu.counters for cpu in before.cpus}
    return tuple(
        CpuRise(cpu=cpu.cpu, before=first[cpu.cpu], after=cpu.counters) for cpu in after.cpus if cpu.cpu in first
    )


def has_lost(before: SurveyReport, after: SurveyReport) -> bool:
    """Whether a connection could not be entered between the two."""
    return any(cpu.after.get(LOST, 0) > cpu.before.get(LOST, 0) for cpu in rises(before, after))


def ports_in_use(
    surveys: Iterable[Sequence[PortUsage]], inventory: Inventory, ports: PortRange | None = None
) -> tuple[PortsInUse, ...]:
    """The fullest first, each as the survey has it that saw most: ports of two surveys were perhaps never in use at once.

    Without those outside the range.
    """
    fullest: dict[Towards, PortsInUse] = {}
    for usage in surveys:
        for key, by_source in _held(usage, ports).items():
            found = _in_use(key, by_source, inventory, ports)
            if key not in fullest or found.in_use >= fullest[key].in_use:
                fullest[key] = found
    return tuple(sorted(fullest.values(), key=lambda each: (-each.in_use, str(each.destination)))[:MOST_SHOWN])


def _held(usage: Iterable[PortUsage], ports: PortRange | None) -> Mapping[Towards, Mapping[Address, set[int]]]:
    held: dict[Towards, dict[Address, set[int]]] = defaultdict(lambda: defaultdict(set))
    for each in usage:
        allowed = class_of(CLIENTS.first, each.protocol, ports)
        key = each.protocol, each.destination, each.translated
        held[key][each.source].update(port for port in each.ports if port in allowed)
    return held


def _in_use(
    key: Towards,
    by_source: Mapping[Address, set[int]],
    inventory: Inventory,
    ports: PortRange | None,
) -> PortsInUse:
    protocol, destination, translated = key
    users: Counter[str] = Counter()
    for source, taken in by_source.items():
        users[owner_of(source, 0, inventory).name or str(source)] += len(taken)
    return PortsInUse(
        protocol=protocol,
        destination=destination,
        translated=translated,
        in_use=len(set().union(*by_source.values())),
        capacity=class_of(CLIENTS.first, protocol, ports).size,
        users=tuple(users.most_common()),
    )
