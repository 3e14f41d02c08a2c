import pytest

from pathtap.lab.aws_rules import has_mark_rule
from pathtap.lab.kube_rules import chain_name
from pathtap.lab.options import LabOptions, Randomize
from pathtap.lab.rules import native_rules, node_rules, vpc_rules
from pathtap.lab.topology import make_cluster


def rules(**options: object) -> list[str]:
    cluster = make_cluster(LabOptions(**options))  # type: ignore[arg-type]
    return node_rules(cluster, cluster.nodes[0]).splitlines()


def native(**options: object) -> str:
    cluster = make_cluster(LabOptions(**options))  # type: ignore[arg-type]
    return native_rules(cluster, cluster.nodes[0])


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


def test_excluded_and_further_cidrs_return_in_the_reverse_of_their_order() -> None:
    lines = rules(vpc_cidrs=2, exclude_cidrs=("203.0.113.0/24", "10.12.0.0/16"))
    snat, mark = "AWS SNAT CHAIN", "AWS CONNMARK CHAIN"
    assert of_chain(lines, "AWS-SNAT-CHAIN-0")[:-1] == [
        f'-A AWS-SNAT-CHAIN-0 -d 10.12.0.0/16 -m comment --comment "{snat} EXCLUSION" -j RETURN',
        f'-A AWS-SNAT-CHAIN-0 -d 203.0.113.0/24 -m comment --comment "{snat} EXCLUSION" -j RETURN',
        f'-A AWS-SNAT-CHAIN-0 -d 100.64.0.0/16 -m comment --comment "{snat}" -j RETURN',
        f'-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "{snat}" -j RETURN',
    ]
    assert of_chain(lines, "AWS-CONNMARK-CHAIN-0")[0] == (
        f'-A AWS-CONNMARK-CHAIN-0 -d 10.12.0.0/16 -m comment --comment "{mark}, EXCLUDED CIDR" -j RETURN'
    )
    assert f'-d 100.64.0.0/16 -m comment --comment "{mark}, VPC CIDR" -j RETURN' in "\n".join(lines)


def test_the_jump_form_has_one_chain_for_each_cidr_in_order() -> None:
    lines = rules(chains="jump", vpc_cidrs=2, exclude_cidrs=("203.0.113.0/24",))
    chains = [f"AWS-SNAT-CHAIN-{i}" for i in range(4)]
    assert [line for chain in chains[:3] for line in of_chain(lines, chain)] == [
        '-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-1',
        '-A AWS-SNAT-CHAIN-1 ! -d 100.64.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-2',
        '-A AWS-SNAT-CHAIN-2 ! -d 203.0.113.0/24 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j AWS-SNAT-CHAIN-3',
    ]
    assert "-j SNAT --to-source 192.168.1.29" in of_chain(lines, chains[3])[0]


@pytest.mark.parametrize(
    ("external_snat", "node_port", "matches"),
    [
        (False, True, ["-i eth0", "-i eni+", "-i vlan+"]),
        (True, True, ["-i eth0", "-i eni+", "-i vlan+"]),
        (False, False, ["-i eni+"]),
        (True, False, []),
    ],
)
def test_mangle_follows_from_node_ports_and_snat(external_snat: bool, node_port: bool, matches: list[str]) -> None:
    lines = rules(external_snat=external_snat, node_port=node_port)
    mangle = of_chain(lines[: lines.index("*nat")], "PREROUTING")
    assert [" ".join(line.split()[2:4]) for line in mangle] == matches
    options = LabOptions(external_snat=external_snat, node_port=node_port)
    assert has_mark_rule(options) == bool(matches)


def test_native_connmark_leaves_iptables_the_translation_alone() -> None:
    lines = rules(chains="native", exclude_cidrs=("203.0.113.0/24",))
    assert not [line for line in lines if "CONNMARK-CHAIN" in line or "AWS, CONNMARK" in line]
    assert len(of_chain(lines, "AWS-SNAT-CHAIN-0")) == 3
    table = native(chains="native", exclude_cidrs=("203.0.113.0/24",))
    assert "counter ip daddr 203.0.113.0/24 return\n    counter ip daddr 192.168.0.0/16 return\n" in table
    assert "type nat hook prerouting priority -90; policy accept;" in table
    assert native() == native(chains="native", external_snat=True) == ""


def test_custom_networking_translates_to_the_primary_eni_nonetheless() -> None:
    assert "--to-source 192.168.1.29" in of_chain(rules(custom_networking=True), "AWS-SNAT-CHAIN-0")[-1]


def test_a_node_port_is_masqueraded_and_then_balanced() -> None:
    lines = rules()
    exposed = chain_name("KUBE-EXT-", "shop/web")
    assert of_chain(lines, "KUBE-NODEPORTS") == [
        f'-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web" -m tcp --dport 30080 -j {exposed}'
    ]
    assert of_chain(lines, exposed) == [
        f'-A {exposed} -m comment --comment "masquerade traffic for shop/web external destinations" -j KUBE-MARK-MASQ',
        f"-A {exposed} -j {chain_name('KUBE-SVC-', 'shop/web')}",
    ]


def test_kube_proxys_own_table_leaves_iptables_to_the_kubelet_and_the_cni() -> None:
    lines = rules(kube_proxy="nftables")
    assert not [line for line in lines if "KUBE-SVC" in line or "KUBE-SERVICES" in line]
    assert ":KUBE-IPTABLES-HINT - [0:0]" in lines
    table = native(kube_proxy="nftables")
    assert "10.100.0.30 . tcp . 80 : goto reject-chain" in table
    assert "tcp . 30080 : goto external-" in table
    assert "meta l4proto tcp dnat to 192.168.2.116:8080" in table


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
