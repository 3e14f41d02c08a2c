"""Classic BPF: instructions, a small assembler, and the tail that turns a filter's "yes" into the length of the headers.

Pure. Knows no addresses and no expressions; linux/filter.h and Documentation/networking/filter.rst give the encoding. What a
packet socket's filter returns is how many bytes of the frame reach user space (net/packet/af_packet.c, packet_rcv), so a
program that returns the headers' length never copies payload.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

# BPF_MAXINSNS of linux/bpf_common.h.
MOST_INSTRUCTIONS = 4096
# Extension headers of an IPv6 packet that the tail walks; behind more, the frame is cut and dissected as truncated.
MOST_EXTENSIONS = 4
WHOLE = 0xFFFF


class Instruction(NamedTuple):
    """struct sock_filter. `jt` and `jf` count instructions to skip, and hold for conditional jumps alone."""

    code: int
    jt: int
    jf: int
    k: int


Program: TypeAlias = tuple[Instruction, ...]

RETURN, RETURN_A, JUMP = 0x06, 0x16, 0x05
LOAD_HALF, LOAD_BYTE, LOAD_LENGTH, LOAD_IMMEDIATE, LOAD_SCRATCH = 0x28, 0x30, 0x80, 0x00, 0x60
LOAD_HALF_X, LOAD_BYTE_X, LOAD_X_HEADER = 0x48, 0x50, 0xB1
STORE, TO_X, FROM_X = 0x02, 0x07, 0x87
ADD, ADD_X, SUBTRACT_X, AND, SHIFT_LEFT, SHIFT_RIGHT = 0x04, 0x0C, 0x1C, 0x54, 0x64, 0x74
EQUAL, GREATER, AT_LEAST, AT_LEAST_X, ANY_BIT = 0x15, 0x25, 0x35, 0x3D, 0x45

NOTHING: Program = (Instruction(RETURN, 0, 0, 0),)


def encode(program: Program) -> bytes:
    """The array of struct sock_filter that SO_ATTACH_FILTER points at."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def with_header_lengths(program: Program, families: Sequence[int]) -> Program:
    """`program` with every accepting return led to the tail that measures the headers of IP `families` (4, 6)."""
    tail = _tail(families)
    return tuple(
        Instruction(JUMP, 0, 0, len(program) - index - 1)
        if instruction.code == RETURN and instruction.k != 0
        else instruction
        for index, instruction in enumerate(program)
    ) + tuple(tail)


