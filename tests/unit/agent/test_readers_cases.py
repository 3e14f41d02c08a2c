"""Every directory fixtures/cases/READER/CASE is a test: captured input, and in expected.json what decode makes of it.

A new case needs no code: add the directory with the input files and run this file as a program, which writes
expected.json for all cases; read the difference before committing it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from pathtap.agent.readers import (
    conntrack,
    counters,
    imds,
    ipamd,
    ipsets,
    legacy,
    links,
    neighbours,
    nftables,
    programs,
    routes,
    rules,
    settings,
    xtables,
)
from pathtap.model.netfilter import Backend

CASES = Path(__file__).parent / "fixtures" / "cases"


def messages(path: Path) -> Any:
    return tuple(json.loads(path.read_text()))


def names(case: Path) -> Mapping[int, str]:
    return {int(index): name for index, name in json.loads((case / "names.json").read_text()).items()}


def read_links(case: Path) -> Any:
    decoded = links.decode(messages(case / "links.json"), messages(case / "addresses.json"))
    by_index = {link.index: link.name for link in decoded}
    routed = routes.decode(messages(case / "routes.json"), by_index)
    described = case / "metadata.json"
    enis = imds.decode(json.loads(described.read_text())) if described.exists() else ()
    introspected = case / "enis.json"
    enis += ipamd.decode(introspected.read_text()) if introspected.exists() else ()
    return links.interfaces(decoded, routed, rules.decode(messages(case / "rules.json")), enis)


def read_saved(case: Path) -> Any:
    backend = Backend.LEGACY if "legacy" in case.name else Backend.NFT
    return xtables.parse((case / "saved.txt").read_text(), backend, "ip")


def read_programs(case: Path) -> Any:
    filters, tcx = messages(case / "filters.json"), messages(case / "tcx.json")
    found = links.decode(messages(case / "links.json"), ())
    return programs.decode(programs.Fetched(filters=filters, tcx=tcx, names=names(case)), found)


def read_counters(case: Path) -> Any:
    return counters.decode({path.stem.replace("-", "/"): path.read_text() for path in case.glob("*.txt")})


READERS: Mapping[str, Callable[[Path], Any]] = {
    "conntrack": lambda case: conntrack.decode(messages(case / "messages.json"), "node"),
    "counters": read_counters,
    "imds": lambda case: imds.decode(json.loads((case / "metadata.json").read_text())),
    "ipamd": lambda case: ipamd.decode((case / "enis.json").read_text()),
    "ipsets": lambda case: ipsets.decode(messages(case / "messages.json")),
    "legacy": lambda case: legacy.decode((case / "child.json").read_text(), "ip"),
    "links": read_links,
    "neighbours": lambda case: neighbours.decode(messages(case / "messages.json"), names(case)),
    "nftables": lambda case: nftables.decode((case / "table.json").read_text(), (case / "table.txt").read_text()),
    "programs": read_programs,
    "routes": lambda case: routes.decode(messages(case / "messages.json"), names(case)),
    "rules": lambda case: rules.decode(messages(case / "messages.json")),
    "settings": lambda case: settings.decode((case / "settings.json").read_text()),
    "xtables": read_saved,
}
FOUND = sorted(path for path in CASES.glob("*/*") if path.is_dir())


def plain(value: Any) -> Any:
    """As JSON, without the fields that have their default."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: plain(getattr(value, item.name))
            for item in fields(value)
            if item.default is MISSING or getattr(value, item.name) != item.default
        }
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def decoded(case: Path) -> str:
    value = plain(READERS[case.parent.name](case))
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("case", FOUND, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_captured_input_decodes_to_what_is_expected(case: Path) -> None:
    assert json.loads(decoded(case)) == json.loads((case / "expected.json").read_text())


def test_every_reader_that_decodes_has_a_case() -> None:
    assert {case.parent.name for case in FOUND} == READERS.keys()


if __name__ == "__main__":
    for found in FOUND:
        (found / "expected.json").write_text(decoded(found))
