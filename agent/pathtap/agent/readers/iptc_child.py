"""A process of its own that reads legacy tables through python-iptables and prints them as JSON. Writes no table.

    python -m pathtap.agent.readers.iptc_child ip nat mangle

The tables named must exist: libiptc creates the one that it opens. Of iptc 1.2.0 only the table handle, the extensions
and their structures are used, since its Rule, Match and Target objects decode other revisions wrongly, create tables and
cut text (docs/readers.md). A rule's text is what the extensions themselves print, as in iptables-legacy-save.

Output: {"tables": {NAME: [{"name", "policy", "rules": [[packets, bytes, text]]}]}, "refused": {NAME: reason}}. One family
a process: libxtables registers an extension for the family that asks first. The process may die of a signal: libxtables
ends in a long jump to nowhere where an extension finds an error.
"""

import ctypes
import ctypes.util
import json
import os
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h
_INVERT_IN = 0x01
_INVERT_OUT = 0x02
_INVERT_SOURCE = 0x08
_INVERT_DESTINATION = 0x10
_INVERT_FRAGMENT = 0x20
_INVERT_PROTOCOL = 0x40
_FRAGMENT = 0x01
_GOTO = {"ip": 0x02, "ip6": 0x04}

_SONAMES = {"c": "libc.so.6", "ip4tc": "libip4tc.so.2", "ip6tc": "libip6tc.so.2", "xtables": "libxtables.so.12"}


class UndecodableError(Exception):
    """A rule that iptc's libraries cannot print faithfully; the message is a sentence."""


@contextmanager
def _quiet_import() -> Iterator[None]:
    """iptc's import runs modprobe where /proc/modules is, and ldconfig and a compiler to find its libraries."""
    exists, find_library = os.path.exists, ctypes.util.find_library

    def no_modules(path: str) -> bool:
        return path != "/proc/modules" and exists(path)

    def known(name: str) -> str | None:
        return _SONAMES.get(name.removeprefix("lib").partition(".so")[0]) or (
            None if name.endswith(".so") else find_library(name)
        )

    libraries = Path("/usr/lib") / str(sysconfig.get_config_var("MULTIARCH")) / "xtables"
    if libraries.is_dir():
        os.environ.setdefault("XTABLES_LIBDIR", str(libraries))
    os.path.exists, ctypes.util.find_library = no_modules, known  # type: ignore[assignment]
    try:
        yield
    finally:
        os.path.exists, ctypes.util.find_library = exists, find_library


