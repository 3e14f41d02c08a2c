"""Draws random but plausible node configurations: policy routing and sysctls here, netfilter in `chains` and `native`."""

from random import Random

from differential import chains, native
from differential.configuration import Configuration
from differential.scene import ENIS, INTERFACES, PODS, Scene

MARKS = ("0x80/0x80", "0x1/0xf", "0x4000/0x4000", "0x80", "0x0/0x80")
LOCAL_LATER = "prio 20 from all lookup local"
ACTIONS = ("lookup 2", "lookup 2", "lookup 3", "lookup 3", "lookup main", "lookup main suppress_prefixlength 0")
REFUSALS = ("blackhole", "unreachable", "prohibit", "nop")


def draw(dice: Random, scene: Scene, *, legacy: bool = True) -> Configuration:
    """`legacy` False draws for a node without legacy tables, as newer ones are."""
    stores = list(dice.choice((("legacy",), ("nft",), ("nft",), ("legacy", "nft")) if legacy else (("nft",),)))
    if dice.random() < 0.6:
        stores.append("native")
    dice.shuffle(stores)
    texts = chains.draw(dice, scene, [store for store in stores if store != "native"], native="native" in stores)
    return Configuration(
        family=scene.family,
        rules=_rules(dice, scene),
        routes=_routes(dice, scene),
        sysctls=_sysctls(dice),
        ipsets=chains.ipsets(scene),
        legacy=texts.get("legacy", ""),
        nft=texts.get("nft", ""),
        native=native.draw(dice, scene) if "native" in stores else (),
        order=tuple(stores),
    )


def _rules(dice: Random, scene: Scene) -> tuple[str, ...]:
    found = ["prio 32766 from all lookup main"]
    found += [f"prio 512 to {pod} lookup main" for pod in scene.pods[:2] if dice.random() < 0.9]
    found.append(f"prio 1536 from {scene.pods[1]} lookup 2")
    if dice.random() < 0.7:
        found.append("prio 1024 fwmark 0x80/0x80 lookup main")
    if dice.random() < 0.3:
        found.append(f"prio 32765 from {scene.secondary} lookup 2")
    found += [
        f"prio {dice.randrange(600, 2000)} {_selector(dice, scene)} {_action(dice)}" for _ in range(dice.randrange(4))
    ]
    if dice.random() < 0.08:
        # Security groups for pods in strict mode: pods' own tables before the local one.
        found += ["prio 10 iif enibbb lookup 2", LOCAL_LATER]
    if dice.random() < 0.2:
        found.append(f"prio 700 {dice.choice(('fwmark 0x1/0x1', 'iif eth0', 'from all tos 0x10'))} goto 1536")
    return tuple(dict.fromkeys(found))


def _action(dice: Random) -> str:
    return dice.choice(ACTIONS) if dice.random() < 0.85 else dice.choice(REFUSALS)


def _selector(dice: Random, scene: Scene) -> str:
    words = ["not"] if dice.random() < 0.1 else []
    words += ["from", dice.choice(("all", *scene.networks, scene.pods[1], scene.pods[0], scene.node))]
    if dice.random() < 0.5:
        words += ["to", dice.choice(scene.networks)]
    if dice.random() < 0.3:
        words += ["fwmark", dice.choice(MARKS)]
    if dice.random() < 0.2:
        words += ["iif", dice.choice((*PODS, "eth0", "lo"))]
    elif dice.random() < 0.05:
        words += ["oif", dice.choice(ENIS)]
    if dice.random() < 0.1:
        words += ["tos", "0x10"]
    if dice.random() < 0.2:
        words += ["ipproto", dice.choice(("udp", "tcp"))]
        if dice.random() < 0.5:
            words += ["dport", dice.choice(("443", "53-100"))]
        elif dice.random() < 0.3:
            words += ["sport", "20000-30000"]
    return " ".join(words)


def _routes(dice: Random, scene: Scene) -> tuple[str, ...]:
    via = f"via {scene.gateway} dev"
    found = {
        ("main", scene.subnet): f"{scene.subnet} dev eth0",
        ("main", "default"): f"default {via} eth0 onlink",
        ("2", "default"): f"default {via} eth1 onlink table 2",
        **{("main", pod): f"{pod}/{scene.host} dev {name}" for pod, name in zip(scene.pods, PODS, strict=True)},
    }
    if dice.random() < 0.12:
        del found[dice.choice((("main", "default"), ("2", "default"), ("main", scene.pods[0])))]
    for prefix in dice.sample(scene.networks, dice.randrange(4)):
        table = dice.choice(("2", "3", "3", "main"))
        kind = dice.choice(("", "", "", "", "blackhole ", "throw ", "unreachable ", "prohibit "))
        way = "" if kind else f" {via} {dice.choice(ENIS)} onlink"
        found[table, prefix] = f"{kind}{prefix}{way} table {table}"
    for metric in dice.sample((10, 20, 30), dice.randrange(3)):
        network = scene.networks[3]
        found["3", f"{network} {metric}"] = f"{network} {via} {dice.choice(ENIS)} onlink table 3 metric {metric}"
    if scene.family == 4 and dice.random() < 0.1:
        found["main", "tos"] = f"{scene.networks[0]} tos 0x10 {via} {dice.choice(ENIS)} onlink"
    if dice.random() < 0.02:
        hops = " ".join(f"nexthop {via} {name} onlink" for name in ENIS)
        found["3", "10"] = f"{scene.networks[0]} table 3 {hops}"
        found.pop(("3", scene.networks[0]), None)
    if dice.random() < 0.05:
        # The same key as a network's, so that no prefix is added twice.
        found["main", scene.networks[4]] = f"local {scene.outside[0]} dev lo table main"
    return tuple(found.values())


def _sysctls(dice: Random) -> tuple[tuple[str, str], ...]:
    """Loose or no reverse path filter as a rule; the kernel takes the larger of `all` and the interface's."""
    found = {"net/ipv4/conf/all/rp_filter": dice.choice(("0", "0", "0", "0", "0", "1", "2"))}
    for name in INTERFACES:
        found[f"net/ipv4/conf/{name}/rp_filter"] = dice.choice(("0", "0", "0", "0", "2", "2", "1"))
        found[f"net/ipv4/conf/{name}/src_valid_mark"] = dice.choice(("0", "0", "0", "1"))
        found[f"net/ipv4/conf/{name}/forwarding"] = "0" if dice.random() < 0.01 else "1"
    return tuple(found.items())
