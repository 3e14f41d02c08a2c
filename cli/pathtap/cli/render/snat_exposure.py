"""What a race for ports, or their lack, costs: the block of counters and of ports in use. Knows no widths."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from pathtap.cli.render.page import Style, pad
from pathtap.cli.render.snat_blocks import RECORDED, Block, Item
from pathtap.cli.render.snat_words import Snat, port_word
from pathtap.cli.render.words import socket_text
from pathtap.v1 import snat_pb2

COUNTERS = ("insert_failed", "drop", "early_drop", "clash_resolve", "search_restart")
# Without every statement: so many processors and users of ports.
PROCESSORS = 8
USERS = 3
Cells = tuple[str, ...]


def exposure_block(snat: Snat, *, every_statement: bool) -> Block:
    items = (
        _insert_failed(snat),
        *_zeros(snat, every_statement=every_statement),
        *_processors(snat, every_statement=every_statement),
        *_ports_in_use(snat, every_statement=every_statement),
        *_entries(snat),
    )
    return Block(name="exposure", witnesses=RECORDED, items=items)


def _insert_failed(snat: Snat) -> Item:
    if not snat.cpus:
        return Item(key="counters", text="were not read", style=Style.DOUBT)
    total = f"{snat.insert_failed_total:,} since the node's start"
    if not (snat.HasField("opened") or snat.live):
        return Item(key="counters", text=f"insert_failed {total}")
    style = Style.BAD if snat.insert_failed else Style.PLAIN
    rise = f"rose by {snat.insert_failed:,}" if snat.insert_failed else "did not rise"
    return Item(key="counters", text=f"insert_failed {rise} meanwhile; {total}", style=style)


def _zeros(snat: Snat, *, every_statement: bool) -> Iterator[Item]:
    """The other counters that are 0 everywhere, which the table leaves out."""
    names = [name for name in COUNTERS[1:] if all(_reads(cpu, name) == (0, 0) for cpu in snat.cpus)]
    if names and snat.cpus and not every_statement:
        on = "the processor" if len(snat.cpus) == 1 else f"all {len(snat.cpus)} processors"
        yield Item(text=f"{', '.join(names)} 0 on {on}")


def _processors(snat: Snat, *, every_statement: bool) -> Iterator[Item]:
    """A table of what is not zero, before and after: a line for all processors together, then one for each."""
    names = [name for name in COUNTERS if every_statement or any(_reads(cpu, name) != (0, 0) for cpu in snat.cpus)]
    if not names:
        return
    changes = every_statement or any(cpu.before != cpu.after for cpu in snat.cpus)
    shown = [cpu for cpu in snat.cpus if every_statement or any(_reads(cpu, name) != (0, 0) for name in names)]
    if not every_statement:
        shown = sorted(shown, key=lambda cpu: -cpu.after.insert_failed)[:PROCESSORS]
    rows: list[tuple[str, Cells]] = [("cpu", tuple(names))]
    if len(snat.cpus) > 1:
        rows.append(("all", tuple(_change(snat.cpus, name, changes) for name in names)))
    rows += [(str(cpu.cpu), tuple(_change([cpu], name, changes) for name in names)) for cpu in shown]
    widths = [max(cell_len(cells[column]) for _, cells in rows) for column in range(len(names))]
    for number, (key, cells) in enumerate(rows):
        text = "  ".join(pad(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        yield Item(key=key, text=text, style=Style.PLAIN if number else Style.FAINT)


def _reads(cpu: snat_pb2.Snat.Cpu, name: str) -> tuple[int, int]:
    return getattr(cpu.before, name), getattr(cpu.after, name)


def _change(cpus: Sequence[snat_pb2.Snat.Cpu], name: str, changes: bool) -> str:
    """`12 → 14`, or `14` where nothing changes."""
    before, after = (sum(column) for column in zip(*(_reads(cpu, name) for cpu in cpus), strict=True))
    return f"{before:,} → {after:,}" if changes else f"{after:,}"


def _ports_in_use(snat: Snat, *, every_statement: bool) -> Iterator[Item]:
    for ports in (each for each in snat.ports_in_use if each.in_use or every_statement):
        what = port_word([ports.protocol])
        towards = socket_text(ports.destination, ports.protocol)
        as_whom = f" as {ports.translated}" if ports.translated else ""
        yield Item(
            key="in use",
            text=f"{ports.in_use:,} of {ports.capacity:,} {what}s towards {towards} ({ports.protocol}){as_whom}",
            style=Style.DOUBT if ports.capacity and ports.in_use * 2 > ports.capacity else Style.PLAIN,
        )
        holders = [user for user in ports.users if user.ports]
        users = holders if every_statement else holders[:USERS]
        held = ", ".join(f"{user.name} {user.ports:,}" for user in users)
        if left := len(holders) - len(users):
            held += f" and {left:,} more"
        if held:
            yield Item(text=f"by {held}")


def _entries(snat: Snat) -> Iterator[Item]:
    if snat.HasField("conntrack_entries"):
        most = f" of {snat.conntrack_most:,}" if snat.HasField("conntrack_most") else ""
        yield Item(key="conntrack", text=f"{snat.conntrack_entries:,}{most} entries")
