"""From one rule set to another, in iptables-restore's words and without a flush: rules of others stay. Pure; runs nothing."""

from collections.abc import Iterator, Mapping

# Chain → its rules, `CHAIN MATCHES`, in order.
_Chains = Mapping[str, list[str]]


def rewrite(before: str, after: str) -> str:
    """Input for `iptables-restore --noflush` that makes `after` of `before`, both in the format of iptables-save.

    The same tables must be in both, and no rule twice in a chain. A rule that comes back finds its own position again.
    """
    old, new = _tables(before), _tables(after)
    return "".join(f"*{name}\n{''.join(_lines(old[name], new[name]))}COMMIT\n" for name in old)


def _lines(old: _Chains, new: _Chains) -> Iterator[str]:
    gone, made = old.keys() - new.keys(), new.keys() - old.keys()
    yield from (f":{chain} - [0:0]\n" for chain in new if chain in made)
    for chain in old:
        kept = set(new.get(chain, []))
        yield from (f"-D {rule}\n" for rule in old[chain] if chain not in gone and rule not in kept)
    # What leads to a chain is gone by now, but for the rules of other chains that are going.
    yield from (f"-F {chain}\n" for chain in old if chain in gone)
    yield from (f"-X {chain}\n" for chain in old if chain in gone)
    for chain, rules in new.items():
        there = set(old.get(chain, []))
        for position, rule in enumerate(rules, start=1):
            if rule not in there:
                yield f"-I {chain} {position} {rule.removeprefix(chain).lstrip()}\n"


def _tables(text: str) -> dict[str, dict[str, list[str]]]:
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            rule = line.removeprefix("-A ")
            chains[rule.split()[0]].append(rule)
    return tables
