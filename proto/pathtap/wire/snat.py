"""The answer to `snat` towards a person: what `-o json` prints. One direction only; addresses are strings here."""

from collections.abc import Mapping, Sequence

from pathtap.model.address import protocol_name
from pathtap.model.snat import (
    CpuRise,
    Intent,
    Opened,
    PortPair,
    PortsInUse,
    Snat,
    SnatVerdict,
    Standing,
    Statistics,
    TranslatingRule,
)
from pathtap.model.trace import Gap
from pathtap.v1 import snat_pb2 as pb
from pathtap.wire.addresses import timestamp_to_wire
from pathtap.wire.errors import EnumTable
from pathtap.wire.path import WITNESSES, socket_to_wire
from pathtap.wire.trace import egress_to_wire, finding_to_wire, gap_to_wire, reference_to_wire, target_to_wire

VERDICTS = EnumTable(
    "verdict",
    {
        SnatVerdict.FULLY_RANDOM: pb.Snat.FULLY_RANDOM,
        SnatVerdict.RANDOM_NOT_FULLY: pb.Snat.RANDOM_NOT_FULLY,
        SnatVerdict.NOT_RANDOM: pb.Snat.NOT_RANDOM,
        SnatVerdict.NOT_TRANSLATED: pb.Snat.NOT_TRANSLATED,
        SnatVerdict.NOT_IN_EFFECT: pb.Snat.NOT_IN_EFFECT,
        SnatVerdict.CONTRADICTORY: pb.Snat.CONTRADICTORY,
        SnatVerdict.INCONCLUSIVE: pb.Snat.INCONCLUSIVE,
    },
)
STANDINGS = EnumTable(
    "rule's standing",
    {
        Standing.FIRST: pb.Snat.Rule.FIRST,
        Standing.BEHIND: pb.Snat.Rule.BEHIND,
        Standing.PASSED_BY: pb.Snat.Rule.PASSED_BY,
        Standing.UNDECIDED: pb.Snat.Rule.UNDECIDED,
    },
)
# The wire's counts have 32 bits, the kernel's 64.
LARGEST = 2**32 - 1


def snat_to_wire(snat: Snat) -> pb.Snat:
    exposure, statistics = snat.exposure, snat.statistics
    return pb.Snat(
        id=snat.id,
        started_at=timestamp_to_wire(snat.started_at),
        finished_at=timestamp_to_wire(snat.finished_at),
        source=target_to_wire(snat.source),
        destination=None if snat.destination is None else target_to_wire(snat.destination),
        protocol=protocol_name(snat.protocol) if snat.protocol else "",
        live=snat.live,
        verdict=VERDICTS.to_wire(snat.verdict),
        as_intended=snat.as_intended,
        summary=snat.summary,
        intent=None if snat.intent is None else _intent_to_wire(snat.intent),
        rule=reference_to_wire(snat.rule),
        rules=[_rule_to_wire(rule) for rule in snat.rules],
        translated_to="" if snat.translated_to is None else str(snat.translated_to),
        egress=egress_to_wire(snat.egress),
        pairs=[_pair_to_wire(pair) for pair in snat.pairs],
        preserved=0 if statistics is None else statistics.preserved,
        connections=len(snat.pairs),
        statistics=None if statistics is None else _statistics_to_wire(statistics),
        opened=None if snat.opened is None else _opened_to_wire(snat.opened),
        insert_failed=_count(exposure.rise("insert_failed")),
        insert_failed_total=_count(exposure.total("insert_failed")),
        cpus=[_cpu_to_wire(cpu) for cpu in exposure.cpus],
        ports_in_use=[_ports_to_wire(ports) for ports in exposure.ports],
        conntrack_entries=exposure.entries,
        conntrack_most=exposure.most_entries,
        findings=[finding_to_wire(finding) for finding in snat.findings],
        gaps=[gap_to_wire(gap) for gap in snat.gaps],
        settings=[pb.Snat.Setting(name=each.name, value=each.value, source=each.source) for each in snat.settings],
    )


def snat_table_to_wire(started_at: int, finished_at: int, nodes: Sequence[Snat], gaps: Sequence[Gap]) -> pb.SnatTable:
    """Times are nanoseconds since the Unix epoch."""
    return pb.SnatTable(
        started_at=timestamp_to_wire(started_at),
        finished_at=timestamp_to_wire(finished_at),
        nodes=[snat_to_wire(node) for node in nodes],
        gaps=[gap_to_wire(gap) for gap in gaps],
    )


def _intent_to_wire(intent: Intent) -> pb.Snat.Intent:
    return pb.Snat.Intent(
        translated=intent.translated, random=intent.random.value, says=intent.says, source=intent.source
    )


def _rule_to_wire(rule: TranslatingRule) -> pb.Snat.Rule:
    return pb.Snat.Rule(owner=rule.owner, rule=reference_to_wire(rule.rule), standing=STANDINGS.to_wire(rule.standing))


def _pair_to_wire(pair: PortPair) -> pb.Snat.Pair:
    return pb.Snat.Pair(
        protocol=protocol_name(pair.protocol),
        original=socket_to_wire(pair.original),
        translated=socket_to_wire(pair.translated),
        destination=socket_to_wire(pair.destination),
        witnesses=[WITNESSES.to_wire(witness) for witness in pair.witnesses],
        interface=pair.interface,
        discounted=pair.discounted,
    )


def _statistics_to_wire(statistics: Statistics) -> pb.Snat.Statistics:
    return pb.Snat.Statistics(
        counted=statistics.counted,
        preserved=statistics.preserved,
        needed=statistics.needed,
        first=statistics.first,
        last=statistics.last,
        lowest=statistics.lowest,
        highest=statistics.highest,
        distance=statistics.distance,
        distance_limit=statistics.distance_limit,
        successive=statistics.successive,
        successive_limit=statistics.successive_limit,
        false_alarm=statistics.false_alarm,
    )


def _opened_to_wire(opened: Opened) -> pb.Snat.Opened:
    return pb.Snat.Opened(
        answered=opened.answered,
        refused=opened.refused,
        unreachable=opened.unreachable,
        silent=opened.silent,
        failed=opened.failed,
        failure=opened.failure,
    )


def _cpu_to_wire(cpu: CpuRise) -> pb.Snat.Cpu:
    return pb.Snat.Cpu(cpu=cpu.cpu, before=_counters_to_wire(cpu.before), after=_counters_to_wire(cpu.after))


def _counters_to_wire(counters: Mapping[str, int]) -> pb.Snat.Cpu.Counters:
    return pb.Snat.Cpu.Counters(
        insert_failed=_count(counters.get("insert_failed", 0)),
        drop=_count(counters.get("drop", 0)),
        early_drop=_count(counters.get("early_drop", 0)),
        clash_resolve=_count(counters.get("clash_resolve", 0)),
        search_restart=_count(counters.get("search_restart", 0)),
    )


def _ports_to_wire(ports: PortsInUse) -> pb.Snat.PortsInUse:
    return pb.Snat.PortsInUse(
        protocol=protocol_name(ports.protocol),
        destination=socket_to_wire(ports.destination),
        translated=str(ports.translated),
        in_use=ports.in_use,
        capacity=ports.capacity,
        users=[pb.Snat.PortsInUse.User(name=name, ports=held) for name, held in ports.users],
    )


def _count(value: int) -> int:
    return min(max(value, 0), LARGEST)
