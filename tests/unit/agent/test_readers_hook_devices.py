"""The interfaces of netdev hooks, which nft 1.0.6 tells in text alone."""

import json

from pathtap.agent.readers import nftables

TEXT = """table netdev edge { # handle 1
	chain one { # handle 1
		type filter hook ingress device "eth0" priority filter; policy drop;
		ip saddr 192.0.2.4 drop comment "type filter hook egress device \\"eth9\\"" # handle 4
	}

	chain several { # handle 2
		type filter hook egress devices = { eth0, "eth1" } priority filter + 5; policy accept;
	}

	chain user { # handle 3
	}
}
"""


def listed(**changes: object) -> str:
    def chain(name: str, **fields: object) -> dict[str, object]:
        return {"chain": {"family": "netdev", "table": "edge", "name": name} | fields}

    base = {"type": "filter", "prio": 0, "policy": "accept"}
    items = [
        {"table": {"family": "netdev", "name": "edge"}},
        chain("one", hook="ingress", **base, **changes),
        chain("several", hook="egress", **base),
        chain("user"),
    ]
    return json.dumps({"nftables": items})


def test_the_text_tells_the_interfaces_where_the_json_does_not() -> None:
    found = nftables.decode(listed(), TEXT)
    assert {chain.name: chain.device for chain in found.chains} == {"one": "eth0", "several": "eth0 eth1", "user": ""}


def test_the_json_goes_first() -> None:
    found = nftables.decode(listed(dev=["eth2", "eth3"]), TEXT)
    assert found.chains[0].device == "eth2 eth3"
