"""How long a node with 50,000 NAT rules takes to read, to send and to predict with, beside its own save program.

`python -m bench.rules inside BACKEND` and `… once BACKEND` measure in the present network namespace and print JSON; `measure`
calls them in namespaces that it builds. Times are medians in milliseconds, sizes MiB.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address

from bench.large_node import POD, RULES, SERVICES, large_node, service_address
from bench.processes import why
from bench.rows import Row, row, unmeasured
from pathtap import wire
from pathtap.agent.readers.legacy import LegacyReader
from pathtap.agent.readers.nftables import NftablesReader
from pathtap.agent.readers.stores import Stored
from pathtap.agent.snapshot import SnapshotReader
from pathtap.forwarding import NodeModel, Packet, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.node import NodeSnapshot
from pathtap.v1 import node_pb2

ROUNDS = 7
PREDICTIONS = 200
LEGACY, NFT = "legacy", "nft"
# The most that reading and indexing may take, by the time of the save program alone.
GOALS = {LEGACY: 2.5, NFT: 1.5}
MOST_MEMORY = 300.0
MOST_PREDICTION = 5.0
# In seconds, for all rounds of a backend.
PATIENCE = 240.0


def measure() -> list[Row]:
    return [row for backend in (LEGACY, NFT) for row in _measured(backend)]


def _measured(backend: str) -> list[Row]:
    """One row that says why where a backend cannot be measured, as on a machine that is too busy for it."""
    name = f"bench{os.getpid()}{backend}"
    what = f"{RULES:,} nat rules in iptables-{backend}"
    try:
        with large_node(name, backend):
            times, once = _in_namespace(name, "inside", backend), _in_namespace(name, "once", backend)
    except (subprocess.SubprocessError, OSError) as error:
        return [unmeasured(f"reading and indexing {what}", GOALS[backend], "at most", why(error))]
    return _rows(backend, what, times, once["memory"])


def _rows(backend: str, what: str, times: dict[str, float], memory: float) -> list[Row]:
    first, save = times["first"], f"iptables-{backend}-save -c"
    return [
        row(f"reading and indexing {what}; peer: {save}", first, times["save"], GOALS[backend]),
        row(f"reading them again unchanged; peer: the first reading ({backend})", times["again"], first, 1.0),
        row(f"onto the wire and off it, indexed; peer: the first reading ({backend})", times["wire"], first, 1.0),
        row(f"model and first prediction; peer: the first reading ({backend})", times["model"], first, 1.0),
        row(
            f"a prediction, once indexed; peer: {MOST_PREDICTION:g} ms ({backend})",
            times["predict"],
            MOST_PREDICTION,
            1,
        ),
        row(f"memory of a process that has read {what}; peer: {MOST_MEMORY:g} MiB", memory, MOST_MEMORY, 1.0),
    ]


def inside(backend: str) -> dict[str, float]:
    """Save program and reader take turns, so that whatever else the machine does meets both."""
    save, first, again = [], [], []
    for _ in range(ROUNDS):
        save.append(_timed(lambda: _save(backend)))
        read = partial(_checked, _reader(backend))
        first.append(_timed(read))
        # What the reading leaves for its own idle time is no part of the next one.
        time.sleep(0.5)
        again.append(_timed(read))
    snapshot = SnapshotReader("node", "boot").read(time.time_ns())
    rounds = [_as_the_collector(snapshot) for _ in range(ROUNDS)]
    return {
        "save": statistics.median(save),
        "first": statistics.median(first),
        "again": statistics.median(again),
        **{name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
    }


def once(backend: str) -> dict[str, float]:
    _checked(_reader(backend))
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _as_the_collector(snapshot: NodeSnapshot) -> dict[str, float]:
    received: list[NodeSnapshot] = []
    models: list[NodeModel] = []

    def carry() -> None:
        sent = wire.snapshot_to_wire(snapshot).SerializeToString()
        received.append(wire.snapshot_from_wire(node_pb2.NodeSnapshot.FromString(sent)))

    def begin() -> None:
        models.append(NodeModel(received[0]))
        _predict(models[0], service_address(SERVICES // 2))

    return {
        "wire": _timed(carry),
        "model": _timed(begin),
        "predict": statistics.median(
            _timed(partial(_predict, models[0], service_address(number)))
            for number in range(0, SERVICES, SERVICES // PREDICTIONS)
        ),
    }


def _predict(model: NodeModel, service: IPv4Address) -> None:
    flow = FiveTuple(protocol=Protocol.TCP, source=POD, source_port=40000, destination=service, destination_port=80)
    prediction = predict(model, Packet.opening(flow, "eniaaa"))
    if prediction.dnat is None or len(prediction.dnat.alternatives) != 3:
        raise SystemExit(f"the prediction for {service} knows no endpoints: {prediction}")


def _reader(backend: str) -> Callable[[], Stored]:
    return LegacyReader("ip").read if backend == LEGACY else NftablesReader().read


def _checked(read: Callable[[], Stored]) -> None:
    """Reads: the rules are there, and nothing is unread."""
    stored = read()
    found = [rule_set for rule_set in stored.rule_sets if rule_set.table == "nat"]
    if stored.unread or len(found) != 1 or found[0].chain("KUBE-SERVICES") is None:
        raise SystemExit(f"the rules were not read: {stored.unread}")


def _save(backend: str) -> None:
    subprocess.run([f"iptables-{backend}-save", "-c"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def _in_namespace(name: str, what: str, backend: str) -> dict[str, float]:
    argv = ["ip", "netns", "exec", name, sys.executable, "-m", "bench.rules", what, backend]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    print(json.dumps({"inside": inside, "once": once}[sys.argv[1]](sys.argv[2])))