class Output:
    """Standard output of the C library: what an extension prints goes to a file in memory and is read from there."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._file = os.memfd_create("xtables")
        self._read = 0
        os.dup2(self._file, 1)

    def take(self) -> str:
        """What was printed since the last call."""
        self._libc.fflush(None)
        length = os.fstat(self._file).st_size - self._read
        text = os.pread(self._file, length, self._read)
        self._read += length
        return text.decode(errors="backslashreplace")


class Printer:
    """Prints rules of one family as iptables-save does (print_rule4 of iptables/iptables.c)."""

    def __init__(self, family: str, output: Output, modules: Any) -> None:
        self._family = family
        self._output = output
        self._iptc = modules
        number = modules.xtables.NFPROTO_IPV4 if family == "ip" else modules.xtables.NFPROTO_IPV6
        self._extensions = modules.xtables.xtables(number)
        self._libc = ctypes.CDLL(None)
        self._libc.getprotobynumber.restype = ctypes.POINTER(ctypes.c_char_p)

    def text(self, table: Any, entry: Any) -> str:
        """Raises UndecodableError."""
        header = entry.ip if self._family == "ip" else entry.ipv6
        return (self._header(header) + self._matches(entry, header) + self._target(table, entry, header)).strip()

    def _header(self, header: Any) -> str:
        inverted = header.invflags
        parts = [
            self._address("-s", header.src, header.smsk, inverted & _INVERT_SOURCE),
            self._address("-d", header.dst, header.dmsk, inverted & _INVERT_DESTINATION),
            _interface("-i", header.iniface, header.iniface_mask, inverted & _INVERT_IN),
            _interface("-o", header.outiface, header.outiface_mask, inverted & _INVERT_OUT),
        ]
        if header.proto:
            parts.append(_option("-p", self._protocol(header.proto), inverted & _INVERT_PROTOCOL))
        if self._family == "ip" and header.flags & _FRAGMENT:
            parts.append(" ! -f" if inverted & _INVERT_FRAGMENT else " -f")
        return "".join(parts)

    def _address(self, option: str, address: Any, mask: Any, inverted: int) -> str:
        family = socket.AF_INET if self._family == "ip" else socket.AF_INET6
        packed, bits = bytes(address), int.from_bytes(bytes(mask), "big")
        if not inverted and not bits and not any(packed):
            return ""
        size = len(packed) * 8
        length = bits.bit_count()
        contiguous = bits == ((1 << length) - 1) << (size - length)
        suffix = str(length) if contiguous else socket.inet_ntop(family, bytes(mask))
        return _option(option, f"{socket.inet_ntop(family, packed)}/{suffix}", inverted)

    def _protocol(self, number: int) -> str:
        found = self._libc.getprotobynumber(number)
        if found and found[0]:
            return str(found[0].decode())
        # xtables_chain_protos of libxtables, for a system without /etc/protocols.
        known = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp", 136: "udplite"}
        return known.get(number, str(number))

    def _matches(self, entry: Any, header: Any) -> str:
        found = []
        offset = ctypes.sizeof(type(entry))
        while offset < entry.target_offset:
            address = ctypes.addressof(entry) + offset
            match = self._iptc.xtables.xt_entry_match.from_address(address)
            module = self._extensions.find_match(match.u.user.name)
            found.append(f" -m {self._extension('match', module, match, address, header)}")
            offset += match.u.match_size
        return "".join(found)

    def _target(self, table: Any, entry: Any, header: Any) -> str:
        address = ctypes.addressof(entry) + entry.target_offset
        target = self._iptc.xtables.xt_entry_target.from_address(address)
        if target.u.user.name:
            module = self._extensions.find_target(target.u.user.name)
            return f" -j {self._extension('target', module, target, address, header)}"
        name = (table.get_target(entry) or b"").decode()
        return f" {'-g' if header.flags & _GOTO[self._family] else '-j'} {name}" if name else ""

    def _extension(self, what: str, module: Any, part: Any, address: int, header: Any) -> str:
        """The name and what the extension's own save function prints. Raises UndecodableError for another revision or size."""
        name = part.u.user.name.decode()
        if not module:
            raise UndecodableError(f"no library for the {what} {name}")
        size = self._iptc.xtables.xt_align(module[0].size + ctypes.sizeof(type(part)))
        held = part.u.match_size if what == "match" else part.u.target_size
        if part.u.user.revision != module[0].revision or held != size:
            raise UndecodableError(f"{what} {name} has revision {part.u.user.revision}, not {module[0].revision}")
        pointer = ctypes.cast(address, ctypes.POINTER(type(part)))
        alias = module[0].alias(pointer).decode() if getattr(module[0], "alias", None) else name
        if not module[0].save:
            return str(alias)
        self._extensions.save(module[0], header, pointer)
        # iptc's wrapper adds a line break, which makes the C library write what it holds.
        return str(alias) + self._output.take().removesuffix("\n")


def _option(option: str, value: str, inverted: int) -> str:
    return f"{' !' if inverted else ''} {option} {value}"


def _interface(option: str, name: bytes, mask: bytes, inverted: int) -> str:
    """A mask that also covers the terminating zero means exactly this name; otherwise names that begin so."""
    if not mask:
        return ""
    wildcard = "+" if len(mask) <= len(name) else ""
    return _option(option, name[: len(mask)].decode(errors="backslashreplace") + wildcard, inverted)


def _read(opener: Any, name: str, printer: Printer) -> list[dict[str, Any]]:
    table = opener(name, autocommit=False)
    chains = []
    for chain in table.chains:
        policy, _ = table.get_policy(chain.name)
        rules = []
        entry = table.first_rule(chain.name)
        while entry:
            rules.append([entry.counters.pcnt, entry.counters.bcnt, printer.text(table, entry)])
            entry = table.next_rule(entry)
        chains.append({"name": chain.name, "policy": policy.name if policy else "", "rules": rules})
    return chains


def main(family: str, names: list[str]) -> int:
    answers = os.dup(1)
    output = Output()
    with _quiet_import():
        import iptc
        import iptc.xtables

    printer = Printer(family, output, iptc)
    opener = iptc.Table if family == "ip" else iptc.Table6
    tables: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            tables[name] = _read(opener, name, printer)
        except (UndecodableError, iptc.IPTCError, iptc.xtables.XTablesError) as error:
            refused[name] = str(error)
    with os.fdopen(answers, "w") as pipe:
        json.dump({"tables": tables, "refused": refused}, pipe)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
