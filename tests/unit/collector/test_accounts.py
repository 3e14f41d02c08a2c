"""Accepted is delivered and all that is lost; where it is not, that is a gap of its own."""

from pathtap.collector.judging.accounts import accounts_of, unaccounted
from pathtap.model.account import Account, LostAt
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureEnded, CaptureStats


def ended(**received: int) -> dict[str, CaptureEnded]:
    stats = (CaptureStats(interface=name, received=count, dropped=0) for name, count in received.items())
    return {"n": CaptureEnded(id="c", stats=tuple(stats))}


def lost(where: str, count: int, interface: str = "eth0", capture: str = "c") -> Lost:
    return Lost(node="n", where=where, count=count, capture=capture, interface=interface)


def test_each_interface_has_its_account_and_the_sum_holds() -> None:
    losses = [lost("spool", 2), lost("kernel", 3), lost("kernel", 1), lost("kernel", 0), lost("collector", 4, "eni1")]
    accounts = accounts_of("c", ended(eth0=10, eni1=5), {("n", "eth0"): 4, ("n", "eni1"): 1}, losses)
    assert accounts == (
        Account(node="n", interface="eni1", accepted=5, delivered=1, lost=(LostAt(where="collector", count=4),)),
        Account(
            node="n",
            interface="eth0",
            accepted=10,
            delivered=4,
            lost=(LostAt(where="kernel", count=4), LostAt(where="spool", count=2)),
        ),
    )
    assert unaccounted(accounts) == ()


def test_packets_that_nobody_speaks_of_are_a_gap() -> None:
    (gap,) = unaccounted(accounts_of("c", ended(eth0=10), {("n", "eth0"): 4}, [lost("kernel", 5)]))
    assert (gap.node, gap.part) == ("n", "capture")
    assert gap.why == ("1 packet is unaccounted for: the filters accepted 10, 4 were delivered, 5 are known to be lost")


def test_packets_that_were_never_accepted_are_a_gap() -> None:
    (gap,) = unaccounted(accounts_of("c", ended(eth0=1), {("n", "eth0"): 4}, []))
    assert gap.why.startswith("3 packets are told of that no filter accepted: ")


def test_a_loss_without_interface_stands_by_itself_and_counts() -> None:
    accounts = accounts_of("c", ended(eth0=3), {("n", "eth0"): 1}, [lost("stream", 2, "")])
    assert [(each.interface, each.accepted) for each in accounts] == [("", None), ("eth0", 3)]
    assert unaccounted(accounts) == ()


def test_losses_of_other_captures_and_of_all_of_them_are_in_no_account() -> None:
    losses = [lost("kernel", 2, capture="another"), lost("stream", 2, capture="")]
    (account,) = accounts_of("c", ended(eth0=1), {("n", "eth0"): 1}, losses)
    assert account.lost == ()


def test_where_the_agent_did_not_get_to_say_what_it_accepted_nothing_is_claimed() -> None:
    accounts = accounts_of("c", {}, {("n", "eth0"): 4}, [])
    assert [(each.accepted, each.delivered) for each in accounts] == [(None, 4)]
    assert unaccounted(accounts) == ()
