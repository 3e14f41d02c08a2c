"""What the readers say when a tool, a service or a text is not what it should be."""

import socket
import sys
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from pathtap.agent.readers import command, counters, imds, ipamd, ipsets, legacy, nftables, settings, sysctls, xtables
from pathtap.agent.readers.enis import Eni, UnexpectedAnswerError, merge
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model.netfilter import Backend


def saved(text: str) -> xtables.Saved:
    return xtables.parse(text, Backend.NFT, "ip")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("no-such-tool", "-c"), "no-such-tool is not installed"),
        (("/no/such/tool",), "tool is not installed"),
        (("sh", "-c", "echo one; echo two >&2; exit 3"), "sh failed (3): two"),
        (("sh", "-c", "kill -SEGV $$"), "sh was ended by signal 11"),
        (("/dev/null",), "null may not be run: Permission denied"),
    ],
)
def test_a_tool_that_fails_is_a_sentence(argv: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(command.CommandError) as failure:
        command.run(argv)
    assert str(failure.value) == sentence


def test_a_tool_that_hangs_is_given_up() -> None:
    started = time.monotonic()
    with pytest.raises(command.CommandError, match=r"^sleep did not answer within 0\.1 s$"):
        command.run(["sleep", "5"], seconds=0.1)
    assert time.monotonic() - started < 2


def test_output_that_is_not_utf_8_is_kept() -> None:
    assert command.run([sys.executable, "-c", r"import os; os.write(1, b'a\xffb')"]) == "a\\xffb"


@pytest.mark.parametrize(
    "text",
    [
        "*nat\n:POSTROUTING ACCEPT [0:0]\n",
        "[0:0] -A POSTROUTING -j ACCEPT\n",
        "*nat\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A UNDECLARED -j ACCEPT\nCOMMIT\n",
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j ACCEPT\nCOMMIT\n",
        '*nat\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A POSTROUTING -m comment --comment "open\nCOMMIT\n',
        "iptables-save: Permission denied\n",
    ],
    ids=["cut", "no table", "no chain", "no counters", "open quote", "an error"],
)
def test_text_that_is_not_of_iptables_save_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedTextError):
        saved(text)


def test_a_comment_may_hold_line_breaks_quotes_and_what_looks_like_a_rule() -> None:
    comment = '"a \\" b\nCOMMIT\n[9:9] -A X -j DROP"'
    text = f"*nat\n:X - [0:0]\n[1:60] -A X -m comment --comment {comment} -j ACCEPT\n[2:2] -A X\nCOMMIT\n"
    (rule_set,) = saved(text).rule_sets
    (chain,) = rule_set.chains
    assert [(rule.position, rule.packets, rule.bytes, rule.text) for rule in chain.rules] == [
        (1, 1, 60, f"-m comment --comment {comment} -j ACCEPT"),
        (2, 2, 2, ""),
    ]


def test_an_empty_text_and_warnings_hold_no_table() -> None:
    warning = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"
    assert saved("") == saved(warning) == xtables.Saved()
    assert saved("# Table `nat' is incompatible, use 'nft' tool.\n").incompatible == ("nat",)


def test_a_map_over_several_lines_is_one_rule() -> None:
    text = (
        "table ip t { # handle 1\n\tchain c { # handle 2\n\t\ttype nat hook output priority 0; policy accept;\n"
        "\t\tdnat to numgen inc mod 2 map { 0 : 10.0.0.1,\n\t\t\t\t\t       1 : 10.0.0.2 } # handle 5\n"
        '\t\taccept comment "} # handle 9" # handle 6\n\t}\n\n\tchain d { # handle 3\n\t\tdrop # handle 7\n\t}\n}\n'
    )
    assert nftables.rule_texts(text) == {
        5: "dnat to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }",
        6: 'accept comment "} # handle 9"',
        7: "drop",
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nftables": [3]}', '{"nftables": []}'])
def test_text_that_is_not_of_nft_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedTextError):
        nftables.decode(text, "")


@pytest.mark.parametrize("text", ["", "{}", '{"tables": {"nat": [{}]}, "refused": {}}', "[1]"])
def test_text_that_is_not_of_the_child_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedTextError):
        legacy.decode(text, "ip")


