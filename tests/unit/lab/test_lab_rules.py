import pytest

from pathtap.lab.kube_rules import chain_name
from pathtap.lab.options import LabOptions, Randomize
from pathtap.lab.rules import node_rules, vpc_rules
from pathtap.lab.topology import make_cluster


def rules(**options: object) -> list[str]:
    cluster = make_cluster(LabOptions(**options))  # type: ignore[arg-type]
    return node_rules(cluster, cluster.nodes[0]).splitlines()


def of_chain(lines: list[str], chain: str) -> list[str]:
    return [line for line in lines if line.startswith(f"-A {chain} ")]


def test_kube_proxys_chain_names_follow_from_the_service() -> None:
    # Those of every cluster: the API server's own service, and kube-dns over TCP.
    assert chain_name("KUBE-SVC-", "default/kubernetes:https") == "KUBE-SVC-NPX46M4PTMTKRN6Y"
    assert chain_name("KUBE-SVC-", "kube-system/kube-dns:dns-tcp") == "KUBE-SVC-ERIFXISQEP7F7OF4"


def test_the_return_form_is_one_chain_that_ends_in_snat() -> None:
    lines = rules()
    assert of_chain(lines, "AWS-SNAT-CHAIN-0") == [
        '-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN',
        '-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL '
        "-j SNAT --to-source 192.168.1.29 --random-fully",
    ]
    assert not of_chain(lines, "AWS-SNAT-CHAIN-1")


def test_the_jump_form_goes_on_in_the_next_chain() -> None:
    lines = rules(chains="jump")
    assert of_chain(lines, "AWS-CONNMARK-CHAIN-0") == [
        "-A AWS-CONNMARK-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "
        '"AWS CONNMARK CHAIN, VPC CIDR" -j AWS-CONNMARK-CHAIN-1'
    ]
    assert of_chain(lines, "AWS-CONNMARK-CHAIN-1") == [
        '-A AWS-CONNMARK-CHAIN-1 -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80'
    ]
    assert ":AWS-SNAT-CHAIN-1 - [0:0]" in lines


@pytest.mark.parametrize("form", ["return", "jump"])
def test_kube_proxys_jumps_stand_before_the_cnis(form: str) -> None:
    lines = rules(chains=form)
    nat = lines[lines.index("*nat") :]
    assert [line.rpartition("-j ")[2] for line in of_chain(nat, "PREROUTING")] == [
        "KUBE-SERVICES",
        "AWS-CONNMARK-CHAIN-0",
        "CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
    ]
    assert [line.rpartition("-j ")[2] for line in of_chain(nat, "POSTROUTING")] == [
        "KUBE-POSTROUTING",
        "AWS-SNAT-CHAIN-0",
    ]


@pytest.mark.parametrize(("randomize", "end"), [("prng", " --random-fully"), ("hashrandom", " --random"), ("none", "")])
def test_the_snat_rule_carries_the_flag_that_was_asked_for(randomize: Randomize, end: str) -> None:
    assert of_chain(rules(randomize=randomize), "AWS-SNAT-CHAIN-0")[-1].endswith(
        f"-j SNAT --to-source 192.168.1.29{end}"
    )


def test_with_external_snat_the_chain_is_empty_and_nothing_jumps_to_it() -> None:
    lines = rules(external_snat=True)
    assert [line for line in lines if "AWS-SNAT" in line] == [":AWS-SNAT-CHAIN-0 - [0:0]"]
    assert not [line for line in lines if "AWS-CONNMARK" in line]


def test_each_of_n_backends_is_chosen_with_equal_chance() -> None:
    lines = rules()
    chain = chain_name("KUBE-SVC-", "shop/web")
    first, last = of_chain(lines, chain)
    assert "--mode random --probability 0.50000000000 -j KUBE-SEP-" in first
    assert "statistic" not in last


def test_a_service_without_endpoints_is_refused_in_filter_and_absent_from_nat() -> None:
    lines = rules()
    refusals = [line for line in lines if "hollow" in line]
    assert lines.index(refusals[0]) > lines.index("*filter")
    assert refusals == [
        '-A KUBE-SERVICES -d 10.100.0.30/32 -p tcp -m comment --comment "shop/hollow has no endpoints" '
        "-m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
    ]


def test_the_vpc_accepts_from_each_eni_what_it_owns_and_nothing_else() -> None:
    cluster = make_cluster(LabOptions())
    lines = vpc_rules(cluster).splitlines()
    checks = of_chain(lines, "SOURCE-CHECK")
    enis = [eni for node in cluster.nodes for eni in node.enis]
    assert len(checks) == sum(len(eni.addresses) for eni in enis) + 1
    assert f"-A SOURCE-CHECK -i {enis[0].port} -s 192.168.1.41/32 -j RETURN" in checks
    assert checks[-1] == "-A SOURCE-CHECK -i eni-+ -j DROP"