class _Assembler:
    """Instructions with named places to jump to; a place is given where it begins."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, str, str]] = []
        self._places: dict[str, int] = {}

    def place(self, name: str) -> None:
        self._places[name] = len(self._rows)

    def emit(self, code: int, k: int = 0) -> None:
        self._rows.append((code, k, "", ""))

    def jump(self, code: int, k: int, then: str = "", otherwise: str = "") -> None:
        """A conditional jump; an empty name is the next instruction."""
        self._rows.append((code, k, then, otherwise))

    def unused(self, stem: str) -> str:
        return f"{stem}#{len(self._rows)}"

    def assemble(self) -> Program:
        def skip(row: int, name: str) -> int:
            return self._places[name] - row - 1 if name else 0

        def finish(row: int, code: int, k: int, then: str, otherwise: str) -> Instruction:
            if code == JUMP:
                return Instruction(code, 0, 0, skip(row, then))
            return Instruction(code, skip(row, then), skip(row, otherwise), k)

        return tuple(finish(row, *parts) for row, parts in enumerate(self._rows))


def _tail(families: Sequence[int]) -> Program:
    """Dispatches on the EtherType, behind one VLAN tag as well, to a section for each family and link header length."""
    code = _Assembler()
    sections: dict[int, tuple[int, Callable[[_Assembler, int], None]]] = {4: (0x0800, _ipv4), 6: (0x86DD, _ipv6)}
    for base in (14, 18):
        code.emit(LOAD_HALF, base - 2)
        for family in families:
            # A conditional jump reaches 255 instructions, an unconditional one anywhere.
            other = code.unused("other")
            code.jump(EQUAL, sections[family][0], otherwise=other)
            code.jump(JUMP, 0, then=f"{family} at {base}")
            code.place(other)
    code.emit(RETURN, 18)
    for family in families:
        for base in (14, 18):
            code.place(f"{family} at {base}")
            sections[family][1](code, base)
    return code.assemble()


def _need(code: _Assembler, count: int, otherwise: str) -> None:
    """Goes on where the frame has more than X + `count` bytes: a load beyond its end would reject the packet."""
    code.emit(LOAD_LENGTH)
    code.jump(AT_LEAST_X, 0, otherwise=otherwise)
    code.emit(SUBTRACT_X)
    code.jump(GREATER, count, otherwise=otherwise)


def _return_x(code: _Assembler, count: int) -> None:
    code.emit(FROM_X)
    code.emit(ADD, count)
    code.emit(RETURN_A)


def _transport(code: _Assembler, base: int, icmp: int, errors: Sequence[int]) -> None:
    """A holds the protocol, X + `base` is where its header begins. Ends every path with a return.

    ICMP errors keep the quoted IP header and 8 bytes behind it; of a quoted IPv6 packet's extension headers the first 8.
    """
    tcp, eight, message, error, whole = (code.unused(stem) for stem in ("tcp", "eight", "message", "error", "whole"))
    code.jump(EQUAL, 6, then=tcp)
    code.jump(EQUAL, 17, then=eight)
    code.jump(EQUAL, icmp, then=message)
    _return_x(code, base)
    code.place(tcp)
    _need(code, base + 12, otherwise=whole)
    code.emit(LOAD_BYTE_X, base + 12)
    code.emit(AND, 0xF0)
    code.emit(SHIFT_RIGHT, 2)
    _return_at_least_20(code, base)
    code.place(message)
    _need(code, base + 8, otherwise=whole)
    code.emit(LOAD_BYTE_X, base)
    for kind in errors:
        code.jump(EQUAL, kind, then=error)
    code.place(eight)
    _return_x(code, base + 8)
    code.place(error)
    if icmp == 1:
        code.emit(LOAD_BYTE_X, base + 8)
        code.emit(AND, 0x0F)
        code.emit(SHIFT_LEFT, 2)
        _return_at_least_20(code, base + 16)
    else:
        _return_x(code, base + 8 + 40 + 8)
    code.place(whole)
    code.emit(RETURN, WHOLE)


def _return_at_least_20(code: _Assembler, count: int) -> None:
    """Returns X + `count` + A; a header that calls itself shorter than 20 bytes is kept long enough to be told absurd."""
    enough = code.unused("enough")
    code.jump(AT_LEAST, 20, then=enough)
    code.emit(LOAD_IMMEDIATE, 20)
    code.place(enough)
    code.emit(ADD_X)
    code.emit(ADD, count)
    code.emit(RETURN_A)


def _ipv4(code: _Assembler, base: int) -> None:
    sound, first = code.unused("sound"), code.unused("first")
    code.emit(LOAD_X_HEADER, base)
    code.emit(FROM_X)
    code.jump(AT_LEAST, 20, then=sound)
    code.emit(RETURN, base + 20)
    code.place(sound)
    code.emit(LOAD_HALF, base + 6)
    code.jump(ANY_BIT, 0x1FFF, otherwise=first)
    _return_x(code, base)
    code.place(first)
    code.emit(LOAD_BYTE, base + 9)
    _transport(code, base, icmp=1, errors=(3, 4, 5, 11, 12))


def _ipv6(code: _Assembler, base: int) -> None:
    """Walks the chain with X as the extension headers' length so far and M[0] as the next header's number."""
    done, whole = code.unused("done"), code.unused("chain whole")
    code.emit(LOAD_IMMEDIATE, 0)
    code.emit(TO_X)
    code.emit(LOAD_BYTE, base + 6)
    for _ in range(MOST_EXTENSIONS):
        code.emit(STORE, 0)
        _extension(code, base + 40, done, whole)
    code.emit(STORE, 0)
    code.jump(JUMP, 0, then=done)
    code.place(whole)
    code.emit(RETURN, WHOLE)
    code.place(done)
    code.emit(LOAD_SCRATCH, 0)
    _transport(code, base + 40, icmp=58, errors=(1, 2, 3, 4))


def _extension(code: _Assembler, base: int, done: str, whole: str) -> None:
    """Steps over one extension header (RFC 8200 section 4, RFC 4302 section 2.2): A and M[0] hold its number."""
    known, options, fragment, first, authentication, step = (
        code.unused(stem) for stem in ("known", "options", "fragment", "first", "authentication", "step")
    )
    for number in (0, 43, 44, 51):
        code.jump(EQUAL, number, then=known)
    code.jump(EQUAL, 60, otherwise=done)
    code.place(known)
    _need(code, base + 7, otherwise=whole)
    code.emit(LOAD_SCRATCH, 0)
    code.jump(EQUAL, 44, then=fragment)
    code.jump(EQUAL, 51, then=authentication, otherwise=options)
    code.place(fragment)
    code.emit(LOAD_HALF_X, base + 2)
    code.jump(ANY_BIT, 0xFFF8, otherwise=first)
    _return_x(code, base + 8)
    code.place(first)
    code.emit(LOAD_IMMEDIATE, 8)
    code.jump(JUMP, 0, then=step)
    code.place(authentication)
    code.emit(LOAD_BYTE_X, base + 1)
    code.emit(ADD, 2)
    code.emit(SHIFT_LEFT, 2)
    code.jump(JUMP, 0, then=step)
    code.place(options)
    code.emit(LOAD_BYTE_X, base + 1)
    code.emit(ADD, 1)
    code.emit(SHIFT_LEFT, 3)
    code.place(step)
    # A is the header's length: remember the next header's number before X moves on.
    code.emit(STORE, 1)
    code.emit(LOAD_BYTE_X, base)
    code.emit(STORE, 0)
    code.emit(LOAD_SCRATCH, 1)
    code.emit(ADD_X)
    code.emit(TO_X)
    code.emit(LOAD_SCRATCH, 0)
