"""What races and the lack of ports cost: counters before and after, ports in use and who holds them."""

from ipaddress import ip_address

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.proving.exposure import exposure_of
from pathtap.model.address import Socket
from pathtap.model.inventory import Pod
from pathtap.model.node import PortRange
from pathtap.model.survey import CpuCounters, PortUsage, SurveyReport

CART, STRANGER, NODE = (ip_address(f"192.168.1.{last}") for last in (116, 200, 29))
OUTSIDE = Socket(ip_address("198.51.100.8"), 443)
POD = Pod(namespace="shop", name="cart", uid="u", node="n", phase="Running", addresses=(CART,))
INVENTORY = Inventory(pods={POD.key: POD})


def cpus(*failed: int) -> tuple[CpuCounters, ...]:
    return tuple(CpuCounters(cpu=cpu, counters={"insert_failed": count, "drop": 1}) for cpu, count in enumerate(failed))


def usage(source: str, *ports: int, protocol: int = 6, destination: Socket = OUTSIDE) -> PortUsage:
    return PortUsage(
        protocol=protocol, destination=destination, translated=NODE, source=ip_address(source), ports=ports
    )


def test_each_processors_rise_and_their_sum() -> None:
    exposure = exposure_of(SurveyReport(cpus=cpus(3, 10)), SurveyReport(cpus=cpus(4, 15)), INVENTORY)
    assert exposure.rise("insert_failed") == 6
    assert exposure.total("insert_failed") == 19
    assert exposure.rise("drop") == 0
    assert [cpu.cpu for cpu in exposure.cpus] == [0, 1]


def test_a_processor_without_a_first_reading_has_no_rise() -> None:
    exposure = exposure_of(SurveyReport(cpus=cpus(3)), SurveyReport(cpus=cpus(4, 15)), INVENTORY)
    assert exposure.rise("insert_failed") == 1


def test_ports_in_use_by_whom_the_fullest_destination_first() -> None:
    quiet = Socket(OUTSIDE.address, 80)
    before = SurveyReport(usage=(usage("192.168.1.116", 2000, 2001), usage("192.168.1.200", 3000)))
    after = SurveyReport(usage=(usage("192.168.1.116", 2001, 2002), usage("192.168.1.116", 4000, destination=quiet)))
    full, other = exposure_of(before, after, INVENTORY).ports
    assert (full.destination, full.in_use, full.capacity) == (OUTSIDE, 3, 64_512)
    assert full.users == (("shop/cart", 2), ("192.168.1.200", 1))
    assert (other.destination, other.in_use) == (quiet, 1)


def test_ports_of_two_surveys_do_not_add_up() -> None:
    """The table was flushed meanwhile: no more were in use at once than either survey saw."""
    before = SurveyReport(usage=(usage("192.168.1.116", *range(2000, 2100)),))
    after = SurveyReport(usage=(usage("192.168.1.116", *range(5000, 5120)),))
    for one, other in ((before, after), (after, before)):
        (ports,) = exposure_of(one, other, INVENTORY).ports
        assert (ports.in_use, ports.users) == (120, (("shop/cart", 120),))


def test_ports_outside_the_range_take_nothing_away() -> None:
    report = SurveyReport(usage=(usage("192.168.1.116", 80, 1024, 65_535),))
    (one,) = exposure_of(report, report, INVENTORY).ports
    assert one.in_use == 2
    (narrow,) = exposure_of(report, report, INVENTORY, PortRange(first=1024, last=1033)).ports
    assert (narrow.in_use, narrow.capacity) == (1, 10)


def test_identifiers_have_their_own_range_and_other_protocols_are_no_crash() -> None:
    echoes = usage("192.168.1.116", 1, 2, protocol=1, destination=Socket(OUTSIDE.address, 0))
    sctp = usage("192.168.1.116", 9, protocol=132)
    found = exposure_of(SurveyReport(), SurveyReport(usage=(echoes, sctp)), INVENTORY).ports
    assert [(each.protocol, each.in_use, each.capacity) for each in found] == [(1, 2, 65_536), (132, 0, 64_512)]