def test_a_kernel_without_legacy_tables_has_none(tmp_path: Path) -> None:
    assert legacy.existing("ip", tmp_path) == ()
    (tmp_path / "ip_tables_names").write_text("nat\nmangle\n")
    assert legacy.existing("ip", tmp_path) == ("mangle", "nat")
    assert legacy.existing("ip6", tmp_path) == ()


@pytest.mark.parametrize("text", ["", "[]", '{"ENIIPPools": {}}', '{"0": {}}', '{"ENIs": {"eni-1": {}}}'])
def test_an_answer_that_is_not_ipamds_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        ipamd.decode(text)


@pytest.mark.parametrize(
    "keys",
    [{}, {"interface-id": "eni-1"}, {"interface-id": "eni-1", "device-number": "0", "local-ipv4s": "<html>"}],
)
def test_an_answer_that_is_not_of_imds_is_refused(keys: dict[str, str]) -> None:
    with pytest.raises(UnexpectedAnswerError, match="does not describe 0e:00:00:00:00:01"):
        imds.decode({"0e:00:00:00:00:01": keys})


def test_what_both_services_say_of_an_eni_is_joined() -> None:
    own, pod = ip_network("192.168.1.87/32"), ip_network("192.168.1.116/32")
    told_by_imds = Eni(id="eni-1", device_number=1, mac="0e:00:00:00:00:01", addresses=(own,))
    told_by_ipamd = Eni(id="eni-1", device_number=1, addresses=(pod,), table=2)
    other = Eni(id="eni-2", device_number=2)
    assert merge((told_by_imds,), (other, told_by_ipamd)) == (
        Eni(id="eni-1", device_number=1, mac="0e:00:00:00:00:01", addresses=(own, pod), table=2),
        other,
    )


def test_a_service_that_is_silent_or_talks_nonsense_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"^127\.0\.0\.1:{port} did not answer within 0\.1 s$"):
            ipamd.fetch(port=port, seconds=0.1)
        assert time.monotonic() - started < 1
    with pytest.raises(OSError, match=rf"^127\.0\.0\.1:{port}: Connection refused$"):
        imds.fetch(host="127.0.0.1", port=port)


def test_sysctls_of_absent_features_are_left_out(tmp_path: Path) -> None:
    conf = tmp_path / "net" / "ipv4" / "conf" / "vlan.eth.1"
    conf.mkdir(parents=True)
    (conf / "rp_filter").write_text("2\n")
    (tmp_path / "net" / "ipv4" / "ip_local_port_range").write_text("32768\t60999\n")
    assert sysctls.decode(sysctls.fetch(tmp_path)) == {
        "net.ipv4.conf.vlan.eth.1.rp_filter": "2",
        "net.ipv4.ip_local_port_range": "32768 60999",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"AvailableCommands": []}',
        '{"AWS_VPC_K8S_CNI_EXTERNALSNAT": "perhaps"}',
        '{"AWS_VPC_K8S_CNI_CONNMARK": -1}',
        '{"AWS_VPC_K8S_CNI_CONNMARK": 4294967296}',
        '{"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": ["everything"]}',
        '{"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": 8}',
        '{"AWS_VPC_K8S_CNI_VETHPREFIX": "\\ud800"}',
        '{"AWS_VPC_K8S_CNI_RANDOMIZESNAT": []}',
    ],
)
def test_settings_that_are_not_the_cnis_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        settings.decode(text)


def test_a_vpc_without_networks_is_not_told_and_nonsense_is_refused() -> None:
    assert imds.vpc_networks({"0e:00:00:00:00:01": {"interface-id": "eni-1"}}) == ()
    with pytest.raises(UnexpectedAnswerError, match="the VPC's networks"):
        imds.vpc_networks({"0e:00:00:00:00:01": {"vpc-ipv4-cidr-blocks": "<html>"}})


def test_a_kernel_without_the_ipset_module_has_no_sets_and_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "nf_tables").mkdir()
    assert ipsets.fetch(modules=tmp_path) == ()


def test_counters_of_a_kernel_that_lacks_them_are_left_out(tmp_path: Path) -> None:
    assert counters.decode(counters.fetch(tmp_path)) == {}
    (tmp_path / "snmp").write_text("Ip: Forwarding ForwDatagrams FragFails\nIp: 1 12 -3\n")
    (tmp_path / "netstat").write_text("TcpExt: IPReversePathFilter\n")
    assert counters.decode(counters.fetch(tmp_path)) == {"IpForwDatagrams": 12}
