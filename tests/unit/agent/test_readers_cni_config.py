"""What the node's CNI configuration says of the egress-cni plugin: files as aws-node, Cilium, Multus and others leave them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap.agent.readers import cni_config
from pathtap.agent.readers.cni_config import ConfigFile, decode, fetch
from pathtap.agent.readers.enis import UnexpectedAnswerError
from pathtap.model.node import EgressPlugin

AWS = {"name": "aws-cni", "type": "aws-cni", "vethPrefix": "eni", "mtu": "9001", "podSGEnforcingMode": "strict"}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
FLANNEL = {"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}
MULTUS = {"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus"}
BROKEN = '{"cniVersion": "0.4.0", "name": "aws-cni", "plug'


def egress(**words: Any) -> dict[str, Any]:
    """As aws-node writes it for IPv4 out of an IPv6 cluster."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": "169.254.172.0/22"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni/v6pd/egress-v4-ipam",
    }
    own = {"type": "egress-cni", "mtu": "9001", "enabled": "true", "randomizeSNAT": "prng", "nodeIP": "192.168.1.29"}
    return {**own, "ipam": ipam, "pluginLogFile": "egress-v6-plugin.log", **words}


def conflist(*plugins: dict[str, Any], name: str = "aws-cni") -> dict[str, Any]:
    return {"cniVersion": "0.4.0", "name": name, "disableCheck": True, "plugins": list(plugins)}


def aws(**words: Any) -> dict[str, Any]:
    return conflist(AWS, egress(**words), PORTMAP)


def files(**contents: Any) -> list[ConfigFile]:
    """By name, `_` for the dot; texts as they are, anything else as JSON."""
    return [
        ConfigFile(path=name.replace("_", "."), text=content if isinstance(content, str) else json.dumps(content))
        for name, content in contents.items()
    ]


@pytest.mark.parametrize(
    ("words", "enabled", "randomize"),
    [
        ({}, True, 2),
        ({"enabled": "false"}, False, 2),
        ({"randomizeSNAT": "hashrandom"}, True, 1),
        ({"randomizeSNAT": "none"}, True, 0),
        # What the plugin does not know, it takes for its defaults.
        ({"randomizeSNAT": "PRNG?", "enabled": "True"}, True, 2),
        ({"type": "egress-v4-cni"}, True, 2),
    ],
)
def test_what_aws_node_writes(words: dict[str, str], enabled: bool, randomize: int) -> None:
    expected = EgressPlugin(enabled=enabled, randomize=randomize, path="10-aws.conflist")
    assert decode(files(**{"10-aws_conflist": aws(**words)})) == expected


@pytest.mark.parametrize("missing", ["enabled", "randomizeSNAT"])
def test_what_is_not_said_is_the_plugins_default(missing: str) -> None:
    plugin = {key: value for key, value in egress().items() if key != missing}
    expected = EgressPlugin(enabled=True, randomize=2, path="10-aws.conflist")
    assert decode(files(**{"10-aws_conflist": conflist(AWS, plugin)})) == expected


def test_before_v1_11_there_is_no_such_plugin() -> None:
    assert decode(files(**{"10-aws_conflist": conflist(AWS, PORTMAP)})) is None


def test_cilium_chains_the_same_plugins_in_a_file_of_its_own() -> None:
    chained = conflist(AWS, egress(randomizeSNAT="none"), PORTMAP, {"type": "cilium-cni"}, name="aws-cni")
    found = decode(files(**{"05-cilium_conflist": chained, "10-aws_conflist": aws()}))
    assert found == EgressPlugin(enabled=True, randomize=0, path="05-cilium.conflist")


def test_what_stands_behind_the_runtimes_network_is_not_used() -> None:
    assert decode(files(**{"05-flannel_conflist": FLANNEL, "10-aws_conflist": aws()})) is None


def test_a_single_plugin_is_a_network_too() -> None:
    bridge = {"cniVersion": "0.3.1", "name": "bridge", "type": "bridge"}
    assert decode(files(**{"05-bridge_conf": bridge, "10-aws_conflist": aws()})) is None


