"""A classic BPF machine in plain Python, after Documentation/networking/filter.rst: what a program says of a frame, and how
many instructions it executes to say it. Knows nothing of how the product assembles its programs.

A load beyond the frame's end returns 0, as the kernel's does; so does a division by zero. Loads at negative offsets, the
kernel's ancillary data (SKF_AD_OFF), are not here: a program that asks for them raises.
"""

from collections.abc import Callable, Sequence
from operator import add, and_, eq, ge, gt, lshift, mul, or_, rshift, sub, xor
from typing import NamedTuple

# Classes (the lowest three bits of a code), sizes, modes, sources: linux/bpf_common.h.
LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
WORD = 0xFFFFFFFF
FIRST_ANCILLARY = 0x80000000


def _shift(by: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda value, count: by(value, count) if count < 32 else 0


ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: add,
    0x10: sub,
    0x20: mul,
    0x40: or_,
    0x50: and_,
    0x60: _shift(lshift),
    0x70: _shift(rshift),
    0xA0: xor,
}
DIVISION, MODULO, NEGATION, ALWAYS = 0x30, 0x90, 0x80, 0x00
CONDITIONS: dict[int, Callable[[int, int], object]] = {0x10: eq, 0x20: gt, 0x30: ge, 0x40: and_}


class Run(NamedTuple):
    """`result` is how many bytes the program keeps, 0 for a frame that it rejects; `executed` counts instructions."""

    result: int
    executed: int


class _BeyondError(Exception):
    """A load where the frame has no bytes."""


class _Machine:
    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.a = self.x = 0
        self.scratch = [0] * 16

    def loaded(self, code: int, k: int) -> int:
        """What LD loads into A."""
        mode, size = code & 0xE0, SIZES.get(code & 0x18, 0)
        if mode == IMM:
            return k
        if mode == MEM:
            return self.scratch[k]
        if mode == LEN:
            return len(self.frame)
        if mode in (ABS, IND) and size:
            return self.at(k if mode == ABS else (k + self.x) & WORD, size)
        raise ValueError(f"no load has code 0x{code:02x}")

    def loaded_x(self, code: int, k: int) -> int:
        """What LDX loads into X; mode MSH is the IPv4 header's length, 4 * ([k] & 0xf)."""
        mode = code & 0xE0
        if mode == MSH:
            return 4 * (self.at(k, 1) & 0x0F)
        return {IMM: k, MEM: self.scratch[k & 15], LEN: len(self.frame)}[mode]

    def at(self, offset: int, size: int) -> int:
        if offset >= FIRST_ANCILLARY:
            raise ValueError(f"the program asks for ancillary data: offset 0x{offset:08x}")
        if offset + size > len(self.frame):
            raise _BeyondError
        return int.from_bytes(self.frame[offset : offset + size], "big")

    def compute(self, code: int, k: int) -> int:
        operation, operand = code & 0xF0, self.x if code & 0x08 else k
        if operation == NEGATION:
            return -self.a & WORD
        if operation in (DIVISION, MODULO):
            if operand == 0:
                raise _BeyondError
            return self.a // operand if operation == DIVISION else self.a % operand
        return ARITHMETIC[operation](self.a, operand) & WORD

    def holds(self, code: int, k: int) -> bool:
        return bool(CONDITIONS[code & 0xF0](self.a, self.x if code & 0x08 else k))


def run(program: Sequence[tuple[int, int, int, int]], frame: bytes) -> Run:
    """Executes `program`, rows of code, jt, jf and k, on a whole frame. Raises ValueError or KeyError for an unknown code."""
    machine, at, executed = _Machine(frame), 0, 0
    try:
        while True:
            code, jt, jf, k = program[at]
            at += 1
            executed += 1
            kind = code & 0x07
            if kind == JMP:
                at += k if code & 0xF0 == ALWAYS else jt if machine.holds(code, k) else jf
            elif kind == LD:
                machine.a = machine.loaded(code, k)
            elif kind == LDX:
                machine.x = machine.loaded_x(code, k)
            elif kind == ALU:
                machine.a = machine.compute(code, k)
            elif kind == ST:
                machine.scratch[k] = machine.a
            elif kind == STX:
                machine.scratch[k] = machine.x
            elif kind == MISC:
                machine.a, machine.x = (machine.x, machine.x) if code & 0x80 else (machine.a, machine.a)
            else:
                return Run(machine.a if code & 0x18 == 0x10 else k, executed)
    except _BeyondError:
        return Run(0, executed)
