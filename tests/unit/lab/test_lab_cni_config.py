"""The lab's CNI configuration, read by the agent's own reader: what a node is told about its second IP version."""

import json

import pytest

from pathtap.agent.readers.cni_config import ConfigFile, decode
from pathtap.lab.cni_config import FILE, cni_config
from pathtap.lab.options import Family, LabOptions, Randomize
from pathtap.lab.topology import make_cluster
from pathtap.model.node import EgressPlugin


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize(("randomize", "counted"), [("prng", 2), ("hashrandom", 1), ("none", 0)])
def test_the_plugin_works_in_ipv6_clusters_as_its_rules_are_written(
    family: Family, randomize: Randomize, counted: int
) -> None:
    options = LabOptions(family=family, randomize=randomize)
    text = json.dumps(cni_config(options, make_cluster(options).nodes[0]))
    expected = EgressPlugin(enabled=family == "ipv6", randomize=counted, path=FILE)
    assert decode([ConfigFile(path=FILE, text=text)]) == expected


def test_it_names_the_node_whose_address_pods_get() -> None:
    options = LabOptions(family="ipv6")
    first, second = (cni_config(options, node)["plugins"][1] for node in make_cluster(options).nodes)
    assert (first["nodeIP"], second["nodeIP"]) == ("192.168.1.29", "192.168.2.29")
    assert first["ipam"]["ranges"] == [[{"subnet": "169.254.172.0/22"}]]