@pytest.mark.parametrize(
    ("multus", "path"),
    [
        (MULTUS, "10-aws.conflist"),
        (MULTUS | {"clusterNetwork": "/etc/cni/net.d/10-aws.conflist"}, "10-aws.conflist"),
        (MULTUS | {"type": "multus-shim"}, "10-aws.conflist"),
        (MULTUS | {"delegates": [aws()]}, "00-multus.conf"),
    ],
)
def test_multus_hands_on(multus: dict[str, Any], path: str) -> None:
    found = decode(files(**{"00-multus_conf": multus, "10-aws_conflist": aws()}))
    assert found == EgressPlugin(enabled=True, randomize=2, path=path)


def test_the_runtime_goes_on_behind_a_file_that_is_none() -> None:
    found = decode(files(**{"05-other_conflist": BROKEN, "10-aws_conflist": aws()}))
    assert found == EgressPlugin(enabled=True, randomize=2, path="10-aws.conflist")


@pytest.mark.parametrize(
    "content",
    [BROKEN, "", "[]", "null", {"name": "aws-cni", "plugins": []}, {"plugins": [AWS]}, conflist({"mtu": "9001"})],
)
def test_a_file_that_is_none_leaves_the_intent_unknown(content: object) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"^10-aws\.conflist is no CNI configuration$"):
        decode(files(**{"10-aws_conflist": content, "99-loopback_conf": {"name": "lo", "type": "loopback"}}))


@pytest.mark.parametrize("words", [{"enabled": True}, {"randomizeSNAT": 2}, {"enabled": None}])
def test_a_plugin_that_could_not_read_its_own_part(words: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"10-aws\.conflist does not tell egress-cni by texts"):
        decode(files(**{"10-aws_conflist": aws(**words)}))


def test_the_directory_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("99-last.conf", "10-aws.conflist", "05-first.json", "10-aws.conflist.tmp", "README", ".lock"):
        (tmp_path / name).write_text(name)
    (tmp_path / "multus.d.conf").mkdir()
    found = fetch(tmp_path)
    assert [Path(file.path).name for file in found] == ["05-first.json", "10-aws.conflist", "99-last.conf"]
    assert all(file.text == Path(file.path).name for file in found)


def test_a_directory_without_files_says_nothing(tmp_path: Path) -> None:
    assert decode(fetch(tmp_path)) is None


def test_the_usual_directory_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cni_config, "DIRECTORY", tmp_path / "net.d")
    assert fetch() == ()
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "10-aws.conflist").write_text(json.dumps(aws()))
    assert decode(fetch()) == EgressPlugin(enabled=True, randomize=2, path=str(tmp_path / "net.d" / "10-aws.conflist"))


def test_one_that_was_named_must_be_there(tmp_path: Path) -> None:
    sentence = (
        f"{tmp_path}/none cannot be read (No such file or directory): give the agent the runtime's with --cni-config"
    )
    with pytest.raises(OSError, match=re.escape(sentence)):
        fetch(tmp_path / "none")


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    large = tmp_path / "10-aws.conflist"
    large.write_bytes(b" " * (1 << 20))
    assert len(fetch(tmp_path)) == 1
    large.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(OSError, match="is larger than 1 MiB"):
        fetch(tmp_path)
    for number in range(101):
        (tmp_path / f"{number}.conf").touch()
    with pytest.raises(OSError, match="has more than 100 configurations"):
        fetch(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "plugins", "delegates", "enabled", "randomizeSNAT"]), inner, max_size=4
        )
        | st.sampled_from([AWS, egress(), MULTUS, aws()])
    ),
    max_leaves=12,
)
names = st.sampled_from(["10-aws.conflist", "05-multus.conf", "99-other.json"])


def answered(told: list[ConfigFile]) -> str | None:
    try:
        plugin = decode(told)
    except UnexpectedAnswerError:
        return "no configuration"
    return plugin.path if plugin else None


@given(st.lists(st.tuples(names, st.text(max_size=20) | json_values.map(json.dumps)), max_size=4))
def test_whatever_stands_there_is_an_answer_or_a_sentence(found: list[tuple[str, str]]) -> None:
    told = [ConfigFile(path=path, text=text) for path, text in found]
    assert answered(told) in {None, "no configuration", *(path for path, _ in found)}


def test_nested_without_end_is_no_configuration() -> None:
    with pytest.raises(UnexpectedAnswerError, match="is no CNI configuration"):
        decode(files(**{"10-aws_conflist": '{"name": "a", "plugins": ' + "[" * 100_000}))
